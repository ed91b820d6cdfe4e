"""Problems that stop an adoption, and notices of all that it will change."""

from __future__ import annotations

from collections.abc import Iterator

from ..preflight.problems import Host, Kind, Problem, Settings
from .bench import (
    check_keys,
    check_place,
    check_sites,
    check_versions,
    configuration_notices,
    site_notices,
)
from .crontabs import check_crontabs, crontab_notices
from .database import check_database, event_notices, overridden_notices
from .host import Found, adopting, looked_at, set_aside
from .notices import Notice, NoticeKind
from .programs import check_programs, program_notices
from .services import check_services
from .sudo import check_sudo, sudo_notices
from .web import check_nginx, nginx_notices

MIB = 1024**2


RESTART = "MariaDB of {host} has to be restarted once"
MEANWHILE = "Until it has stopped and started, calls that write fail or wait"
MARIADB_UNIT = "mariadb.service on {host}"
CONSENT = (
    "see all that will change with --check --diff; then, at a time of your choice, run with -e"
    " adopt_restart_confirmed=true"
)
RESTART_FOR_BINLOG = Kind(
    "adopt_restart_for_binlog",
    f"{RESTART}, because its binary log is off. {MEANWHILE}",
    MARIADB_UNIT,
    CONSENT,
)
RESTART_FOR_SETTINGS = Kind(
    "adopt_restart_for_settings",
    f"{RESTART}, because its settings change. {MEANWHILE}",
    MARIADB_UNIT,
    CONSENT,
)
ADOPTED = NoticeKind(
    "adopted",
    "{host} is adopted: the bench {bench} with the apps {apps}, and MariaDB with {mib} MiB of data."
    " Everything that is changed is first copied to {record}",
)
RESTARTED = NoticeKind("restarted", "MariaDB of {host} restarts once, for its binary log")
OUT_OF_SERVICE = NoticeKind(
    "out_of_service", "files that go out of service, until a release puts them back: {files}"
)


def check_consent(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """The operator has confirmed the restart of MariaDB; a dry run needs no confirmation."""
    if settings["check_mode"] or host["restart_confirmed"]:
        return
    kind = RESTART_FOR_SETTINGS if found["database"]["log_bin"] else RESTART_FOR_BINLOG
    yield kind.found(host=host["name"])


CHECKS = (
    check_versions,
    check_sites,
    check_keys,
    check_services,
    check_programs,
    check_database,
    check_nginx,
    check_sudo,
    check_crontabs,
    check_consent,
)


def adoption_problems(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Problems that stop an adoption; [] where no host is adopted."""
    problems: list[Problem] = []
    for host in adopting(hosts):
        found = looked_at(host) or {}
        others = [b["others"] for b in host["survey"]["benches"] if b["path"] == host["bench_dir"]]
        if found["bench"]["sites"] and others and not set(found["bench"]["sites"]) - set(others[0]):
            # No site is on MariaDB, which preflight reports; other problems would mislead.
            continue
        problems += check_place(host, found, settings)
        # Nothing else can be judged of a bench that is not there.
        if host["bench_dir"] in [bench["path"] for bench in host["survey"]["benches"]]:
            problems += [p for check in CHECKS for p in check(host, found, settings)]
    return problems


def adoption_notices(hosts: list[Host]) -> list[Notice]:
    """What an adoption will change; [] where no host is adopted."""
    notices: list[Notice] = []
    for host in adopting(hosts):
        found, name = looked_at(host) or {}, host["name"]
        aside = set_aside(host)
        notices += [
            ADOPTED.found(
                host=name,
                bench=host["bench_dir"],
                apps=found["bench"]["apps"],
                mib=f"{host['survey']['database']['bytes'] / MIB:.0f}",
                record=host["backup_dir"],
            ),
            RESTARTED.found(host=name),
            OUT_OF_SERVICE.found(files=aside["nginx"] + aside["supervisor"]),
            *program_notices(host, found),
            *configuration_notices(found),
            *overridden_notices(host, found),
            *nginx_notices(host, found),
            *sudo_notices(host, found),
            *crontab_notices(host, found),
            *event_notices(host, found),
            *site_notices(host, found),
        ]
    return notices


def notice_texts(hosts: list[Host]) -> list[str]:
    """The texts of adoption_notices(), for people."""
    return [notice["text"] for notice in adoption_notices(hosts)]
