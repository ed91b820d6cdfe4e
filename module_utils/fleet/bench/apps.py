"""What an app says of the Frappe and of the other apps that it needs, read from its files.

Pure functions that need nothing but Python. The texts are somebody else's: whatever cannot be read
says nothing.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Problem = dict[str, str]
Fits = Callable[[str, str], bool | None]
Read = Callable[[str], str | None]

# Of a repository: a URL, HOST:PATH, or a path. The bench CLI takes a name, too: hrms, frappe/hrms.
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|[^/\s]+:|[/.~]", re.IGNORECASE)
# A hooks.py is a page or two.
LONGEST = 200_000
NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
SPECIFIER = re.compile(r"[\w\s.,<>=!~*+-]{1,100}", re.ASCII)


def dependencies(pyproject: str) -> dict[str, str]:
    """``frappe-dependencies`` of a pyproject.toml: {app: version specifier}."""
    try:
        found: Any = tomllib.loads(pyproject)
        for key in ("tool", "bench", "frappe-dependencies"):
            found = found[key]
        said = {app: text for app, text in found.items() if isinstance(text, str)}
        return {app: text for app, text in said.items() if SPECIFIER.fullmatch(text)}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def version(package: str) -> str:
    """``__version__`` of an app's package, "" where it has none."""
    found = re.search(r"^__version__\s*=\s*[\"']([\w.+!-]{1,50})[\"']", package, re.M | re.A)
    return found.group(1) if found else ""


def required(hooks: str) -> list[str]:
    """Names of ``required_apps`` of a hooks.py. An entry may be ORGANISATION/NAME, or a URL."""
    try:
        body = ast.parse(hooks[:LONGEST]).body
        entries = [
            entry
            for statement in body
            if isinstance(statement, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "required_apps" for t in statement.targets)
            for entry in ast.literal_eval(statement.value)
        ]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []
    names = [re.split(r"[/:]", entry)[-1] for entry in entries if isinstance(entry, str)]
    names = [name.partition("@")[0].removesuffix(".git") for name in names]
    return [name for name in names if NAME.fullmatch(name)]


def says(app: str, read: Read, here: bool = False) -> dict[str, Any]:
    """What an app says: {version, frappe, requires, same_major, here}.

    ``read`` gives the text of a file of its repository, None without one. frappe is a version
    specifier. same_major: whether it installs on a Frappe of its own major version alone, as
    ERPNext does by a hook of that name. here: whether the app is on the bench.
    """
    hooks = read(f"{app}/hooks.py") or ""
    return {
        "version": version(read(f"{app}/__init__.py") or ""),
        "frappe": dependencies(read("pyproject.toml") or "").get("frappe", ""),
        "requires": required(hooks),
        "same_major": "check_frappe_version" in hooks,
        "here": here,
    }


# What a migration reads, beside patches.txt and hooks.py: the files of DocTypes, reports, fixtures,
# customizations and whatever else an app keeps in JSON. Of public/ only browsers read.
LISTS = ("patches.txt", "hooks.py", "modules.txt")
MIGRATION_HOOKS = {"before_migrate", "after_migrate"}


def migrates(app: str, changed: Iterable[str], hooks: str) -> list[str]:
    """Those of an app's changed files for which its sites need a migration; [] means none.

    changed: paths in its repository. hooks: its hooks.py. An app may have functions called at each
    migration, and they may use any code of it; what Frappe itself has there tidies up only.
    """
    called = app != "frappe" and bool(MIGRATION_HOOKS & assigned(hooks))
    return [
        path
        for path in changed
        if path.startswith(f"{app}/")
        and not path.startswith(f"{app}/public/")
        and (
            path.split("/")[-1] in LISTS
            or path.endswith(".json")
            or "/fixtures/" in path
            or (called and path.endswith(".py"))
        )
    ]


def assigned(python: str) -> set[str]:
    """The names that a module assigns to."""
    try:
        body = ast.parse(python[:LONGEST]).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Nobody can say, so everything is.
        return set(MIGRATION_HOOKS)
    targets = [
        t for statement in body if isinstance(statement, ast.Assign) for t in statement.targets
    ]
    return {target.id for target in targets if isinstance(target, ast.Name)}


# --- judgement ---------------------------------------------------------------------------------


def misfit(says: Mapping[str, Any], frappe: str, fits: Fits) -> str:
    """Why an app does not go with a version of Frappe, in words; "" when it may."""
    # Of a release to come its numbers alone are judged: 17.0.0-dev is as good as 17.0.0.
    asked = re.sub(r"(\d)-[\w.]+", r"\1", says.get("frappe", ""))
    if frappe and asked and fits(asked, frappe) is False:
        return f"asks for Frappe {says['frappe']}"
    version = says.get("version", "")
    if frappe and version and says.get("same_major"):
        same = frappe.split(".")[0] == version.split(".")[0]
        return "" if same else f"is {version}, and installs only on that major version of Frappe"
    return ""


def problems(
    code: Mapping[str, Mapping[str, Any]],
    wanted: Iterable[Mapping[str, Any]],
    sites: Any,
    fits: Fits,
) -> list[Problem]:
    """What is wrong with the apps that are to come, and with those that the sites are to have.

    code: what the apps say, those of the bench among them, which have ``here``: what runs already
    is not judged. wanted: the apps as the inventory has them, frappe first. fits: whether a version
    meets a specifier of the kind ``>=15.40.0,<16.0.0``.
    """
    wanted = list(wanted)
    known = [*dict.fromkeys(["frappe", *(app["name"] for app in wanted), *code])]
    frappe = code.get("frappe", {}).get("version", "")
    found = []
    for app in wanted:
        name, says = app["name"], code.get(app["name"], {})
        if says.get("here") or "trouble" in says:
            continue
        place = f"bench_apps in the inventory, entry {name}"
        found += [
            {
                "what": f"{name} needs the app {other}, which bench_apps does not name",
                "place": place,
                "remedy": f"add an entry for {other} to bench_apps, before {name}",
            }
            for other in says.get("requires", [])
            if other not in known
        ]
        if why := misfit(says, frappe, fits):
            found.append(
                {
                    "what": f"{name} {why}; Frappe is {frappe}",
                    "place": place,
                    "remedy": f"name a branch of {name} that goes with this Frappe, or another "
                    "bench_frappe_branch for a new bench",
                }
            )
    for site in sites if isinstance(sites, list) else []:
        apps = site.get("apps") if isinstance(site, Mapping) else None
        found += [
            {
                "what": f"the site {site.get('name')} is to have the app {app}, which bench_apps "
                "does not name",
                "place": "fleet_sites in the inventory",
                "remedy": f"add an entry for {app} to bench_apps, with its repository, or take it "
                f"out of the site's apps. Known are {', '.join(known)}",
            }
            for app in (apps if isinstance(apps, list) else [])
            if str(app) not in known
        ]
    return found
