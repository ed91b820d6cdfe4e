"""Results of checks: how a host's are gathered, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .catalogue import CATALOGUE


def result(
    name: str,
    host: str,
    ok: bool,
    saw: str,
    wanted: str | None = None,
    remedy: str | None = None,
    applicable: bool = True,
) -> dict[str, Any]:
    """One check's result as it is reported; what is not given is the catalogue's.

    applicable: whether there was anything to check on this host.
    """
    check = CATALOGUE[name]
    return {
        "id": name,
        "row": check.row,
        "check": check.title,
        "host": host,
        "ok": bool(ok),
        "applicable": applicable,
        "saw": saw,
        "wanted": wanted or check.wanted,
        "remedy": "" if ok else remedy or check.remedy,
    }


class Gathering:
    """Results of one host. A check that stumbles is red and says why; the next one is made."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.results: list[dict[str, Any]] = []

    def add(self, name: str, ok: bool, saw: str, **other: Any) -> None:
        """Note one result."""
        self.results.append(result(name, self.host, ok, saw, **other))

    def skip(self, name: str, why: str) -> None:
        """Note that a check is not applicable here."""
        self.results.append(result(name, self.host, True, why, applicable=False))

    def attempt(self, names: str | tuple[str, ...], function: Callable[[], Any]) -> Any:
        """Call what makes the checks ``names``; an error makes those of them red that are not made.

        Returns what the function returns, None after an error.
        """
        wanted = (names,) if isinstance(names, str) else names
        try:
            return function()
        except Exception as error:
            made = {entry["id"] for entry in self.results}
            for name in wanted:
                if name not in made:
                    self.add(name, False, in_words(error))
            return None


def in_words(error: BaseException) -> str:
    """An error as one line, with its kind where its own words alone say too little."""
    if len(error.args) > 1 and isinstance(error.args[0], int):
        return f"{error.args[1]} ({error.args[0]})"
    words = " ".join(str(error).split()) or "no message"
    return words if isinstance(error, AssertionError) else f"{type(error).__name__}: {words}"


def complete(
    found: Iterable[dict[str, Any]],
    hosts: dict[str, dict[str, Any]],
    unasked: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Results of all hosts in the catalogue's order; a check that was not made is red.

    hosts: name -> {role, trouble}; ``trouble`` says why a host gave no results.
    unasked: name -> why it could not be asked at all. Its red checks, and those of others that
    could not be compared with it, have ``asked`` false: what to do is said once for the host.
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
                entry = result(name, host, False, f"not checked: {why}")
            silent = host in unasked or (unasked and entry["saw"].startswith("not compared"))
            # The ports are tried from the controller, whether the host can be asked or not.
            tried = name == "outside" and (name, host) in by_place
            results.append({**entry, "asked": bool(entry["ok"] or tried or not silent)})
    return sorted(results, key=lambda entry: int(entry["row"][1:]))


def closing(results: list[dict[str, Any]]) -> str:
    """What is said when all checks hold."""
    made = sum(entry["applicable"] for entry in results)
    besides = f", {len(results) - made} not applicable" if made < len(results) else ""
    return f"all {made} checks hold{besides}"


def red_table(results: Iterable[dict[str, Any]]) -> str:
    """The red checks for people: what was seen, what was wanted, what to do."""
    lines = []
    for entry in results:
        if not entry["ok"]:
            lines += [
                f"{entry['row']}  {entry['host']}  {entry['check']}",
                f"    saw:    {entry['saw']}",
                f"    wanted: {entry['wanted']}",
                f"    remedy: {entry['remedy']}",
            ]
    return "\n".join(lines)
