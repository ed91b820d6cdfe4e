"""Accounts, list and nginx configuration made to match the sites that exist on the primary.

Run by site.yml (module site_accounts) and, between two runs, by the primary's timer (fleet-sites).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..bench.account import encryption_key, exclusive, frappe_command, read_json, user_environment
from ..changes import diff
from ..foreign import read_bytes
from ..foreign import replace as put_in_place
from ..mariadb.accounts import AccountKeeper
from ..mariadb.server import Server, has_database, local
from ..nginx.certificates import OPTIONS, Certificates
from ..nginx.files import contents, digest_with, put, read, run_here, write
from .accounts import Registry, has_data, is_foreign, not_let_in, rights_of, wanted_accounts
from .credentials import passwords_by_database
from .folders import (
    LIST,
    Folders,
    Site,
    SiteError,
    further_and_doubtful,
    made_note,
    read_state,
    render_list,
    served_names,
)
from .nginx import render_servers
from .private_paths import close

LOCK_SECONDS = 120

# What the module takes, and what the timer reads from its file.
SETTINGS: dict[str, dict[str, Any]] = {
    "bench": {"type": "path", "required": True},
    "user": {"type": "str", "required": True},
    "cli_dir": {"type": "path", "required": True},
    "state_dir": {"type": "path", "required": True},
    "listed": {"type": "list", "elements": "str", "required": True},
    "names": {"type": "dict", "default": {}},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "site_key": {"type": "str", "required": True, "no_log": True},
    # In a rotation: other passwords, and another site_key, that the accounts accept, too.
    "besides": {"type": "dict", "required": True, "no_log": True},
    "max_statement_time": {"type": "float", "required": True},
    "max_user_connections": {"type": "int", "required": True},
    "nginx": {
        "type": "dict",
        "required": True,
        "options": {
            "template": {"type": "path", "required": True},
            "target": {"type": "path", "required": True},
            "loaded_file": {"type": "path", "required": True},
            **OPTIONS,
        },
    },
}


@dataclass
class Outcome:
    """The result of one look. before and after are lines without anything secret.

    sites: the fleet's, with their databases. lost: those of them that cannot be served. torn: those
    whose configuration cannot be read, with the reason. names: further names of sites. passed:
    folders that are not served, with the reason. doubtful: messages on names that are not served,
    and on keys that break a site.
    """

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    sites: dict[str, str] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    torn: dict[str, str] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)
    passed: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    gtid: str = ""

    @property
    def notes(self) -> list[str]:
        """Messages for the operator."""
        gone = (
            "{} is not served: its folder is gone, but its database still exists, or fleet_sites"
            " has it; nothing more of it is removed"
        )
        return [
            *(f"{name} is not served: {why}" for name, why in sorted(self.passed.items())),
            *(gone.format(name) for name in sorted(self.lost) if name not in self.passed),
            *(f"{name} is served as before: {why}" for name, why in sorted(self.torn.items())),
            *self.doubtful,
        ]


def called(names: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Sites and their further names, for lines of a diff."""
    return [(site, ", ".join(names[site])) for site in sorted(names) if names[site]]


class Line:
    """Makes accounts, list and nginx configuration match the existing sites.

    settings: as SETTINGS has them. A site counts as dropped when its folder and its database are
    gone. Where only the folder is missing, or the inventory still has the site, it is lost, by
    mistake: nginx no longer serves it, but the copies on the reporting hosts stay.

    require_tls: every bench that uses the accounts now connects over TLS. The accounts keep that
    requirement, so it has to be given only once.
    """

    def __init__(
        self, settings: dict[str, Any], check_mode: bool = False, require_tls: bool = False
    ) -> None:
        self.settings = settings
        self.require_tls = require_tls
        self.check_mode = check_mode
        self.folders = Folders(f"{settings['bench']}/sites", settings["state_dir"])
        self.state_file = Path(settings["state_dir"], "sites.json")
        self.list_file = f"{self.folders.sites}/{LIST}"

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """A lock, so that site.yml and the timer do not run at the same time."""
        if self.check_mode:
            return contextlib.nullcontext()
        return exclusive(f"{self.settings['state_dir']}/sites.lock", LOCK_SECONDS)

    def look(self, server: Server) -> tuple[dict[str, Site], Outcome]:
        """The sites to serve, and the outcome so far. Raises SiteError."""
        known = read_state(self.settings["state_dir"]) or {"sites": {}, "names": {}}
        listed: list[str] = self.settings["listed"]
        found, torn, passed = self.folders.look(listed, known["sites"])
        outcome = Outcome(passed=passed, torn=torn)
        for name, site in list(found.items()):
            problem = is_foreign(server, site)
            rights = () if problem else rights_of(server, site)
            if rights:
                found[name] = replace(site, rights=rights)
                continue
            if name in listed:
                raise SiteError(
                    f"site {name} is not served: {problem or not_let_in(site)}. Correct db_name,"
                    f" db_user and db_password in {self.folders.config(name)}, or grant the account"
                    " its rights again"
                )
            if not problem and known["sites"].get(name) == site.database:
                # Its password may be changing at this moment; its accounts stay as they are.
                torn[name] = not_let_in(site)
            else:
                outcome.passed[name] = problem or not_let_in(site)
            del found[name]
        outcome.names, outcome.doubtful = further_and_doubtful(
            found.values(), self.settings["names"]
        )
        outcome.doubtful += [
            f"{self.folders.config(name)} has {', '.join(site.refused)}, which a fleet has only in"
            " common_site_config.json, or nowhere: remove it (see the table in docs/adopt.md)"
            for name, site in sorted(found.items())
            if site.refused
        ]
        for name, database in known["sites"].items():
            if name in found:
                continue
            if name in torn:
                outcome.sites[name] = database
                outcome.names[name] = known["names"].get(name, [])
            elif name in passed or name in listed or has_database(server, database):
                outcome.lost.append(name)
                outcome.sites[name] = database
        outcome.sites |= {name: site.database for name, site in found.items()}
        before = [f"site {name}" for name in sorted(known["sites"])]
        after = [f"site {name}" for name in sorted(outcome.sites)]
        before += [f"site {name}, also {also}" for name, also in called(known["names"])]
        after += [f"site {name}, also {also}" for name, also in called(outcome.names)]
        outcome.before += [line for line in before if line not in after]
        outcome.after += [line for line in after if line not in before]
        return found, outcome

    def bring(self, server: Server) -> Outcome:
        """Make encryption keys, accounts, and the list that the reporting hosts read."""
        found, outcome = self.look(server)
        common = read_json(f"{self.settings['bench']}/sites/common_site_config.json")
        bench, user = self.settings["bench"], self.settings["user"]
        keyless = [s for s in found.values() if not (s.encrypted or common.get("encryption_key"))]
        for site in [] if self.check_mode else keyless:
            # Frappe makes one at its first use, and a copy without it would make another.
            command = ["--site", site.name, "set-config", "encryption_key", encryption_key()]
            environment = user_environment(user, self.settings["cli_dir"])
            frappe_command(bench, user, environment, command, " ".join(command[:3]))
        outcome.before += close(self.folders.sites, user, sorted(found), self.check_mode)
        keeper = self.accounts(server, found)
        outcome.before += keeper.before
        outcome.after += keeper.after
        outcome.gtid = str(server.value("SELECT @@GLOBAL.gtid_binlog_pos"))
        if not self.check_mode:
            self.publish(outcome)
        return outcome

    def accounts(self, server: Server, sites: dict[str, Site]) -> AccountKeeper:
        """Make the sites' accounts for the reporting hosts; drop those that are not needed."""
        settings = self.settings
        hosts: list[str] = settings["hosts"]
        keeper = AccountKeeper(server, self.check_mode)
        registry = Registry(server)
        registered = registry.read()
        self.require_tls = self.require_tls or any(
            found is not None and found[0]["require_ssl"]
            for found in (keeper.current(*who) for who in registered)
        )
        passwords = passwords_by_database(sites, settings["passwords"], settings["site_key"])
        others: dict[str, str] = {}
        if besides := settings["besides"]:
            others = passwords_by_database(sites, besides["passwords"], besides["site_key"])
        wanted: dict[tuple[str, str], dict[str, Any]] = {}
        # A copied folder may have an old password: of two with one database, the listed one counts.
        for name in sorted(sites, key=lambda name: (name not in settings["listed"], name)):
            for entry in wanted_accounts(
                sites[name],
                hosts,
                passwords[sites[name].database],
                settings["max_statement_time"],
                settings["max_user_connections"],
                others.get(sites[name].database),
                self.require_tls,
            ):
                wanted.setdefault((entry["name"], entry["host"]), entry)
        for who, entry in wanted.items():
            is_new = keeper.current(*who) is None
            if is_new and not self.check_mode and who not in registered:
                keeper.refuse_closed()
                registry.add(*who)
            keeper.bring([entry])
        for who in registered:
            if who in wanted or not self.is_left(server, keeper, *who):
                continue
            if keeper.drop(*who) and not self.check_mode:
                registry.remove(*who)
        return keeper

    def is_left(self, server: Server, keeper: AccountKeeper, user: str, host: str) -> bool:
        """Whether a registered account is no longer needed; local ones are never dropped."""
        if ipaddress.ip_address(host).is_loopback:
            return False
        if host not in self.settings["hosts"]:
            return True
        current = keeper.current(user, host)
        return current is None or not has_data(server, current[1])

    def publish(self, outcome: Outcome) -> None:
        """Write the state, and the list for the reporting hosts, once the accounts exist."""
        before = read_state(self.settings["state_dir"]) or {"sites": {}, "fingerprint": ""}
        for name in set(before["sites"]) - set(outcome.sites):
            # If this name is listed again later, a new site is wanted.
            Path(made_note(self.settings["state_dir"], name)).unlink(missing_ok=True)
        self.keep(outcome, before["fingerprint"])
        text = render_list(list(outcome.sites)).encode()
        try:
            same = read_bytes(self.list_file, follow=False) == text
        except OSError:
            same = False
        if not same:
            put_in_place(self.list_file, text, 0o644)

    def keep(self, outcome: Outcome, fingerprint: str) -> None:
        """Write the state where it differs."""
        state = {
            "sites": dict(sorted(outcome.sites.items())),
            "names": {name: outcome.names[name] for name in sorted(outcome.names)},
            "lost": sorted(outcome.lost),
            "notes": outcome.notes,
            "fingerprint": fingerprint,
        }
        text = (json.dumps(state, indent=1) + "\n").encode()
        if read(self.state_file) != text:
            write(self.state_file, text)

    def route(self) -> bool:
        """Have nginx serve the sites; returns whether that changed. Raises NginxError.

        Does nothing before the router is installed.
        """
        files = self.settings["nginx"]
        template, target, loaded_file = (
            Path(files[name]) for name in ("template", "target", "loaded_file")
        )
        here = contents([files["template"], files["loaded_file"]])
        if template not in here:
            return False
        names = served_names(read_state(self.settings["state_dir"]))
        shown = Certificates.by(files)
        wanted = {target: render_servers(here[template].decode(), names, shown.of).encode()}
        # nginx also has to read a certificate that certbot has renewed.
        used = wanted | contents(shown.files(names))
        old, loaded = read(target), here.get(loaded_file)
        if old == wanted[target] and loaded == digest_with(loaded, used):
            return False
        put(run_here, wanted, {target: old})
        write(loaded_file, digest_with(loaded, used))
        return True


@dataclass(frozen=True)
class Tick:
    """What one run of the timer did, in lines."""

    did: list[str]
    notes: list[str]


def tick(settings: dict[str, Any], fingerprint: str) -> Tick:
    """One run of the timer, for a changed fingerprint of the sites.

    Raises SiteError, MariaDBError, NginxError, BenchError; the next run tries again.
    """
    line = Line(settings)
    with line.lock(), local() as server:
        old_notes = (read_state(settings["state_dir"]) or {"notes": []})["notes"]
        outcome = line.bring(server)
        did = [f"- {text}" for text in outcome.before] + [f"+ {text}" for text in outcome.after]
        if line.route():
            did.append("nginx serves the sites")
        # A reported problem may be solved without a change of a file.
        line.keep(outcome, "" if outcome.notes else fingerprint)
    return Tick(did, outcome.notes if outcome.notes != old_notes else [])


def bring(line: Line, warn: Callable[[str], Any]) -> dict[str, Any]:
    """Result of the module site_accounts. Raises BenchError, MariaDBError, SiteError."""
    listed: list[str] = line.settings["listed"]
    with line.lock(), local() as server:
        if not line.check_mode:
            seen = line.look(server)[1]
            if absent := [one for one in listed if one in seen.lost or one not in seen.sites]:
                raise SiteError(
                    f"site {absent[0]} of fleet_sites does not exist on this bench; restore it, or"
                    " take it out of fleet_sites when it was dropped, and run again"
                )
        outcome = line.bring(server)
    for note in outcome.notes:
        warn(note)
    absent = [name for name in listed if name not in outcome.sites]
    after = outcome.after + [f"site {name}" for name in absent]
    return {
        "changed": outcome.before != after,
        "gtid": outcome.gtid,
        "sites": sorted({*outcome.sites, *absent}),
        "tls": line.require_tls,
        "diff": diff(outcome.before, after),
    }
