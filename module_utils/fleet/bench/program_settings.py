"""Settings of a bench's programs that operators may choose: variables, and options of gunicorn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..preflight.problems import Kind, Problem

ENVIRONMENT = "bench_environment of {host} in the inventory"
ARGUMENTS = "bench_web_arguments of {host} in the inventory"
ENVIRONMENT_NO_MAP = Kind(
    "environment_no_map",
    "bench_environment is not a map",
    ENVIRONMENT,
    'write {{NAME: "value"}}',
)
NAME_REFUSED = Kind(
    "environment_name_refused",
    "bench_environment has the name {name!r}",
    ENVIRONMENT,
    "use letters, digits and _ in a name; names that begin with BENCHFLEET_ are the fleet's",
)
VALUE_NO_TEXT = Kind(
    "environment_value_no_text",
    "bench_environment has no text for {name}",
    ENVIRONMENT,
    "write the value in quotes",
)
VALUE_UNWRITABLE = Kind(
    "environment_value_unwritable",
    "the value of {name} in bench_environment has {flaw}",
    ENVIRONMENT,
    "supervisor's files cannot hold it: give the program a file to read it from",
)
ARGUMENTS_TAKEN = Kind(
    "web_arguments_taken",
    "bench_web_arguments has {options}",
    ARGUMENTS,
    "take them out: the fleet sets them (bench_web_workers is the number of workers)",
)
ARGUMENTS_MALFORMED = Kind(
    "web_arguments_malformed",
    "bench_web_arguments does not hold options of gunicorn alone",
    ARGUMENTS,
    'write options such as "-k gthread --threads 8"',
)
# What a variable's value cannot hold in supervisor's files.
FLAWS = (
    (r"[\r\n\0]", "a line break"),
    (r"\".*'|'.*\"", "both kinds of quotes"),
    (r"^[\"']|[\"']$", "a quote at its beginning or end"),
    (r"\s[;#]", "a blank before ; or #, where supervisor begins a comment"),
)
# Options of gunicorn that other settings have, or that the fleet needs as they are.
TAKEN = re.compile(r"(-[bwcD]\S*|--(bind|workers|config|daemon|preload|pythonpath)(=.*)?)")


def program_problems(environment: Any, arguments: Any, host: str) -> Iterator[Problem]:
    """Problems of a host's bench_environment and bench_web_arguments, without any value."""
    if not isinstance(environment, Mapping):
        yield ENVIRONMENT_NO_MAP.found(host=host)
        environment = {}
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or str(name).startswith("BENCHFLEET_"):
            yield NAME_REFUSED.found(host=host, name=name)
        if isinstance(value, (Mapping, list)) or value is None:
            yield VALUE_NO_TEXT.found(host=host, name=name)
            continue
        flaws = [flaw for pattern, flaw in FLAWS if re.search(pattern, str(value))]
        if flaws:
            yield VALUE_UNWRITABLE.found(host=host, name=name, flaw=flaws[0])
    options = str(arguments).split()
    if taken := [option for option in options if TAKEN.fullmatch(option)]:
        yield ARGUMENTS_TAKEN.found(host=host, options=" ".join(taken))
    if re.search(r"[\r\n]|\s[;#]", str(arguments)) or (options and options[0][0] != "-"):
        yield ARGUMENTS_MALFORMED.found(host=host)


def environment_text(environment: Mapping[str, Any]) -> str:
    """Variables in the form of supervisor's option ``environment``."""
    parts = []
    for name, value in environment.items():
        text = str(value).replace("%", "%%")
        quote = "'" if '"' in text else '"'
        parts.append(f"{name}={quote}{text}{quote}")
    return ",".join(parts)
