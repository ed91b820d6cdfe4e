"""Write the pages of docs/ that are made: from the code, and from what was measured.

.venv/bin/python -m benchfleet.references
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from string import Formatter
from types import ModuleType
from typing import Any

import yaml

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.doctor.causes import ALL as CAUSES
from fleet.preflight.problems import Kind
from fleet.status.troubles import OF_STATUS
from fleet.verify.catalogue import CATALOGUE, ROWS, TITLES, WITHOUT_CHECKS

from benchfleet import figures

ROOT = Path(__file__).resolve().parents[1]
ROLES = ROOT / "roles"
PACKAGE = ROOT / "module_utils/fleet"
WIDTH = 120
COMMAND = "python -m benchfleet.references"
MARK = f"<!-- Made from the code by `{COMMAND}`. Do not edit it by hand. -->"
# Programs whose names are not written with a capital letter.
PROGRAMS = ("apt", "cron", "git", "nginx", "ssh", "sshd", "sudo", "supervisor", "uv")
# Facts that are often empty and otherwise add to a sentence, such as "; did you mean X?".
ADDITIONS = ("hint", "more")
# In the order of site.yml. Roles that are not named here come last.
ORDER = (
    "preflight",
    "fleet",
    "firewall",
    "record",
    "mariadb",
    "mariadb_primary",
    "mariadb_seed_source",
    "mariadb_replica",
    "bench",
    "bench_primary",
    "redis",
    "jobs",
    "bench_processes",
    "bench_reporting",
    "site_accounts",
    "site_sync",
    "status",
    "read_guard",
    "adopt",
    "update",
    "switch",
    "router",
    "verify",
)
HEADS = {
    "Variables": "All variables that you can set in the inventory, by role; `group_vars/all.yml` is"
    " the usual place. Preflight checks names, types and bounds before anything is changed. A"
    " default with double braces is computed on each host.",
    "Problems": "All problems that Benchfleet reports before it changes a host. Each message shows"
    " an id: search for `id: ID` on this page. Words in capitals stand for what was found, such as"
    " a host or a path.",
    "Verify": "All checks of `./fleet verify`. S0 is what the others build on; S1 to S19 are the"
    " rows of the table in docs/design.md. Checks, and what `./fleet status` finds wrong, have an"
    " id: search for `id: ID` on this page. What a check writes (a row, a file, a ToDo, a job) it"
    " also removes.",
    "Benchmarks": "What runs of site.yml cost, by the number of reporting nodes, as"
    " `benchmarks/site_runs.py` measured it. A figure is the median of all runs, with the least and"
    " the most in brackets. The processor seconds and the memory are those of `ansible-playbook`"
    " with its workers.",
    "Doctor": "What `./fleet doctor` finds on a host, why it is so, and what mends it. Words in"
    " capitals stand for what was found. Commands without `./fleet` are for root on the host.",
}


# Texts


def wrapped(text: str, first: str = "", indent: str | None = None) -> list[str]:
    """A text as lines of at most WIDTH; short code stays on one line.

    first: what the first line begins with. indent: the same for the others, blanks by default.
    """
    kept = re.sub(
        r"`[^`]{1,80}`", lambda match: match[0].replace(" ", "\0"), " ".join(text.split())
    )
    lines = textwrap.wrap(
        kept,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first) if indent is None else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]


def escaped(text: str) -> str:
    """A text without what Markdown would read as markup, but for backquotes."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if at % 2 else re.sub(r"([*<\[])", r"\\\1", part) for at, part in enumerate(parts)
    )


def page(title: str, lines: Iterable[str]) -> str:
    """A page with its head."""
    return "\n".join([MARK, f"# {title}", "", *wrapped(HEADS[title]), *lines]) + "\n"


def sentence(text: str) -> str:
    """A text that begins with a capital letter and ends with a full stop.

    A first word that is a name, such as apps/frappe, fleet_sites or ssh, stays as it is.
    """
    word = text.split(maxsplit=1)[0]
    is_name = word in PROGRAMS or not re.fullmatch(r"[a-z]+[,;:]?", word)
    begin = text[:1] if is_name else text[:1].upper()
    return begin + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


# docs/variables.md


def marked_up(text: str) -> str:
    """A description of Ansible's, C(word) as `word`."""
    return re.sub(r"\b[CIBVO]\((.*?)\)", r"`\1`", text)


def description(option: Mapping[str, Any]) -> str:
    """The description of an option as one text."""
    text = option["description"]
    return " ".join(marked_up(part) for part in ([text] if isinstance(text, str) else text))


def typed(option: Mapping[str, Any]) -> str:
    """The type of an option, with that of its elements."""
    kind = "any" if option.get("type") == "raw" else str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if "elements" in option else kind


def value(default: Any) -> str:
    """A default as it can be written in the inventory."""
    text = (
        default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)
    )
    return " ".join(text.split())


def facts(option: Mapping[str, Any], default: str) -> str:
    """Type, choices and default of an option."""
    choices = option.get("choices") or []
    parts = [
        typed(option),
        "one of " + ", ".join(f"`{value(one)}`" for one in choices) if choices else "",
        "required" if option.get("required") else default,
    ]
    return "; ".join(filter(None, parts))


def variable(
    name: str, option: Mapping[str, Any], defaults: Mapping[str, Any], indent: str = ""
) -> list[str]:
    """An option as an entry of a list, with its keys where it is a dictionary or a list of them."""
    default = f"default `{value(defaults[name])}`" if name in defaults else ""
    text = f"`{name}` ({facts(option, default)}): {escaped(description(option))}"
    lines = wrapped(text, f"{indent}- ", f"{indent}  ")
    for key, inner in (option.get("options") or {}).items():
        own = {key: inner["default"]} if "default" in inner else {}
        lines += variable(key, inner, own, f"{indent}  ")
    return lines


def yaml_of(path: Path) -> dict[str, Any]:
    """A YAML file; nothing where there is none."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def roles() -> list[str]:
    """The roles in the order of the page."""
    names = {path.parents[1].name for path in ROLES.glob("*/meta/argument_specs.yml")}
    return [*(name for name in ORDER if name in names), *sorted(names - {*ORDER})]


def variables_page() -> str:
    """docs/variables.md."""
    lines: list[str] = []
    shown: set[str] = set()
    for role in roles():
        spec = yaml_of(ROLES / role / "meta/argument_specs.yml")["argument_specs"]["variables"]
        defaults = yaml_of(ROLES / role / "defaults/main.yml")
        for file in sorted((ROLES / role / "defaults/main").glob("*.yml")):
            # Role fleet links to the defaults of the others, too.
            defaults |= {} if file.is_symlink() else yaml_of(file)
        options = {
            name: option
            for name, option in (spec.get("options") or {}).items()
            if name not in shown
        }
        shown |= options.keys()
        if options:
            lines += ["", f"## Role {role}", ""]
        for name, option in options.items():
            lines += variable(name, option, defaults)
    return page("Variables", lines)


# docs/problems.md


def modules_with_kinds() -> Iterator[ModuleType]:
    """Every module that defines kinds of problems, preflight's first."""
    found = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"(?<!class )\bKind\(", path.read_text(encoding="utf-8"))
    ]
    for path in sorted(found, key=lambda path: (path.parent.name != "preflight", path)):
        yield importlib.import_module(
            ".".join(("fleet", *path.relative_to(PACKAGE).with_suffix("").parts))
        )


def assigned(module: ModuleType) -> Iterator[Any]:
    """The values of the names that a module assigns at its top level, in its order."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                yield getattr(module, target.id, None)


def kinds_in(found: Any) -> Iterator[Kind]:
    """The kinds in a value: itself, or the parts of a collection."""
    if isinstance(found, Kind):
        yield found
    elif isinstance(found, Mapping):
        yield from kinds_in(list(found.values()))
    elif isinstance(found, list | tuple):
        for part in found:
            yield from kinds_in(part)


def kinds() -> dict[ModuleType, list[Kind]]:
    """All kinds of problems by their module. Raises ValueError for an id that two kinds have."""
    found: dict[ModuleType, list[Kind]] = {}
    known: dict[str, Kind] = {}
    for module in modules_with_kinds():
        for kind in kinds_in(list(assigned(module))):
            if known.get(kind.id) is kind:
                continue
            if kind.id in known:
                raise ValueError(
                    f"two kinds of problems have the id {kind.id}; one is in {module.__name__}"
                )
            known[kind.id] = kind
            found.setdefault(module, []).append(kind)
    return found


def readable(text: str) -> str:
    """A text of a kind with its facts in capitals: {host} as HOST, and without ADDITIONS."""
    parts = []
    for literal, field, _, _ in Formatter().parse(text):
        parts.append(literal)
        if field is not None and field not in ADDITIONS:
            parts.append(re.split(r"[.\[]", field)[0].upper())
    return escaped("".join(parts))


def heading(module: ModuleType) -> str:
    """The first line of a module's docstring, without its full stop."""
    text = (module.__doc__ or module.__name__).strip().splitlines()[0].rstrip(".")
    if module.__name__.startswith("fleet.adoption."):
        begin = text[:1].lower() if re.match(r"[A-Z]?[a-z]*\b", text) else text[:1]
        text = f"Adoption: {begin}{text[1:]}"
    return escaped(text)


def problems_page() -> str:
    """docs/problems.md."""
    lines: list[str] = []
    for module, found in kinds().items():
        lines += ["", *wrapped(heading(module), "## ")[:1]]
        for kind in found:
            lines += ["", f"### id: {kind.id}", "", *wrapped(sentence(readable(kind.what)))]
            lines += ["", *wrapped(readable(kind.place), "- place: ", "  ")]
            lines += wrapped(readable(kind.remedy), "- remedy: ", "  ")
    return page("Problems", lines)


# docs/verify.md


def needed(names: Iterable[str]) -> str:
    """Ids of checks for people; those of the primary are marked."""
    return ", ".join(
        f"{name.rpartition(':')[2]} of the {name.partition(':')[0]}" if ":" in name else name
        for name in names
    )


def verify_page() -> str:
    """docs/verify.md."""
    lines: list[str] = []
    for row, promise in ROWS.items():
        lines += ["", f"## {row}: {TITLES[row]}", "", *wrapped(escaped(promise))]
        if row in WITHOUT_CHECKS:
            lines += ["", *wrapped(WITHOUT_CHECKS[row])]
        for name, check in CATALOGUE.items():
            if check.row != row:
                continue
            hosts = "all" if len(check.hosts) > 1 else " and ".join(check.hosts)
            lines += ["", f"### id: {name}", "", *wrapped(sentence(escaped(check.title))), ""]
            for title, text in (
                ("hosts", hosts),
                ("what is done", check.done),
                ("green", check.wanted),
                ("red means", check.red),
                ("remedy", check.remedy),
                ("remedy where the cause was proved", check.cure),
                ("needs", needed(check.needs)),
                ("a failure counts as that of", needed(check.follows)),
            ):
                lines += [] if not text else wrapped(escaped(text), f"- {title}: ", "  ")
    lines += ["", "## More ids of ./fleet status"]
    for name, meaning in OF_STATUS.items():
        lines += ["", f"### id: {name}", "", *wrapped(escaped(meaning))]
    return page("Verify", lines)


# docs/doctor.md


def doctor_page() -> str:
    """docs/doctor.md."""
    lines: list[str] = []
    for cause in CAUSES:
        lines += ["", f"## id: {cause.id}", "", *wrapped(sentence(readable(cause.title)))]
        lines += ["", *wrapped(readable(cause.explanation)), ""]
        for line in cause.cure:
            place, sign, rest = line.rpartition("primary: ")
            text = f"`{readable_code(rest)}`" + ", on the primary" * bool(sign and not place)
            lines += wrapped(text, "- ", "  ")
        if cause.destroys:
            lines += wrapped(f"this destroys {readable(cause.destroys)}", "- ", "  ")
        if cause.fixes:
            lines += wrapped("`--fix` does the first of these, which is safe", "- ", "  ")
        if cause.follows:
            lines += wrapped(f"may follow from: {', '.join(cause.follows)}", "- ", "  ")
        named = ", ".join(cause.troubles)
        lines += wrapped(f"`./fleet status` and `verify` say: {named}", "- ", "  ")
    return page("Doctor", lines)


# docs/benchmarks.md


def benchmarks_page() -> str:
    """docs/benchmarks.md."""
    return page("Benchmarks", figures.tables(figures.read()))


def readme_page() -> str:
    """README.md with its figures."""
    return figures.quoted((ROOT / "README.md").read_text(encoding="utf-8"), figures.read())


def readable_code(text: str) -> str:
    """A command of a cause with its facts in capitals."""
    return "".join(
        literal + (field or "").upper() for literal, field, _, _ in Formatter().parse(text)
    )


PAGES: dict[str, Callable[[], str]] = {
    "docs/variables.md": variables_page,
    "docs/problems.md": problems_page,
    "docs/verify.md": verify_page,
    "docs/doctor.md": doctor_page,
}
# Made once there are measurements.
if figures.FILE.exists():
    PAGES["docs/benchmarks.md"] = benchmarks_page
    PAGES["README.md"] = readme_page


def write(names: Iterable[str] = PAGES) -> list[str]:
    """Write pages that are not as the code has them; returns which."""
    changed = []
    for name in names:
        path, text = ROOT / name, PAGES[name]()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


if __name__ == "__main__":
    for name in write():
        print(f"{name} is written")
