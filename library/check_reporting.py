#!/usr/bin/python
"""Prove on a reporting node what its replica and its bench do."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.bench.account import read_json
from ansible.module_utils.fleet.foreign import read_bytes, unlink
from ansible.module_utils.fleet.mariadb.server import (
    Server,
    describe,
    errant,
    local,
    memory_tables,
    pymysql,
    remote,
)
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.sites.folders import own_account
from ansible.module_utils.fleet.supervisor.control import control, doing, states
from ansible.module_utils.fleet.systems import PYMYSQL
from ansible.module_utils.fleet.verify.answers import ask_server
from ansible.module_utils.fleet.verify.catalogue import (
    in_words,
    key_problems,
    reading_account,
)
from ansible.module_utils.fleet.verify.host import ARGUMENTS, HostChecks
from ansible.module_utils.fleet.verify.look import Visitor, router_port, schedulers

DOCUMENTATION = r"""
module: check_reporting
short_description: Checks of verify that are made on a reporting node
description:
  - Never fails because something is red; the results say so.
  - Phase C(measure) makes the checks and waits for the file that check_primary has put into the
    site; phase C(gone), when that file has been removed there, copies once more and looks for it.
  - Arguments carry passwords; use C(no_log).
options:
  phase: {description: Which half., choices: [measure, gone], required: true}
  nodes: {description: Number of reporting nodes that share the calls., type: int}
  guard: {description: "Where the guard of the read path is, {package_dir, settings}.", type: dict}
  probe_password: {description: Password of fleet_probe., type: str}
  replication_password: {description: Password of repl., type: str}
  ca: {description: Certificate of the fleet's CA., type: path}
  put_at: {description: "When the file was put there, in seconds of the epoch.", type: float}
  file_seconds: {description: How long the file is waited for., type: int}
  sync: {description: Command that copies the sites folder., type: path}
extends_documentation_fragment: checked_host
"""

EXAMPLES = r"""
- name: File is gone
  check_reporting:
    phase: gone
    about: "{{ host }}"
    calls: "{{ calls }}"
    sync: "{{ fleet_lib_dir }}/site-sync"
  no_log: true
"""

REFUSALS = {1044, 1142, 1290}
ROW_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
FILE_SECONDS = 70.0
MARK_SECONDS = 130.0
# How much longer than its first file the rest of a copy may take.
COPY_SECONDS = 30.0
CALLS_PER_NODE = 20
CALL_PAUSE_SECONDS = 0.05
REPORT = "/api/method/frappe.desk.query_report.run?report_name=ToDo"
WRITE = "INSERT INTO tabSingles (doctype, field, value) VALUES ('fleet-verify', %s, '1')"
LOOK = "SELECT COUNT(*) FROM tabSingles WHERE doctype = 'fleet-verify'"

# Run by the bench's own Python with the guard, as its workers are: a document that the primary's
# connection writes, and one that code writes under read_only. Both are taken away again.
TRY_GUARD = """
import json, sys
from benchfleet_guard.install import install
from benchfleet_guard.shared import State
install()
# The operator's counts are of the apps' code.
State.count = lambda *_, **__: 0
import frappe

site, mark = sys.argv[1:]
frappe.init(site=site, sites_path=".")
frappe.connect()


def insert():
    todo = frappe.get_doc({"doctype": "ToDo", "description": mark})
    return todo.insert(ignore_permissions=True).name


@frappe.read_only()
def look(name):
    found = frappe.db.sql("SELECT name FROM tabToDo WHERE name = %s", (name,))
    return [frappe.db.sql("SELECT @@server_id")[0][0], bool(found)]


@frappe.read_only()
def write():
    frappe.db.sql("SELECT 1")
    return insert()


names = []
try:
    names.append(insert())
    frappe.db.commit()
    seen = {"own": look(names[0])}
    names.append(write())
    frappe.db.commit()
    primary = frappe.db.sql("SELECT name FROM tabToDo WHERE name = %s", (names[1],))
    seen["written"] = [bool(primary), *look(names[1])]
finally:
    frappe.db.rollback()
    for name in names:
        frappe.db.sql("DELETE FROM tabToDo WHERE name = %s", (name,))
    frappe.db.commit()
print(json.dumps(seen))
"""

# As a job of the bench would: the first words make a file, the second ones remove it.
TRY_FILE = """
import os, sys
import frappe

site, name, action = sys.argv[1:]
frappe.init(site=site, sites_path=".")
frappe.connect()
path = frappe.get_site_path("public", "files", name)
if action == "make":
    with open(path, "w") as out:
        out.write(name)
elif action == "read":
    with open(path) as source:
        print(source.read())
elif os.path.exists(path):
    os.remove(path)
frappe.db.commit()
frappe.destroy()
"""


@contextmanager
def site_connection(
    host: str, port: int, user: str, password: str, database: str, ca: str = ""
) -> Iterator[Any]:
    """Sign in to a site's database as its bench does, or without TLS where no CA is named."""
    connection = pymysql.connect(
        host=host,
        port=port,
        user=user,
        password=password,
        database=database,
        charset="utf8mb4",
        connect_timeout=5,
        read_timeout=20,
        ssl={"ca": ca} if ca else None,
        # Of its own accord a newer driver would use what the server offers.
        ssl_disabled=not ca,
    )
    try:
        yield connection
    finally:
        connection.close()


def write_attempt(connection: Any, token: str) -> int:
    """Try to write a row; returns the error's number, 0 when the server took it.

    The transaction is rolled back: what is not refused leaves nothing either.
    """
    connection.begin()
    try:
        with connection.cursor() as cursor:
            cursor.execute(WRITE, (token,))
    except pymysql.MySQLError as error:
        return int(error.args[0])
    finally:
        connection.rollback()
    return 0


class Reporting(HostChecks):
    """A reporting node's checks."""

    @property
    def token(self) -> str:
        """The word that marks what this verify makes."""
        return str(self.params["token"])

    def file(self) -> Path:
        """Where the file is expected that check_primary has put into the first site."""
        name = f"fleet-verify-{self.token}.txt"
        return Path(self.bench, "sites", self.sites[0], "public/files", name)

    def site_connection(self, host: str, *account: str) -> Any:
        """The same over TLS, at the port of the fleet's servers: user, password, database."""
        return site_connection(host, self.ports["mariadb"], *account, self.params["ca"])

    def primary_probe(self) -> Any:
        """The primary as fleet_probe, over the LAN and TLS."""
        return remote(
            self.params["primary_ip"],
            self.ports["mariadb"],
            "fleet_probe",
            self.params["probe_password"],
            self.params["ca"],
        )

    def measure(self) -> None:
        """Make all checks but the file's removal."""
        attempt = self.gathering.attempt
        attempt(("threads", "heartbeat", "read_only"), self.check_replication)
        attempt("row", self.check_row)
        attempt("errant", self.check_errant)
        attempt("memory_tables", self.check_memory_tables)
        attempt("tls", self.check_tls)
        attempt("sites_tls", self.check_sites_tls)
        attempt(("refused_replica", "refused_primary"), self.check_refusals)
        attempt("keys", self.check_keys)
        attempt(("report", "signed_in"), self.check_calls)
        attempt("session_row", self.check_session_row)
        attempt(("own_writes", "written"), self.check_guard)
        attempt("no_scheduler", self.check_no_scheduler)
        attempt(("file_kept", "file_fetched"), self.check_files)
        self.look()
        attempt("file_arrives", self.check_file_arrives)
        attempt("fresh", self.check_fresh)

    def check_replication(self) -> None:
        """Threads, heartbeat and read_only, from the server itself."""
        with local() as server:
            status = server.replica_status()
            closed = int(server.value("SELECT @@GLOBAL.read_only"))
            events = str(server.value("SELECT @@GLOBAL.event_scheduler"))
            age = server.value(
                "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), NOW(6)) / 1000000"
                " FROM benchfleet.heartbeat"
            )
        add = self.gathering.add
        saw = f"@@read_only = {closed}, @@event_scheduler = {events}"
        add("read_only", closed == 1 and events != "ON", saw)
        if status is None:
            add("threads", False, "this server follows nobody")
        else:
            threads = {name: str(status[f"Slave_{name}_Running"]) for name in ("IO", "SQL")}
            saw = ", ".join(f"{name} {state}" for name, state in threads.items())
            for name in threads:
                if int(status[f"Last_{name}_Errno"]):
                    saw += f"; {name}: {status[f'Last_{name}_Error']}"
            add("threads", set(threads.values()) == {"Yes"}, saw)
        good = age is not None and abs(float(age)) < HEARTBEAT_SECONDS
        add("heartbeat", good, "no heartbeat" if age is None else f"{float(age):.1f} s old")

    def check_row(self) -> None:
        """Write a row on the primary over the LAN, and time its way to this server."""
        mark = f"verify-{self.token}-{self.params['lan_ip']}"[:64]
        with self.primary_probe() as primary, local() as server:
            try:
                primary.run("INSERT INTO benchfleet.probe (id) VALUES (%s)", (mark,))
                took = self.arrival(server, mark)
            finally:
                primary.run("DELETE FROM benchfleet.probe WHERE id = %s", (mark,))
        if took is None:
            self.gathering.add("row", False, "not there after 10 s")
        else:
            self.gathering.add("row", took <= ROW_SECONDS, f"there after {took * 1000:.0f} ms")

    @staticmethod
    def arrival(server: Server, mark: str) -> float | None:
        """Seconds until a row is here, None when it does not come."""
        began = time.monotonic()
        while time.monotonic() - began < 10:
            if server.value("SELECT COUNT(*) FROM benchfleet.probe WHERE id = %s", (mark,)):
                return time.monotonic() - began
            time.sleep(0.005)
        return None

    def check_errant(self) -> None:
        """Compare what both servers have in their binary logs, this one's first."""
        question = "SELECT @@GLOBAL.gtid_binlog_state"
        with local() as server:
            here = server.value(question)
        with self.primary_probe() as primary:
            there = primary.value(question)
        strange = errant(here, there)
        self.gathering.add("errant", not strange, ", ".join(strange) or "none")

    def check_memory_tables(self) -> None:
        """Look for tables that a restart of this server empties: its copy differs from then on."""
        with local() as server:
            found = memory_tables(server)
        self.gathering.add("memory_tables", not found, ", ".join(found) or "none")

    def check_tls(self) -> None:
        """Sign in as the replication account without TLS, and look at how the replica connects."""
        with local() as server:
            status = server.replica_status() or {}
        checked = {
            name: str(status.get(name))
            for name in ("Master_SSL_Allowed", "Master_SSL_Verify_Server_Cert")
        }
        saw = ", ".join(f"{name} {value}" for name, value in checked.items())
        try:
            with site_connection(
                self.params["primary_ip"],
                self.ports["mariadb"],
                "repl",
                self.params["replication_password"],
                "",
            ):
                refused = False
        except pymysql.MySQLError as error:
            refused = error.args[0] == 1045
            saw += f"; without TLS: {describe(error)}"
        else:
            saw += "; the primary lets repl in without TLS"
        self.gathering.add("tls", refused and set(checked.values()) == {"Yes"}, saw)

    def check_refusals(self) -> None:
        """Try to write as each account that a bench here uses."""
        saw: dict[str, list[str]] = {"refused_replica": [], "refused_primary": []}
        good = {"refused_replica": True, "refused_primary": True}
        major = self.frappe_major()
        primary = self.params["primary_ip"]
        for site in self.all_sites:
            config = self.config(site)
            database = str(config["db_name"])
            replica = str(config.get("replica_host") or self.params["lan_ip"])
            main, reader = own_account(config), reading_account(config, major)
            for name, host, account in (
                ("refused_replica", replica, reader),
                ("refused_replica", replica, main),
                ("refused_primary", primary, reader),
            ):
                if name == "refused_primary" and account == main:
                    # Frappe 14 has no reading account: there the server's read_only is the lock.
                    saw[name].append(f"{site}: this Frappe version signs in as the site itself")
                    continue
                try:
                    with self.site_connection(host, *account, database) as connection:
                        number = write_attempt(connection, self.token)
                except pymysql.MySQLError as error:
                    saw[name].append(f"{account[0]} cannot sign in at {host}: {describe(error)}")
                    good[name] = False
                    continue
                saw[name].append(f"{account[0]}: {f'refused, {number}' if number else 'TAKEN'}")
                good[name] = good[name] and number in REFUSALS
            rows = self.leftover_rows(config)
            if any(rows):
                saw["refused_replica"].append(f"rows found (replica, primary): {rows}")
                good["refused_replica"] = False
        for name, words in saw.items():
            self.gathering.add(name, good[name], "; ".join(words))

    def check_sites_tls(self) -> None:
        """Sign in without TLS as each account that a bench here uses, on both servers."""
        if unfit := [words for words in self.misfits if words.startswith("tls:")]:
            self.gathering.skip("sites_tls", f"not applicable: {unfit[0]}")
            return
        saw, good = [], True
        for site in self.all_sites:
            config = self.config(site)
            accounts = {own_account(config), reading_account(config, self.frappe_major())}
            places = {self.params["primary_ip"], config.get("replica_host") or ""} - {""}
            for host, account in itertools.product(sorted(places), sorted(accounts)):
                words = "LET IN"
                try:
                    database = str(config["db_name"])
                    with site_connection(host, self.ports["mariadb"], *account, database):
                        good = False
                except pymysql.MySQLError as error:
                    words = f"refused, {error.args[0]}"
                    good = good and error.args[0] == 1045
                saw.append(f"{account[0]} at {host}: {words}")
        self.gathering.add("sites_tls", good, "; ".join(saw))

    def answers(self) -> dict[str, Any]:
        """Those of every host, and what both MariaDB servers answer the account that reads here.

        servers: {here, primary}, each setting → answer; {} where one could not be asked.
        """
        found: dict[str, Any] = {**super().answers(), "servers": {}}
        try:
            config = self.config(self.all_sites[0])
            account = reading_account(config, self.frappe_major())
            places = {
                "here": str(config.get("replica_host") or self.params["lan_ip"]),
                "primary": self.params["primary_ip"],
            }
            servers = {}
            for name, host in places.items():
                database = str(config["db_name"])
                with self.site_connection(host, *account, database) as connection:
                    servers[name] = ask_server(connection)
            found["servers"] = servers
        except Exception as error:
            found["trouble"] = "; ".join(filter(None, (found["trouble"], in_words(error))))
        return found

    def leftover_rows(self, config: dict[str, Any]) -> tuple[int, int]:
        """Rows of such attempts on this server and on the primary."""
        who = (*own_account(config), str(config["db_name"]))
        found = []
        for host in (self.params["lan_ip"], self.params["primary_ip"]):
            with self.site_connection(host, *who) as connection, connection.cursor() as cursor:
                cursor.execute(LOOK)
                found.append(int(cursor.fetchone()[0]))
        return found[0], found[1]

    def check_keys(self) -> None:
        """The keys in force against those of this Frappe version."""
        major = self.frappe_major()
        wrong = []
        for site in self.all_sites:
            found = key_problems(
                self.config(site),
                major,
                self.params["primary_ip"],
                self.params["lan_ip"],
                self.ports["mariadb"],
            )
            wrong += [f"{site}: {problem}" for problem in found]
        saw = f"Frappe {major}: " + (
            "; ".join(wrong) or "its keys, for " + ", ".join(self.all_sites)
        )
        self.gathering.add("keys", not wrong, saw)

    def visitor(self, site: str, *, router: bool) -> Visitor:
        """Somebody signed in at the router, or at this bench directly."""
        if router:
            place = self.params["router"]
            port, secure = router_port(place, site)
            visitor = Visitor(place["address"], port, site, secure)
        else:
            visitor = Visitor(self.params["lan_ip"], self.ports["web"], site)
        visitor.sign_in(self.params["user"], self.params["passwords"][site])
        return visitor

    def at_router(self, visitor: Visitor) -> Visitor:
        """The same visitor at the router."""
        place = self.params["router"]
        return visitor.at(place["address"], *router_port(place, visitor.site))

    def reads(self, account: str) -> int:
        """SELECTs that an account has made on this server since it started."""
        with local() as server:
            if not int(server.value("SELECT @@GLOBAL.userstat")):
                raise AssertionError("userstat is off on this server: run site.yml")
            found = server.value(
                "SELECT SUM(SELECT_COMMANDS) FROM information_schema.USER_STATISTICS"
                " WHERE USER = %s",
                (account,),
            )
        return int(found or 0)

    def check_calls(self) -> None:
        """On each site: sign in at the router, call a report, be known at this bench, sign out."""
        major = self.frappe_major()
        reports, known = [], []
        report_good = known_good = True
        for site in self.sites:
            account = reading_account(self.config(site), major)[0]
            with self.visitor(site, router=True) as visitor:
                direct = visitor.at(self.params["lan_ip"], self.ports["web"])
                before = self.reads(account)
                answered, last = self.call_report(visitor)
                risen = self.reads(account) - before
                names = [visitor.user(), direct.user()]
                visitor.sign_out()
                after = [visitor.user(), direct.user()]
            own = answered.get(self.params["host"], 0)
            shares = ", ".join(f"{name or '(no header)'} {n}" for name, n in answered.items())
            reports.append(
                f"{site}: answered by {shares}; {account} made {risen} SELECTs here{last}"
            )
            if self.takes_calls:
                report_good = report_good and own > 0 and risen >= own and not last
            else:
                # Why is a check of its own; here it counts that users have their answers.
                report_good = report_good and own == 0 and not last
            good = set(names) == {self.params["user"]} and not any(after)
            known_good = known_good and good
            known.append(
                f"{site}: router knows {names[0] or 'nobody'}, bench {names[1] or 'nobody'};"
                f" signed out at the router: {after[0] or 'nobody'}, {after[1] or 'nobody'}"
            )
        self.gathering.add("report", report_good, "; ".join(reports))
        other = self.signed_in_here()
        self.gathering.add("signed_in", known_good and other[0], "; ".join([*known, other[1]]))

    def call_report(self, visitor: Visitor) -> tuple[dict[str, int], str]:
        """Call a report until this host has answered, with a bound for each node of the fleet.

        The router takes the nodes in turn, and all of them are verified at the same time: in step
        with each other, each would get the other's answers only. So the calls are not in step.
        Returns how many calls each bench answered, and what a call that failed said.
        """
        answered: dict[str, int] = {}
        for _ in range(CALLS_PER_NODE * max(1, self.params["nodes"])):
            answer = visitor.call("GET", REPORT)
            answered[answer.bench] = answered.get(answer.bench, 0) + 1
            if answer.status != 200:
                return answered, f"; a call failed: {answer.said()}"
            if answer.bench == self.params["host"]:
                break
            time.sleep(random.uniform(0, CALL_PAUSE_SECONDS))
        return answered, ""

    def signed_in_here(self) -> tuple[bool, str]:
        """The other way round: sign in and out at this bench, and ask the router."""
        with self.visitor(self.sites[0], router=False) as visitor:
            router = self.at_router(visitor)
            name = router.user()
            visitor.sign_out()
            after = router.user()
        saw = f"signed in here, router knows {name or 'nobody'}; signed out: {after or 'nobody'}"
        return name == self.params["user"] and not after, saw

    def check_session_row(self) -> None:
        """Sign in at this bench; the session's row must be on the primary."""
        saw, good = [], True
        for site in self.sites:
            config = self.config(site)
            account, database = own_account(config), str(config["db_name"])
            with (
                self.visitor(site, router=False) as visitor,
                self.site_connection(self.params["primary_ip"], *account, database) as connection,
                connection.cursor() as cursor,
            ):
                sid = visitor.cookies["sid"]
                cursor.execute("SELECT COUNT(*) FROM tabSessions WHERE sid = %s", (sid,))
                rows = int(cursor.fetchone()[0])
            good = good and rows == 1
            saw.append(f"{site}: {'its row is' if rows else 'no row'} on the primary")
        self.gathering.add("session_row", good, "; ".join(saw))

    def check_guard(self) -> None:
        """Write on the primary and read here at once; write under read_only."""
        guarded = any("benchfleet_guard.wsgi" in w for p in self.processes for w in p.words)
        if self.params["web_workers"] and not guarded:
            raise AssertionError("the web workers run without the guard (fleet_read_guard)")
        with local() as server:
            here = int(server.value("SELECT @@GLOBAL.server_id"))
        own, written = [], []
        own_good = written_good = True
        for site in self.all_sites:
            seen = self.try_guard(site)
            server_id, found = seen["own"]
            # Where the guard does not fit, which is a check of its own, all is read on the primary.
            reads_here = self.takes_calls
            own_good = own_good and found and (int(server_id) == here) == reads_here
            place = "here" if int(server_id) == here else f"at server {server_id}"
            own.append(f"{site}: {'found' if found else 'MISSING'}, read {place}")
            at_primary, server_id, at_replica = seen["written"]
            replica = at_replica and (int(server_id) == here) == reads_here
            written_good = written_good and at_primary and replica
            places = {"primary": at_primary, "replica": replica and reads_here}
            there = [name for name, good in places.items() if good]
            written.append(f"{site}: on {' and '.join(there) or 'neither server'}")
        self.gathering.add("own_writes", own_good, "; ".join(own))
        self.gathering.add("written", written_good, "; ".join(written))

    def try_guard(self, site: str) -> dict[str, Any]:
        """What TRY_GUARD prints."""
        guard = self.params["guard"]
        said = self.run_python(
            TRY_GUARD,
            site,
            f"fleet-verify-{self.token}",
            PYTHONPATH=guard["package_dir"],
            BENCHFLEET_READ_GUARD=guard["settings"],
        )
        return dict(json.loads(said.strip().splitlines()[-1]))

    def check_no_scheduler(self) -> None:
        """Processes, supervisor's programs and the configuration in force."""
        running = schedulers(self.processes)
        name = Path(self.bench).name
        programs = doing(name, "schedule")(list(states(control("status"))))
        unpaused = [site for site in self.all_sites if not self.config(site).get("pause_scheduler")]
        saw = [f"process {p.pid}: {' '.join(p.words)}" for p in running]
        saw += [f"supervisor has {name}" for name in programs]
        saw += [f"pause_scheduler is not set for {site}" for site in unpaused]
        words = "; ".join(saw) or "no process, no program, pause_scheduler set"
        self.gathering.add("no_scheduler", not saw, words)

    def check_files(self) -> None:
        """Make a file as a job would, ask the router for it, remove it, and ask again.

        In between it is taken away here alone, and opened as a job would.
        """
        site = self.sites[0]
        name = f"fleet-verify-{self.token}-{self.params['host']}.txt"

        with self.visitor(site, router=True) as visitor:
            try:
                self.run_python(TRY_FILE, site, name, "make")
                made = visitor.call("GET", f"/files/{name}")
                unlink(str(self.file().with_name(name)))
                read = self.gathering.attempt(
                    "file_fetched",
                    lambda: self.run_python(TRY_FILE, site, name, "read").splitlines()[-1],
                )
            finally:
                self.run_python(TRY_FILE, site, name, "remove")
            gone = visitor.call("GET", f"/files/{name}")
        there = made.status == 200 and made.text == name
        saw = f"{made.said()} at once, HTTP {gone.status} after its removal"
        self.gathering.add("file_kept", there and gone.status == 404, saw)
        if read is not None:
            self.gathering.add("file_fetched", read == name, "whole" if read == name else "torn")

    def check_file_arrives(self) -> None:
        """Wait for the file, and tell its age on arrival."""
        put_at = self.params["put_at"]
        if put_at is None:
            raise AssertionError("the primary was given no file (see the checks of the primary)")
        deadline = time.monotonic() + self.params["file_seconds"]
        while not self.file().exists():
            if time.monotonic() > deadline:
                waited = time.time() - put_at
                self.gathering.add("file_arrives", False, f"not there after {waited:.0f} s")
                return
            time.sleep(0.25)
        # When it was renamed into place; its contents' own time came over with it.
        took = max(self.file().stat().st_ctime - put_at, 0.0)
        text = read_bytes(str(self.file())).decode().strip()
        good = text == self.token and took <= FILE_SECONDS
        saw = f"there after {took:.0f} s"
        self.gathering.add("file_arrives", good, saw if text == self.token else f"{saw}, but torn")

    def check_fresh(self) -> None:
        """The mark of the last copy; one that has brought the file is waited for to its end."""
        deadline = time.monotonic() + (COPY_SECONDS if self.file().exists() else 0)
        mark = read_json(f"{self.bench}/sites/.site-sync.json")
        while time.monotonic() < deadline and (
            time.time() - float(mark.get("last_success") or 0) > MARK_SECONDS
        ):
            time.sleep(0.25)
            mark = read_json(f"{self.bench}/sites/.site-sync.json")
        last = mark.get("last_success")
        if not last:
            self.gathering.add("fresh", False, f"no success yet; {mark.get('error') or 'no mark'}")
            return
        age = time.time() - float(last)
        saw = f"last success {age:.0f} s ago"
        if mark.get("error"):
            saw += f"; since then: {mark['error']}"
        self.gathering.add("fresh", -2 <= age <= MARK_SECONDS, saw)

    def check_file_goes(self) -> None:
        """Copy as cron does, and look for the file that the primary no longer has."""
        done = subprocess.run(
            [self.params["sync"], "--wait", "60"],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        said = (done.stdout + done.stderr).strip().splitlines()
        there = self.file().exists()
        if there and done.returncode != 0:
            # Nobody else would take it away while copies fail.
            unlink(str(self.file()))
        saw = "still there" if there else "gone"
        if done.returncode != 0:
            saw += f"; the copy ended with {done.returncode}: {said[-1] if said else 'no word'}"
        self.gathering.add("file_goes", not there and done.returncode == 0, saw)


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            **ARGUMENTS,
            "phase": {"type": "str", "choices": ["measure", "gone"], "required": True},
            "nodes": {"type": "int"},
            "guard": {"type": "dict"},
            "probe_password": {"type": "str", "no_log": True},
            "replication_password": {"type": "str", "no_log": True},
            "ca": {"type": "path"},
            "put_at": {"type": "float"},
            "file_seconds": {"type": "int"},
            "sync": {"type": "path"},
        },
        required_if=[
            (
                "phase",
                "measure",
                ["nodes", "guard", "probe_password", "replication_password", "ca"],
            ),
            ("phase", "gone", ["sync"]),
        ],
    )
    if pymysql is None:
        module.exit_json(
            changed=False,
            checks=[],
            seen={"trouble": f"{PYMYSQL} is not installed on this host: run site.yml"},
        )
    reporting = Reporting(module.params)
    if module.params["phase"] == "gone":
        reporting.gathering.attempt("file_goes", reporting.check_file_goes)
    else:
        try:
            reporting.measure()
        except Exception as error:
            reporting.seen["trouble"] = in_words(error)
    module.exit_json(changed=False, checks=reporting.gathering.results, seen=reporting.seen)


if __name__ == "__main__":
    main()
