"""Which releases a fleet is made of: what is recorded on its hosts wins over what is new here.

Of a host this reads bench_dir, python (bench_python), asked_versions (the tools' variables as the
inventory has them, "" when unset), and of its survey mark, tools, pythons, env, code and adoption.

``code`` is {app: {python, node}}, or {app: {trouble}} where that is not known; it is judged by
fleet/bench/needs.py. Which Python and Node will do is in runtimes.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..bench import needs
from ..bench.apps import ADDRESS
from ..bench.files import without_password
from .hosts import is_ours
from .problems import Host, Problem, Settings, problem

Code = Mapping[str, Mapping[str, str]]

# The tools whose releases are pinned, and the variables that ask for one. Benches differ by what
# the bench CLI generates, so all hosts of a fleet have the same.
VARIABLES = {
    "bench_cli": "bench_cli_version",
    "uv": "bench_uv_version",
    "node": "bench_node_version",
    "yarn": "bench_yarn_version",
}


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


def versions_in_force(
    host: Host, primary: Host, release: Mapping[str, str], nodes: list[str], code: Code
) -> dict[str, str]:
    """The releases that a host is to have, {tool: release}.

    What the inventory asks for wins; then what is recorded on the primary, or installed there
    where a fleet is older than the records; a new fleet has those of ``release``. Of Node it is the
    first of these and of ``nodes`` that the code takes.
    """
    asked, survey = host["asked_versions"], (primary or {}).get("survey") or {}
    noted, there = survey.get("mark", {}).get("versions") or {}, survey.get("tools") or {}
    found = {
        tool: str(asked.get(tool) or noted.get(tool) or there.get(tool) or release[tool])
        for tool in VARIABLES
    }
    if not asked.get("node"):
        fit = needs.first_fit(told(code), "node", [found["node"], *nodes])
        found["node"] = fit or found["node"]
    return found


def version_problems(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Hosts of a fleet that only a newer Benchfleet knows."""
    newer = {
        host["name"]: mark["format"]
        for host in hosts
        if is_ours(host, settings)
        and (mark := host["survey"]["mark"])["format"] > int(settings["format"])
    }
    if newer:
        yield problem(
            f"{', '.join(newer)} {'has' if len(newer) == 1 else 'have'} fleet format "
            f"{max(newer.values())}, and this Benchfleet knows formats up to "
            f"{settings['format']}",
            f"fleet.json in fleet_config_dir on {', '.join(newer)}",
            "a newer Benchfleet was here: use that one, or a newer one still",
        )


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
    return [{**app, "repo": app["repo"] if ADDRESS.match(app["repo"]) else ""} for app in wanted]


def series(version: str) -> str:
    """First two numbers of a version."""
    return ".".join(str(version).split(".")[:2])


def told(code: Code) -> Code:
    """The apps of which it is known what they ask for."""
    return {app: asked for app, asked in code.items() if "trouble" not in asked}


def untold(code: Code) -> dict[str, str]:
    """The apps of which it is not known, and why."""
    return {app: asked["trouble"] for app, asked in code.items() if "trouble" in asked}


def is_code_known(code: Code) -> bool:
    """Whether it is known of all apps what they ask for."""
    return bool(code) and not untold(code)


def untold_problems(
    code: Code, apps: list[Mapping[str, str]], but: str = "no reason"
) -> Iterator[Problem]:
    """Apps of which it could not be found out what they ask for: nobody can get them.

    ``but`` is a reason that does not count.
    """
    wanted = {entry["name"]: entry for entry in apps}
    for app, why in untold(code).items():
        if app not in wanted or why == but:
            continue
        entry = wanted[app]
        at = entry.get("commit") or entry.get("branch") or "its default branch"
        repo = without_password(entry["repo"])
        yield problem(
            f"the code of {app} could not be read from {repo} at {at}: {why}",
            "bench_frappe_repo, bench_frappe_branch and bench_apps in the inventory",
            "name a repository, branch and commit that the bench's account can read on the primary",
        )


def runtime_warnings(code: Code) -> list[str]:
    """What the code says and cannot be judged, in words."""
    return [
        f"{app} asks for {text!r} ({needs.KEYS[kind]} in its {needs.FILES[kind]}), which Benchfleet"
        f" cannot read: check yourself that the {kind.capitalize()} of the benches fits"
        for app, kind, text in needs.unread(told(code))
    ]
