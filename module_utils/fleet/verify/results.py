"""Results of checks: how those of one host are collected, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .catalogue import CATALOGUE


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
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One check's result as it is reported.

    wanted, remedy: the catalogue's by default. applicable: whether there was anything to check on
    this host. compared: false where the check compares hosts and one of them was not seen. facts:
    values behind ``saw``, for programs.
    """
    check = CATALOGUE[name]
    return {
        "id": name,
        "row": check.row,
        "check": check.title,
        "host": host,
        "ok": bool(ok),
        "applicable": applicable,
        "compared": compared,
        "saw": saw,
        "wanted": wanted or check.wanted,
        "remedy": "" if ok else remedy or check.remedy,
        "facts": dict(facts or {}),
    }


class Gathering:
    """The results of one host. A check that raises an error is red; the others are still made."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.results: list[dict[str, Any]] = []

    def add(self, name: str, ok: bool, saw: str, **other: Any) -> None:
        """Add one result; for ``other`` see ``result``."""
        self.results.append(result(name, self.host, ok, saw, **other))

    def skip(self, name: str, why: str, **other: Any) -> None:
        """Add a check that is not applicable here."""
        self.results.append(result(name, self.host, True, why, applicable=False, **other))

    def attempt(self, names: str | tuple[str, ...], function: Callable[[], Any]) -> Any:
        """Call a function that makes the checks ``names``.

        Returns what it returns. After an error those that it has not made are red, and None is
        returned.
        """
        wanted = (names,) if isinstance(names, str) else names
        try:
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
    return message if isinstance(error, AssertionError) else f"{type(error).__name__}: {message}"


def complete(
    found: Iterable[dict[str, Any]],
    hosts: dict[str, dict[str, Any]],
    unasked: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The results of all hosts in the catalogue's order; a check that was not made is red.

    hosts: name -> {role, trouble}; ``trouble`` says why a host has no results.
    unasked: name -> why it could not be asked at all. Its red checks, and those of others that
    could not be compared with it, have ``asked`` false: the remedy is given once for the host.
    """
    by_place = {(entry["id"], entry["host"]): entry for entry in found}
    results = []
    for name, check in CATALOGUE.items():
        for host, about in hosts.items():
            if about["role"] not in check.hosts:
                continue
            entry = by_place.get((name, host))
            if entry is None:
                why = unasked.get(host) or about.get("trouble")
                why = why or "the checks of this host ended before this one"
                entry = result(name, host, False, f"not checked: {why}", facts={"trouble": why})
            silent = host in unasked or (unasked and not entry["compared"])
            # The controller tries the ports of a host whether that could be asked or not.
            tried = name == "outside" and (name, host) in by_place
            results.append({**entry, "asked": bool(entry["ok"] or tried or not silent)})
    return sorted(results, key=lambda entry: int(entry["row"][1:]))


def closing(results: list[dict[str, Any]]) -> str:
    """The message where all checks hold."""
    made = sum(entry["applicable"] for entry in results)
    besides = f", {len(results) - made} not applicable" if made < len(results) else ""
    return f"all {made} checks hold{besides}"


def red_table(results: Iterable[dict[str, Any]]) -> str:
    """The red checks for people: what was seen, what was wanted, the remedy."""
    lines = []
    for entry in results:
        if not entry["ok"]:
            lines += [
                f"{entry['row']}  {entry['host']}  {entry['check']}",
                f"    saw:    {entry['saw']}",
                f"    wanted: {entry['wanted']}",
                f"    remedy: {entry['remedy']}",
                f"    id:     {entry['id']}",
            ]
    return "\n".join(lines)
