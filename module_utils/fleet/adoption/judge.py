"""All that stands in the way of an adoption, and all that it will change, in words."""

from __future__ import annotations

from collections.abc import Iterator

from ..preflight.problems import Host, Problem, Settings, problem
from .bench import (
    check_keys,
    check_place,
    check_sites,
    check_versions,
    configuration_words,
    site_words,
)
from .crontabs import check_crontabs, crontab_words
from .database import check_database, event_words, overridden_words
from .host import Found, adopting, looked_at, set_aside
from .programs import check_programs, program_words
from .services import check_services
from .sudo import check_sudo, sudo_words
from .web import check_nginx, nginx_words

MIB = 1024**2


def check_consent(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """The restart may take place; a dry run asks nothing."""
    if settings["check_mode"] or host["restart_confirmed"]:
        return
    log = "its binary log is off" if not found["database"]["log_bin"] else "its settings change"
    yield problem(
        f"MariaDB of {host['name']} has to be restarted once: {log}. Calls that write fail or "
        "wait for some seconds then, as many as the server takes to stop and start",
        f"mariadb.service on {host['name']}",
        "see all that will change with --check --diff; then, at a moment of your choice, run with "
        "-e adopt_restart_confirmed=true",
    )


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
    """All that stands in the way of the adoption; [] without one."""
    problems: list[Problem] = []
    for host in adopting(hosts):
        found = looked_at(host) or {}
        others = [b["others"] for b in host["survey"]["benches"] if b["path"] == host["bench_dir"]]
        if found["bench"]["sites"] and others and not set(found["bench"]["sites"]) - set(others[0]):
            # No site is on MariaDB (see preflight.py): what else there is to say would mislead.
            continue
        problems += check_place(host, found, settings)
        # Of a bench that is not there nothing else can be said.
        if host["bench_dir"] in [bench["path"] for bench in host["survey"]["benches"]]:
            problems += [p for check in CHECKS for p in check(host, found, settings)]
    return problems


def adoption_words(hosts: list[Host]) -> list[str]:
    """What an adoption will do, for people; [] without one."""
    words = []
    for host in adopting(hosts):
        found, name = looked_at(host) or {}, host["name"]
        aside = set_aside(host)
        words += [
            f"{name} is adopted: the bench {host['bench_dir']} with the apps "
            f"{', '.join(found['bench']['apps'])}, and MariaDB with "
            f"{host['survey']['database']['bytes'] / MIB:.0f} MiB of data. What is changed is "
            f"copied to {host['backup_dir']} first",
            f"MariaDB of {name} restarts once, for its binary log",
            "out of service go, and come back at a release: "
            + ", ".join(aside["nginx"] + aside["supervisor"]),
            *program_words(host, found),
            *configuration_words(found),
            *overridden_words(host, found),
            *nginx_words(host, found),
            *sudo_words(host, found),
            *crontab_words(host, found),
            *event_words(host, found),
            *site_words(host, found),
        ]
    return words
