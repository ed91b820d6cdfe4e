"""Which methods of a bench's apps a reporting bench may answer: read from source, nothing imported.

``facts`` judges one source text and is also run by the bench's own Python where ours is too old to
parse an app, so it needs nothing but the standard library.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
DECORATORS = ("whitelist", "read_only")
OVERRIDES = "override_whitelisted_methods"

REPORTING, PRIMARY = "reporting", "primary"

# What a desk sends all day and carries no read_only. It stays on the primary until the operator
# adds it, for each call takes a little longer from a node (docs/read-path.md has the figures); a
# node's guard then runs it as if it were read_only.
SLOWER = (
    "built in: it only reads, but takes 3 to 4 ms longer from a node;"
    " router_report_methods can add it"
)
OFFERED = {
    "erpnext.accounts.party.get_party_details": SLOWER,
    "erpnext.stock.get_item_details.get_item_details": SLOWER,
    "frappe.desk.doctype.dashboard_chart.dashboard_chart.get": (
        "built in: it writes at each call, when it has read; router_report_methods can add it"
    ),
    "frappe.desk.doctype.number_card.number_card.get_percentage_difference": SLOWER,
    "frappe.desk.doctype.number_card.number_card.get_result": SLOWER,
    "frappe.desk.search.search_link": SLOWER,
    "frappe.desk.search.search_widget": SLOWER,
    "frappe.utils.global_search.search": SLOWER,
}

# Methods that only read although they carry no read_only themselves.
ADDED = {
    "frappe.desk.query_report.export_query": (
        "built in: all it does is to run frappe.desk.query_report.run, which is read_only"
    ),
}

# The desk's small calls, which a primary answers all day. They must never wait behind reports; and
# they show what was just saved, which a replica that nobody waits for may lack.
LIGHT = (
    "frappe.desk.desktop.get_desktop_page",
    "frappe.desk.notifications.get_notifications",
    "frappe.desk.notifications.get_open_count",
    "frappe.desk.reportview.get",
    "frappe.desk.reportview.get_count",
    "frappe.desk.reportview.get_list",
    "frappe.desk.reportview.get_sidebar_stats",
    "frappe.desk.reportview.get_stats",
    *OFFERED,
)

# Calls that write, or that must see the newest state; whatever decorators they carry.
WRITES = "built in: it writes"
STAYS = {
    "frappe.client.delete": WRITES,
    "frappe.client.insert": WRITES,
    "frappe.client.save": WRITES,
    "frappe.client.set_value": WRITES,
    "frappe.client.submit": WRITES,
    "frappe.core.doctype.prepared_report.prepared_report.enqueue_json_to_csv_conversion": WRITES,
    "frappe.core.doctype.prepared_report.prepared_report.make_prepared_report": WRITES,
    "frappe.desk.form.load.getdoc": "built in: a form must show the newest state",
    "frappe.desk.form.load.getdoctype": "built in: a form must show the newest state",
    "frappe.desk.form.save.savedocs": WRITES,
    "frappe.desk.query_report.background_enqueue_run": WRITES,
    "frappe.desk.query_report.save_report": WRITES,
    "frappe.desk.reportview.save_report": WRITES,
    "frappe.handler.login": "built in: it writes the session",
    "frappe.handler.logout": "built in: it writes the session",
    "frappe.handler.upload_file": "built in: it writes a file, and files are born on the primary",
}
DELETES = re.compile(r"(?:\w+\.)+delete_\w+")

# Never a place of an app's own Python code, and large.
SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})


class RoutesError(Exception):
    """The inventory asks for what cannot be; the message names value, variable and remedy."""


# --- one source text ---------------------------------------------------------------------------


def frappe_names(tree: ast.Module) -> tuple[set[str], dict[str, str]]:
    """Names that mean the package frappe here, and names that mean one of its decorators."""
    packages: set[str] = set()
    decorators: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import frappe.utils` binds frappe; `import frappe.utils as u` does not.
                if alias.name == "frappe" or (
                    alias.name.startswith("frappe.") and not alias.asname
                ):
                    packages.add(alias.asname or "frappe")
        elif isinstance(node, ast.ImportFrom) and node.module == "frappe" and not node.level:
            for alias in node.names:
                if alias.name in DECORATORS:
                    decorators[alias.asname or alias.name] = alias.name
    return packages, decorators


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module that run when it is imported, those in branches included."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body)


def bound_names(node: ast.stmt) -> list[str]:
    """Names that a statement binds, functions apart."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, (ast.ClassDef, ast.AsyncFunctionDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)]


def facts(source: str, *, of_frappe: bool = False) -> dict[str, Any]:
    """What a module's source says about its functions and overrides.

    ``of_frappe``: the source is the package frappe's own ``__init__``, where the decorators have
    bare names. Returns {names: {name: {line, whitelisted, read_only}}, overrides: {name: [target]},
    unclear: [line]}; a name that is bound more than once, or by anything but a plain function, has
    ``line`` alone. ``unclear`` are lines that change the overrides in a way that only running
    would tell. Raises SyntaxError or ValueError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    packages, decorators = frappe_names(tree)
    if of_frappe:
        decorators.update({name: name for name in DECORATORS})

    def meaning(decorator: ast.expr) -> str | None:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Name):
            return decorators.get(called.id)
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            return called.attr if called.value.id in packages else None
        return None

    names: dict[str, dict[str, Any]] = {}
    overrides: dict[str, list[str]] = {}
    unclear: list[int] = []
    for node in statements(tree.body):
        if isinstance(node, ast.FunctionDef):
            meanings = {meaning(decorator) for decorator in node.decorator_list}
            about: dict[str, Any] = {"line": node.lineno}
            if node.name not in names:
                about.update({kind: DECORATORS[n] in meanings for n, kind in enumerate(KINDS)})
            names[node.name] = about
            continue
        for name in bound_names(node):
            names[name] = {"line": node.lineno}
        if not read_overrides(node, overrides):
            unclear.append(node.lineno)
    return {"names": names, "overrides": overrides, "unclear": unclear}


KINDS = ("whitelisted", "read_only")


def read_overrides(node: ast.stmt, overrides: dict[str, list[str]]) -> bool:
    """Add what a statement says about overrides; False when it cannot be told without running."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == OVERRIDES:
                return add_overrides(node.value, overrides)
            if (
                isinstance(target, ast.Subscript)
                and isinstance(target.value, ast.Name)
                and target.value.id == OVERRIDES
            ):
                pair = ast.Dict(keys=[target.slice], values=[node.value])
                return add_overrides(pair, overrides)
        return True
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        if isinstance(node.target, ast.Name) and node.target.id == OVERRIDES:
            return add_overrides(node.value, overrides)
        return True
    if isinstance(node, (ast.Expr, ast.AugAssign)):
        return not any(isinstance(n, ast.Name) and n.id == OVERRIDES for n in ast.walk(node))
    return True


def add_overrides(value: ast.expr, overrides: dict[str, list[str]]) -> bool:
    """Add a literal dictionary's entries; False when some of it is no literal."""
    if not isinstance(value, ast.Dict):
        return False
    clear = True
    for key, target in zip(value.keys, value.values, strict=True):
        found = target.elts if isinstance(target, (ast.List, ast.Tuple)) else [target]
        texts = [n.value if isinstance(n, ast.Constant) else None for n in found]
        name = key.value if isinstance(key, ast.Constant) else None
        if isinstance(name, str) and texts and all(isinstance(text, str) for text in texts):
            overrides.setdefault(name, []).extend(str(text) for text in texts)
        else:
            clear = False
    return clear


# --- the apps of a bench -----------------------------------------------------------------------

Reader = Callable[[str, bool], dict[str, Any]]


def read_facts(path: str, of_frappe: bool) -> dict[str, Any]:
    """Facts of one file; SyntaxError, ValueError or OSError when it cannot be read."""
    # Not at the top: the bench's own Python has none of our other modules.
    from .foreign import read_bytes

    return facts(read_bytes(path).decode("utf-8-sig"), of_frappe=of_frappe)


class Apps:
    """The source of a bench's apps, read where something asks for it.

    ``reader`` gives a file's facts, and is asked once for each. ``troubles`` are the files that it
    cannot read and the lines that cannot be understood: {place: what it means}.
    """

    def __init__(self, bench: str, reader: Reader = read_facts) -> None:
        self.bench = bench
        self.reader = reader
        self.cache: dict[str, dict[str, Any]] = {}
        self.troubles: dict[str, str] = {}
        self.names = app_names(bench)

    def folder(self, app: str) -> str:
        """The folder of an app's package."""
        return f"{self.bench}/apps/{app}/{app}"

    def facts(self, path: str) -> dict[str, Any]:
        """Facts of one file, empty ones when it cannot be read."""
        if path not in self.cache:
            found: dict[str, Any] = {"names": {}, "overrides": {}, "unclear": []}
            try:
                found = self.reader(path, path == f"{self.folder('frappe')}/__init__.py")
            except FileNotFoundError:
                pass
            except (SyntaxError, ValueError, RecursionError, OSError) as error:
                why = " ".join(str(error).split()) or type(error).__name__
                self.troubles[path] = f"{why}; its methods stay on the primary"
            self.cache[path] = found
        return self.cache[path]

    def where(self, path: str, line: int) -> str:
        """A place in an app, from the bench's folder of apps on."""
        return f"{os.path.relpath(path, self.bench + '/apps')}:{line}"

    def decorated(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Every whitelisted read_only function: (dotted name, facts, place)."""
        for app in self.names:
            root = self.folder(app)
            for path in python_files(root):
                if not mentions_both(path):
                    continue
                module = module_name(app, root, path)
                for name, about in self.facts(path)["names"].items():
                    if about.get("whitelisted") and about.get("read_only"):
                        yield f"{module}.{name}", about, self.where(path, about["line"])

    def find(self, method: str) -> tuple[dict[str, Any], str] | None:
        """A name at the top of a module, by its dotted name: (facts, place); None without it."""
        module, _, name = method.rpartition(".")
        app, *rest = module.split(".")
        if app not in self.names:
            return None
        stem = "/".join([self.folder(app), *rest])
        for path in (f"{stem}/__init__.py", f"{stem}.py"):
            about = self.facts(path)["names"].get(name)
            if about is not None:
                return about, self.where(path, about["line"])
        return None

    def overrides(self) -> dict[str, list[tuple[str, str]]]:
        """What apps put in a method's place: {method: [(app, replacement)]}."""
        found: dict[str, list[tuple[str, str]]] = {}
        for app in self.names:
            path = f"{self.folder(app)}/hooks.py"
            about = self.facts(path)
            for line in about["unclear"]:
                self.troubles[f"{path}:{line}"] = (
                    f"changes {OVERRIDES} in a way that only running it would tell; a method"
                    " that it replaces by one that writes belongs in router_primary_methods"
                )
            for method, targets in about["overrides"].items():
                found.setdefault(method, []).append((app, targets[-1]))
        return found


def app_names(bench: str) -> list[str]:
    """The apps in a bench's folder that are packages, sorted, frappe first."""
    try:
        names = os.listdir(f"{bench}/apps")
    except OSError:
        return []
    packages = [n for n in names if os.path.isfile(f"{bench}/apps/{n}/{n}/__init__.py")]
    return sorted(packages, key=lambda name: (name != "frappe", name))


def python_files(root: str) -> Iterator[str]:
    """Python files that can be imported by a dotted name, in a steady order."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name.isidentifier() and name not in SKIPPED_FOLDERS
        )
        for name in sorted(files):
            path = f"{folder}/{name}"
            # A pipe, say, would be waited for without end.
            if name.endswith(".py") and name[:-3].isidentifier() and os.path.isfile(path):
                yield path


def mentions_both(path: str) -> bool:
    """Whether a file's text holds both decorators' names: most files are not parsed."""
    from .foreign import read_bytes

    try:
        text = read_bytes(path)
    except OSError:
        return False
    return all(word.encode() in text for word in DECORATORS)


def module_name(app: str, root: str, path: str) -> str:
    """Dotted name of the module in a file of an app's package."""
    parts = os.path.relpath(path, root)[:-3].split(os.sep)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join([app, *parts])


# --- routes ------------------------------------------------------------------------------------


def stays(method: str) -> str | None:
    """Why a method must never leave the primary, None when nothing says so."""
    if method in STAYS:
        return STAYS[method]
    return "built in: it deletes" if DELETES.fullmatch(method) else None


def check_lists(added: Iterable[str], taken: Iterable[str]) -> None:
    """Judge the inventory's two lists by themselves. Raises RoutesError."""
    both = {"router_report_methods": list(added), "router_primary_methods": list(taken)}
    for variable, methods in both.items():
        for method in methods:
            if not METHOD.fullmatch(str(method)):
                raise RoutesError(
                    f"{variable}: {method!r} is not the dotted name of a method such as"
                    " frappe.desk.query_report.run; correct it in the inventory"
                )
    for method in both["router_report_methods"]:
        if why := stays(method):
            raise RoutesError(
                f"router_report_methods: {method!r} has to stay on the primary"
                f" ({why.removeprefix('built in: ')}); take it out of the list"
            )
        if method in both["router_primary_methods"]:
            raise RoutesError(
                f"{method!r} is in router_report_methods and in router_primary_methods; take it out"
                " of one of them"
            )


def routes(
    apps: Apps,
    added: Iterable[str] = (),
    taken: Iterable[str] = (),
    *,
    guard: bool = True,
    everywhere: Iterable[str] = ("frappe",),
) -> tuple[list[dict[str, Any]], list[str]]:
    """Where each method goes that is read_only, or about which there is something to say.

    ``added`` and ``taken`` are router_report_methods and router_primary_methods, ``guard`` whether
    the reporting benches wait for their replicas, ``everywhere`` the apps that every site has.
    Returns routes {method, bench, why, where, light}, sorted by method, and warnings. ``light``
    ones go to a reporting bench only as long as it has nothing better to do.
    Raises RoutesError for what the inventory asks for and cannot be.
    """
    added, taken = list(added), list(taken)
    check_lists(added, taken)
    notes: list[str] = []
    found: dict[str, dict[str, Any]] = {}

    def put(method: str, bench: str, why: str, where: str) -> None:
        light = guard and bench == REPORTING and method in LIGHT
        found[method] = {
            "method": method,
            "bench": bench,
            "why": why,
            "where": where,
            "light": light,
        }

    for method, _, place in apps.decorated():
        put(method, REPORTING, "read_only by its decorator", place)
    for method, why in ADDED.items():
        at = apps.find(method)
        if at and at[0].get("whitelisted"):
            put(method, REPORTING, why, at[1])
    for method, why in OFFERED.items():
        at = None if method in found else apps.find(method)
        if at and at[0].get("whitelisted"):
            put(method, PRIMARY, why, at[1])
    for method, replacements in apps.overrides().items():
        judge_override(apps, found, put, method, replacements, set(everywhere))
    for method in {*found, *STAYS}:
        at = apps.find(method) if stays(method) else None
        if at and (method in found or at[0].get("whitelisted")):
            put(method, PRIMARY, str(stays(method)), at[1])
    if not guard:
        for method in LIGHT:
            if found.get(method, {}).get("bench") == REPORTING:
                why = "it shows what was just saved, and fleet_read_guard is off"
                put(method, PRIMARY, why, found[method]["where"])
    for method in added:
        at = apps.find(method)
        if at is None or at[0].get("whitelisted") is False:
            raise RoutesError(
                f"router_report_methods: no app of the bench ({', '.join(apps.names)}) has a"
                f" whitelisted method {method!r}; correct the name in the inventory, or take it out"
            )
        if not guard and method in LIGHT and method not in OFFERED:
            notes.append(
                f"router_report_methods sends {method} to the reporting benches although"
                " fleet_read_guard is off: lists may lack what their user just saved"
            )
        put(method, REPORTING, "the inventory says so: router_report_methods", at[1])
    for method in taken:
        at = apps.find(method)
        if at is None:
            notes.append(
                f"router_primary_methods: no app of the bench has a method {method!r}; is the name"
                " right?"
            )
        put(method, PRIMARY, "the inventory says so: router_primary_methods", at[1] if at else "")
    notes += [f"{place}: {why}" for place, why in apps.troubles.items()]
    return [found[method] for method in sorted(found)], notes


def judge_override(
    apps: Apps,
    found: Mapping[str, dict[str, Any]],
    put: Callable[[str, str, str, str], None],
    method: str,
    replacements: list[tuple[str, str]],
    everywhere: set[str],
) -> None:
    """Route a method that apps replace by what runs in its place, on every site.

    Which of several replacements runs depends on the site's apps, and so does whether one runs at
    all: any that is not read_only keeps the method on the primary.
    """
    original = found.get(method, {}).get("bench") == REPORTING
    if not original and not any(app in everywhere for app, _ in replacements):
        return
    place = ""
    for app, target in replacements:
        at = apps.find(target) if METHOD.fullmatch(target) else None
        reads = bool(at and at[0].get("read_only") and at[0].get("whitelisted"))
        if not reads and target not in ADDED:
            if original:
                where = apps.where(f"{apps.folder(app)}/hooks.py", 1).rpartition(":")[0]
                why = f"app {app} replaces it by {target}, which is not read_only"
                put(method, PRIMARY, why, at[1] if at else where)
            return
        place = at[1] if at else ""
    names = ", ".join(dict.fromkeys(target for _, target in replacements))
    put(method, REPORTING, f"replaced by {names}: read_only by its decorator", place)


def foreign_main() -> None:
    """Print the facts of the file in argv, for a caller whose own Python cannot parse it."""
    path, of_frappe = sys.argv[-2], sys.argv[-1] == "frappe"
    with open(path, "rb") as source:
        print(json.dumps(facts(source.read().decode("utf-8-sig"), of_frappe=of_frappe)))
