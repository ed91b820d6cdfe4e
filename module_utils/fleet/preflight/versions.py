"""Releases of the tools of a fleet: what is recorded on its hosts wins over this Benchfleet's own.

Of a host this reads bench_dir, python (bench_python), asked_versions (the tools' variables as the
inventory has them, "" when unset), and of its survey mark, tools, pythons, env, code and adoption.

``code`` is {app: {python, node}}, or {app: {trouble}} where that is not known; it is judged by
fleet/bench/needs.py. runtimes.py chooses Python and Node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..bench import needs
from ..bench.apps import ADDRESS
from ..bench.code import NO_GIT
from ..bench.files import without_password
from .hosts import is_ours
from .problems import Host, Kind, Problem, Settings

Code = Mapping[str, Mapping[str, str]]

# Tools with pinned releases, and the variables that set them. All hosts of a fleet have the same
# releases, because different bench CLIs generate different benches.
VARIABLES = {
    "bench_cli": "bench_cli_version",
    "uv": "bench_uv_version",
    "node": "bench_node_version",
    "yarn": "bench_yarn_version",
}
FORMAT_NEWER = Kind(
    "fleet_format_newer",
    "{hosts}: the fleet format is {format}, and this Benchfleet knows formats up to {known}",
    "fleet.json in fleet_config_dir on {hosts}",
    "these hosts were last changed by a newer Benchfleet: use that release or a later one",
)
CODE_NOT_READ = Kind(
    "app_code_not_read",
    "the code of {app} could not be read from {repo} at {ref}: {trouble}",
    "bench_frappe_repo, bench_frappe_branch and bench_apps in the inventory",
    "name a repository, branch and commit that the bench's account can read on the primary",
)


def release_versions(roles_dir: str) -> dict[str, str]:
    """The releases of a new fleet, {tool: release}: the defaults of role bench."""
    text = Path(roles_dir, "bench/defaults/main.yml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    defaults[VARIABLES["node"]] = release_nodes(roles_dir)[0]
    return {tool: str(defaults[variable]) for tool, variable in VARIABLES.items()}


def release_nodes(roles_dir: str) -> list[str]:
    """The releases of Node that this Benchfleet has; a new fleet gets the first."""
    text = Path(roles_dir, "bench/vars/main.yml").read_text(encoding="utf-8")
    return [str(release) for release in yaml.safe_load(text)["__bench_nodes"]]


def versions_in_force(
    host: Host, primary: Host, release: Mapping[str, str], nodes: list[str], code: Code
) -> dict[str, str]:
    """The releases that a host is to have, {tool: release}.

    The inventory's wins. Else it is the one recorded on the primary, or installed there where a
    fleet is older than the records; a new fleet gets those of ``release``. Node is the first of
    these and of ``nodes`` that the code accepts.
    """
    asked, survey = host["asked_versions"], (primary or {}).get("survey") or {}
    recorded, there = survey.get("mark", {}).get("versions") or {}, survey.get("tools") or {}
    found = {
        tool: str(asked.get(tool) or recorded.get(tool) or there.get(tool) or release[tool])
        for tool in VARIABLES
    }
    if not asked.get("node"):
        fit = needs.first_fit(known_needs(code), "node", [found["node"], *nodes])
        found["node"] = fit or found["node"]
    return found


def version_problems(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Hosts whose fleet format is newer than this Benchfleet."""
    newer = {
        host["name"]: mark["format"]
        for host in hosts
        if is_ours(host, settings)
        and (mark := host["survey"]["mark"])["format"] > int(settings["format"])
    }
    if newer:
        yield FORMAT_NEWER.found(
            hosts=list(newer), format=max(newer.values()), known=int(settings["format"])
        )


def wanted_apps(frappe: Mapping[str, Any], apps: Any) -> list[dict[str, str]]:
    """The apps of a bench with their repositories; what is malformed is reported with the types.

    A repo that is a name alone, which the bench CLI looks up at GitHub, is "". Modules get
    repositories as secrets, and Ansible would strike the name out wherever the app is named.
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


def known_needs(code: Code) -> Code:
    """The apps whose needs are known."""
    return {app: asked for app, asked in code.items() if "trouble" not in asked}


def unread_code(code: Code) -> dict[str, str]:
    """The apps whose needs are not known, and why."""
    return {app: asked["trouble"] for app, asked in code.items() if "trouble" in asked}


def is_code_known(code: Code) -> bool:
    """Whether the needs of all apps are known."""
    return bool(code) and not unread_code(code)


def unread_code_problems(
    code: Code, apps: list[Mapping[str, str]], before_git: bool = False
) -> Iterator[Problem]:
    """Apps whose code could not be read, so that they cannot be installed either.

    before_git: the run installs git later where the primary has none, and reads them then.
    """
    wanted = {entry["name"]: entry for entry in apps}
    for app, trouble in unread_code(code).items():
        if app not in wanted or (before_git and trouble == NO_GIT):
            continue
        entry = wanted[app]
        yield CODE_NOT_READ.found(
            app=app,
            repo=without_password(entry["repo"]),
            ref=entry.get("commit") or entry.get("branch") or "its default branch",
            trouble=trouble,
        )


def runtime_warnings(code: Code) -> list[str]:
    """Needs of the code that cannot be judged, as messages."""
    return [
        f"{app} requires {text!r} ({needs.KEYS[kind]} in its {needs.FILES[kind]}), which Benchfleet"
        f" cannot read: check yourself that the {kind.capitalize()} of the benches fits"
        for app, kind, text in needs.unread(known_needs(code))
    ]
