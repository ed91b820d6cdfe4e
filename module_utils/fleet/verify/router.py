"""Checks of calls, through the router and to a bench directly."""

from __future__ import annotations

import random
import time
from pathlib import Path

from ..http import (
    REPORT,
    Visitor,
    certificate_fault,
    first_certificate,
    router_port,
    shown_certificate,
)
from ..nginx.certificates import Certificates, is_public, read_asked
from ..own_certificates import ends_soon, parse_der
from ..sites.folders import own_account, read_state, served_names
from .accounts import AccountChecks
from .host import Host, local
from .sites import reading_account

# Which routers have passed a call on, in the answer.
PASSED_ON = "x-fleet-forwarded"
PING = "/api/method/frappe.ping"
CALLS_PER_NODE = 20
CALL_PAUSE_SECONDS = 0.05


class RouterChecks(Host):
    """Checks of the router itself, on the primary."""

    def check_certificates(self) -> None:
        """Connect to each site by each of its names, as a browser does."""
        router, table = self.params["router"], Certificates.by(self.params["certificates"])
        state_dir = str(Path(self.params["state_dir"]).parent)
        failed = read_asked(state_dir)["failed"]
        faults, good = [], []
        state = read_state(state_dir)
        for site, further in served_names(state).items():
            for name in filter(is_public, (site, *further)):
                pair = table.of(site, name)
                if pair is None:
                    if table.acme:
                        why = failed.get(name, {"why": "the CA has not been asked yet"})["why"]
                        faults.append(f"{name}: served by http, as it has no certificate: {why}")
                    continue
                where = (router["address"], int(router["https"]), name)
                shown = shown_certificate(*where)
                fault = certificate_fault(shown, *where)
                if fault := fault or ends_soon(parse_der(shown), time.time()):
                    faults.append(f"{name}: {fault}")
                elif shown != first_certificate(pair[0]):
                    faults.append(f"{name}: the router shows another certificate than {pair[0]}")
                else:
                    good.append(name)
        if not faults and not good:
            self.gathering.skip("certificates", "not applicable: the sites are served by http")
            return
        self.gathering.add(
            "certificates", not faults, "; ".join(faults) or f"valid for {', '.join(good)}"
        )


class CallChecks(AccountChecks):
    """Checks of calls that a reporting node answers."""

    def check_calls(self) -> None:
        """On each site: sign in at the router, call a report, ask for the user, sign out."""
        major = self.frappe_major()
        reports, known = [], []
        report_good = known_good = True
        for site in self.sites:
            account = reading_account(self.config(site), major)[0]
            with self.visitor(site) as visitor:
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
                # Why it takes none is the check contract; users must get answers from others.
                report_good = report_good and own == 0 and not last
            good = set(names) == {self.params["user"]} and not any(after)
            known_good = known_good and good
            known.append(
                f"{site}: user at the router: {names[0] or 'none'}, at this bench:"
                f" {names[1] or 'none'}; after signing out at the router: {after[0] or 'none'},"
                f" {after[1] or 'none'}"
            )
        self.gathering.add("report", report_good, "; ".join(reports))
        other = self.signed_in_here()
        self.gathering.add("signed_in", known_good and other[0], "; ".join([*known, other[1]]))

    def call_report(self, visitor: Visitor) -> tuple[dict[str, int], str]:
        """Call a report until this host has answered, at most CALLS_PER_NODE times for each node.

        The router takes the nodes in turn, and all nodes are verified at the same time: with equal
        pauses, each could get the other's answers only. So the pauses are random.
        Returns how many calls each bench answered, and the answer of a call that failed.
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

    def reads(self, account: str) -> int:
        """The number of SELECTs of an account on this server since it started."""
        with local() as server:
            if not int(server.value("SELECT @@GLOBAL.userstat")):
                raise AssertionError("userstat is off on this server: run site.yml")
            found = server.value(
                "SELECT SUM(SELECT_COMMANDS) FROM information_schema.USER_STATISTICS"
                " WHERE USER = %s",
                (account,),
            )
        return int(found or 0)

    def signed_in_here(self) -> tuple[bool, str]:
        """Sign in and out at this bench, and ask the router for the user each time."""
        with self.visitor(self.sites[0], router=False) as visitor:
            place = self.params["router"]
            router = visitor.at(place["address"], *router_port(place, visitor.site))
            name = router.user()
            visitor.sign_out()
            after = router.user()
        saw = (
            f"signed in at this bench, user at the router: {name or 'none'};"
            f" after signing out: {after or 'none'}"
        )
        return name == self.params["user"] and not after, saw

    def check_standby_router(self) -> None:
        """Call each site at this host's own router, which passes the call on to the primary's."""
        if not self.params["routes"]:
            self.gathering.skip("standby_router", "not applicable: this host is not the standby")
            return
        primary = self.params["router"]
        own = {**primary, "address": self.params["lan_ip"]}
        faults = []
        for site in self.sites:
            port, secure = router_port(own, site)
            answer = Visitor(own["address"], port, site, secure).call("GET", PING)
            passed = answer.headers.get(PASSED_ON, "")
            if answer.status != 200 or self.params["host"] not in passed.split(", "):
                faults.append(
                    f"{site}: {answer.said()}, passed on by {passed or 'no router'}, answered by"
                    f" {answer.bench or 'no bench'}"
                )
            elif (port, secure) != router_port(primary, site):
                faults.append(f"{site}: by {'https' if secure else 'http'}, unlike on the primary")
            elif secure and shown_certificate(own["address"], port, site) != shown_certificate(
                primary["address"], port, site
            ):
                faults.append(f"{site}: another certificate than on the primary")
        self.gathering.add(
            "standby_router",
            not faults,
            "; ".join(faults) or f"passed on to the primary: {', '.join(self.sites)}",
        )

    def check_session_row(self) -> None:
        """Sign in at this bench; the session's row must be on the primary."""
        saw, good = [], True
        for site in self.sites:
            config = self.config(site)
            account, database = own_account(config), str(config["db_name"])
            primary = self.params["primary_ip"]
            with (
                self.visitor(site, router=False) as visitor,
                self.signed_in(primary, account, database) as connection,
                connection.cursor() as cursor,
            ):
                sid = visitor.cookies["sid"]
                cursor.execute("SELECT COUNT(*) FROM tabSessions WHERE sid = %s", (sid,))
                rows = int(cursor.fetchone()[0])
            good = good and rows == 1
            saw.append(f"{site}: {'its row is' if rows else 'no row'} on the primary")
        self.gathering.add("session_row", good, "; ".join(saw))
