"""Names of a bench's jobs, for the placement of jobs: read from source and databases.

A job is a function that can be queued by its dotted name, so every function at the top of an app's
module counts, and the methods of the sites' scheduled jobs, too (those of server scripts are not in
the source). Nothing is imported or parsed: the bench's Python may be newer than ours.
"""

from __future__ import annotations

import difflib
import glob
import itertools
import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from typing import Any

from ..foreign import read_bytes
from ..mariadb import server as mariadb
from ..routes import source
from ..sites.folders import own_account
from .config import common_config, config_of
from .queues import PREFIX, is_pattern

# Methods of a site's scheduled jobs.
SCHEDULED = "SELECT method FROM `tabScheduled Job Type`"
# Limits of what a module returns.
MOST_MATCHES = 2000
MOST_NEAR = 3

BRANCHES = r"^(?:if|elif|else|try|except|finally|with|for|while)\b"
DEFINED = re.compile(
    r"^(?:async[ \t]+)?def[ \t]+(\w+)|^class[ \t]+(\w+)|^[ \t]+(?:async[ \t]+)?def[ \t]+(\w+)|"
    + BRANCHES,
    re.M,
)
# A branch at the top of a module, and what is indented below it.
BRANCH = re.compile(BRANCHES + r"[^\n]*\n((?:(?:[ \t][^\n]*)?\n)+)", re.M)
IMPORTED = re.compile(r"^from[ \t]+\S+[ \t]+import[ \t]+(?:\(([^)]*)\)|([^\n]*))", re.M)


def read_text(path: str) -> str:
    """A source text, "" when it cannot be read."""
    try:
        return read_bytes(path).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def top_level(text: str) -> str:
    """A module's text, followed by the bodies of its branches, without their indentation."""
    parts = [text]
    for body in BRANCH.findall(text + "\n"):
        indent = re.search(r"^[ \t]+(?=\S)", body, re.M)
        if indent:
            parts.append(re.sub(rf"^{indent.group()}", "", body, flags=re.M))
    return "\n".join(parts)


def defined(text: str) -> tuple[set[str], set[str]]:
    """Functions at the top of a module, and methods of its classes as Class.method."""
    functions: set[str] = set()
    methods: set[str] = set()
    within = ""
    for function, cls, method in DEFINED.findall(text):
        if method:
            # Without a class it is inside a function, or in a branch, whose body follows below.
            methods.update([f"{within}.{method}"] if within else [])
        else:
            within = cls
            functions.update([function] if function else [])
    return functions, methods


def imported(text: str) -> set[str]:
    """Names that a module's ``from … import …`` lines bind, with "*" for ``import *``."""
    found = set()
    plain = re.sub(r"\\\n", " ", re.sub(r"#[^\n]*", "", text))
    for several, line in IMPORTED.findall(plain):
        found |= {part.split()[-1] for part in (several or line).split(",") if part.strip()}
    return found


def module_files(bench: str) -> Iterator[tuple[str, str]]:
    """Every module of the bench's apps: (dotted name, path)."""
    for app in source.app_names(bench):
        root = f"{bench}/apps/{app}/{app}"
        for path in source.python_files(root):
            yield source.module_name(app, root, path), path


def source_names(bench: str) -> tuple[set[str], set[str]]:
    """Dotted names of all functions of the bench's apps, and of all methods of their classes."""
    functions: set[str] = set()
    methods: set[str] = set()
    for module, path in module_files(bench):
        text = read_text(path)
        if "def " not in text:
            continue
        inside, of_classes = defined(top_level(text))
        functions.update(f"{module}.{name}" for name in inside)
        methods.update(f"{module}.{name}" for name in of_classes)
    return functions, methods


def is_bound(bench: str, job: str, functions: Iterable[str]) -> bool:
    """Whether a module of the bench's apps binds a name by an import or an assignment."""
    module, _, name = job.rpartition(".")
    app, *rest = module.split(".")
    if not name.isidentifier() or app not in source.app_names(bench):
        return False
    stem = "/".join([f"{bench}/apps/{app}/{app}", *rest])
    for path in (f"{stem}/__init__.py", f"{stem}.py"):
        text = top_level(read_text(path))
        names = imported(text)
        if name in names or re.search(rf"^{name}[ \t]*(?::[^=\n]*)?=(?!=)", text, re.M):
            return True
        # After an import of all names of a module, it may be any module's function of that name.
        if "*" in names and any(known.endswith(f".{name}") for known in functions):
            return True
    return False


def scheduled_names(bench: str) -> tuple[set[str], bool]:
    """Methods of the scheduled jobs in the sites' databases, and whether all could be read."""
    found: set[str] = set()
    complete = True
    paths = sorted(glob.glob(f"{glob.escape(bench)}/sites/*/site_config.json"))
    try:
        with mariadb.local() as server:
            for config in map(config_of, paths):
                if not (database := config.get("db_name")):
                    continue
                try:
                    with server.signed_in(*own_account(config), str(database)) as theirs:
                        rows = theirs.rows(SCHEDULED) if theirs else []
                        complete = complete and theirs is not None
                except Exception:  # for example a site that is being made
                    complete = False
                    continue
                found.update(str(row["method"]) for row in rows if row["method"])
    except (mariadb.MariaDBError, OSError):
        complete = False
    return found, complete


def custom_queues(bench: str) -> dict[str, Any]:
    """The queues that the bench's own `workers` setting names; not those of ours."""
    workers = common_config(bench).get("workers")
    items = workers.items() if isinstance(workers, dict) else ()
    return {name: settings for name, settings in items if not name.startswith(PREFIX)}


def look(bench: str, patterns: Iterable[str]) -> dict[str, Any]:
    """Which of the named jobs the bench has.

    known      whether a bench with apps is there; without one the rest is empty
    apps       the apps that are there
    scheduled  whether the sites' scheduled jobs could be read
    matches    {name or pattern: names of jobs}, sorted, of each the first 2000
    near       {name that is no job: up to 3 similar names of jobs}
    overlaps   [{entries: [two of the patterns], example, count}]: jobs that both match
    queues     {queue: settings} that common_site_config.json adds to Frappe's
    """
    patterns = list(dict.fromkeys(patterns))
    apps = source.app_names(bench)
    found: dict[str, Any] = {
        "known": bool(apps),
        "apps": apps,
        "scheduled": False,
        "matches": {},
        "near": {},
        "overlaps": [],
        "queues": custom_queues(bench),
    }
    if not (apps and patterns):
        return found
    functions, methods = source_names(bench)
    scheduled, found["scheduled"] = scheduled_names(bench)
    jobs = sorted(functions | scheduled)
    every = {*jobs, *methods}
    hits: dict[str, list[str]] = {}
    for pattern in patterns:
        if is_pattern(pattern):
            fits = re.compile(translate(pattern)).match
            hits[pattern] = [job for job in jobs if fits(job)] or sorted(filter(fits, methods))
        else:
            there = pattern in every or is_bound(bench, pattern, functions)
            hits[pattern] = [pattern] if there else []
            if not there:
                found["near"][pattern] = difflib.get_close_matches(pattern, jobs, MOST_NEAR, 0.75)
    for one, other in itertools.combinations(patterns, 2):
        both = sorted(set(hits[one]) & set(hits[other]))
        if both:
            found["overlaps"].append(
                {"entries": [one, other], "example": both[0], "count": len(both)}
            )
    found["matches"] = {pattern: names[:MOST_MATCHES] for pattern, names in hits.items()}
    return found
