"""What operators may set of a bench's programs: their variables, and options of gunicorn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# What a variable's value cannot hold in supervisor's files, and why.
UNWRITABLE = (
    (r"[\r\n\0]", "a line break"),
    (r"\".*'|'.*\"", "both kinds of quotes"),
    (r"^[\"']|[\"']$", "a quote at its beginning or end"),
    (r"\s[;#]", "a blank before ; or #, where supervisor begins a remark"),
)
# Options of gunicorn that other settings have, or that the fleet needs as they are.
TAKEN = re.compile(r"(-[bwcD]\S*|--(bind|workers|config|daemon|preload|pythonpath)(=.*)?)")


def program_troubles(environment: Any, arguments: Any) -> list[tuple[str, str]]:
    """What is wrong with bench_environment and bench_web_arguments, and the remedy: pairs of text.

    No value of a variable is in it.
    """
    found: list[tuple[str, str]] = []
    if not isinstance(environment, Mapping):
        found.append(("bench_environment is no map", 'write {NAME: "value"}'))
        environment = {}
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or str(name).startswith("BENCHFLEET_"):
            found.append(
                (
                    f"bench_environment has the name {name!r}",
                    "a name has letters, digits and _ alone; those that begin with BENCHFLEET_ are"
                    " the fleet's",
                )
            )
        if isinstance(value, (Mapping, list)) or value is None:
            found.append((f"bench_environment has no text for {name}", "write a text"))
            continue
        found += [
            (
                f"the value of {name} in bench_environment has {what}",
                "supervisor's files cannot hold it: give the program a file to read it from",
            )
            for pattern, what in UNWRITABLE
            if re.search(pattern, str(value))
        ][:1]
    words = str(arguments).split()
    if taken := [word for word in words if TAKEN.fullmatch(word)]:
        found.append(
            (
                f"bench_web_arguments has {' '.join(taken)}",
                "the fleet sets it: bench_web_workers is the number of workers",
            )
        )
    if re.search(r"[\r\n]|\s[;#]", str(arguments)) or (words and not words[0].startswith("-")):
        found.append(
            (
                "bench_web_arguments are no options of gunicorn",
                'write such as "-k gthread --threads 8"',
            )
        )
    return found


def environment_text(environment: Mapping[str, Any]) -> str:
    """Variables as supervisor's option ``environment`` has them."""
    parts = []
    for name, value in environment.items():
        text = str(value).replace("%", "%%")
        quote = "'" if '"' in text else '"'
        parts.append(f"{name}={quote}{text}{quote}")
    return ",".join(parts)
