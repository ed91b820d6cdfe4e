"""Results of checks: how those of one host are collected, and the verdict over all of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .catalogue import CATALOGUE, TITLES

# How long a basic may take, and any other check that does not wait for something by design. With a
# broken basic, most checks are not asked, so that verify ends soon.
BASIC_SECONDS = 8.0
CHECK_SECONDS = 120.0

Result = dict[str, Any]
OF_PRIMARY = "primary:"


def result(
    name: str,
    host: str,
    ok: bool,
    saw: str,
    *,
    wanted: str | None = None,
    remedy: str | None = None,
    applicable: bool = True,
    compared: bool = True,
    proved: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Result:
    """One check's result as it is reported.

    wanted, remedy: the catalogue's by default. applicable: whether there was anything to check on
    this host. compared: false where the check compares hosts and one of them was not seen. proved:
    the cause of a red check was seen, and is no other check's: the remedy may be one that removes
    data (the catalogue's cure). facts: values behind ``saw``, for programs.
    """
    check = CATALOGUE[name]
    remedy = remedy or (check.cure if proved else "") or check.remedy
    return {
        "id": name,
        "row": check.row,
        "about": TITLES[check.row],
        "check": check.title,
        "host": host,
        "ok": bool(ok),
        "state": "ok" if ok else "failed",
        "because": "",
        "applicable": applicable,
        "compared": compared,
        "proved": proved and not ok,
        "saw": saw,
        "wanted": wanted or check.wanted,
        "remedy": "" if ok else remedy,
        "facts": dict(facts or {}),
    }


def unknown(entry: Mapping[str, Any], because: str, saw: str) -> Result:
    """A result of which nothing is known; because: the place, ``ID on HOST``, of the cause."""
    return {
        **entry,
        "ok": False,
        "state": "unknown",
        "because": because,
        "saw": saw,
        "remedy": "",
    }


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError where the block takes longer. For the main thread."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds:.0f} s")

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


class Gathering:
    """The results of one host. A check that raises an error is red; the others are still made.

    earlier: results of this host from an earlier phase, primary: those of the primary. A check that
    needs one of them that is red is not asked.
    """

    def __init__(
        self,
        host: str,
        earlier: Iterable[Result] = (),
        primary: Iterable[Result] | None = None,
    ) -> None:
        self.host = host
        self.results: list[Result] = []
        self.earlier = {entry["id"]: entry for entry in earlier}
        # On the primary itself, both are the same host.
        self.primary = None if primary is None else {entry["id"]: entry for entry in primary}

    def add(self, name: str, ok: bool, saw: str, **other: Any) -> None:
        """Add one result; for ``other`` see ``result``."""
        self.results.append(result(name, self.host, ok, saw, **other))

    def skip(self, name: str, why: str, **other: Any) -> None:
        """Add a check that is not applicable here."""
        self.results.append(result(name, self.host, True, why, applicable=False, **other))

    def lacks(self, name: str) -> str:
        """The first need of a check that is red or unknown, as the catalogue names it; else ""."""
        here = {**self.earlier, **{entry["id"]: entry for entry in self.results}}
        for need in CATALOGUE[name].needs:
            away = need.startswith(OF_PRIMARY) and self.primary is not None
            known = self.primary if away else here
            entry = (known or {}).get(need.removeprefix(OF_PRIMARY))
            if entry is not None and not entry["ok"]:
                return need
        return ""

    def attempt(
        self,
        names: str | tuple[str, ...],
        function: Callable[[], Any],
        seconds: float = CHECK_SECONDS,
    ) -> Any:
        """Call a function that makes the checks ``names``, if what they need is there.

        Returns what it returns. After an error, or after these seconds, those that it has not made
        are red, and None is returned.
        """
        wanted = (names,) if isinstance(names, str) else names
        lacking = next(filter(None, map(self.lacks, wanted)), "")
        if lacking:
            for name in wanted:
                entry = result(name, self.host, False, "")
                self.results.append(unknown(entry, lacking, f"not asked: needs {lacking}"))
            return None
        try:
            with limited(seconds):
                return function()
        except Exception as error:
            made = {entry["id"] for entry in self.results}
            for name in wanted:
                if name not in made:
                    facts = {"error": type(error).__name__}
                    self.add(name, False, message_of(error), facts=facts)
            return None


def message_of(error: BaseException) -> str:
    """An error's message on one line, with its class where the message alone is too short."""
    if len(error.args) > 1 and isinstance(error.args[0], int):
        return f"{error.args[1]} ({error.args[0]})"
    message = " ".join(str(error).split()) or "no message"
    plain = isinstance(error, AssertionError | TimeoutError)
    return message if plain else f"{type(error).__name__}: {message}"


def complete(
    found: Iterable[Result],
    hosts: Mapping[str, Mapping[str, Any]],
    unasked: Mapping[str, str],
) -> list[Result]:
    """The results of all hosts in the catalogue's order, each with its state.

    state: ok, failed, or unknown: the host could not be asked, or the check needs or follows one
    that failed (``because``: ID on HOST).

    hosts: name -> {role, trouble}; ``trouble`` says why a host has no results. A check of such a
    host is unknown.
    unasked: name -> why it could not be asked at all; the remedy is given once for the host.
    """
    by_place = {(entry["id"], entry["host"]): entry for entry in found}
    primary = next((host for host, about in hosts.items() if about["role"] == "primary"), "")
    table: dict[tuple[str, str], Result] = {}
    for name, check in CATALOGUE.items():
        for host, about in hosts.items():
            if about["role"] not in check.hosts:
                continue
            place = (name, host)
            entry = by_place.get(place)
            if entry is None:
                why = unasked.get(host) or about.get("trouble")
                why = why or "the checks of this host ended before this one"
                entry = result(name, host, False, "", facts={"trouble": why})
                entry = unknown(entry, "", f"not asked: {why}")
            silent = host in unasked
            # The controller tries the ports of a host whether that could be asked or not.
            tried = name == "outside" and place in by_place
            if (silent or not entry["compared"]) and not tried and not entry["ok"]:
                entry = unknown(entry, "", entry["saw"])
            table[place] = entry
    for place in table:
        _attribute(place, table, primary)
    results = [{**entry, "asked": entry["state"] != "unknown"} for entry in table.values()]
    return sorted(results, key=lambda entry: int(entry["row"][1:]))


def _attribute(place: tuple[str, str], table: dict[tuple[str, str], Result], primary: str) -> str:
    """Find the cause of a check that is not ok; returns its place, "" where it is ok or unknown.

    A failed check without a cause in another check is the cause itself.
    """
    entry = table.get(place)
    if entry is None or entry["ok"]:
        return ""
    name, host = place
    own = f"{name} on {host}"
    if entry["proved"]:
        return own
    check = CATALOGUE[name]
    for need in (*check.needs, *check.follows):
        of, _, wanted = need.rpartition(":")
        hosts = {"": [host], "primary": [primary], "nodes": [h for i, h in table if i == wanted]}[
            of
        ]
        causes = (_attribute((wanted, where), table, primary) for where in hosts)
        cause = next(filter(None, causes), "")
        if cause:
            if entry["state"] == "failed":
                saw = f"follows from {cause}, which failed; saw: {entry['saw']}"
                table[place] = unknown(entry, cause, saw)
            elif (entry["because"] or not entry["compared"]) and entry["because"] != cause:
                table[place] = unknown(entry, cause, f"not asked: needs {cause}, which failed")
            return cause
    return own if entry["state"] == "failed" else ""


def counted(results: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many checks are ok, failed, unknown and not applicable, by these names."""
    counts = {"ok": 0, "failed": 0, "unknown": 0, "not applicable": 0}
    for entry in results:
        counts["not applicable" if not entry["applicable"] else str(entry["state"])] += 1
    return counts


def closing(results: Sequence[Mapping[str, Any]]) -> str:
    """The numbers of all checks by state, for people; ``not asked`` stands for unknown."""
    counts = counted(results)
    counts["not asked"] = counts.pop("unknown")
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def red_table(results: Iterable[Mapping[str, Any]]) -> str:
    """The failed checks for people: what was seen, what was wanted, the remedy."""
    lines = []
    for entry in results:
        if entry["state"] == "failed":
            lines += [
                f"{entry['row']}  {entry['host']}  {entry['check']}",
                f"    saw:    {entry['saw']}",
                f"    wanted: {entry['wanted']}",
                f"    remedy: {entry['remedy']}",
                f"    id:     {entry['id']}",
            ]
    return "\n".join(lines)
