"""Each default is written in one place, and who needs it reads it there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from filter_plugins import agreement

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
LINKS = ROLES / "fleet/defaults/main"
DEFAULTS = agreement.role_defaults()
NAMES = "|".join(sorted(DEFAULTS, key=len, reverse=True))
# A variable of ours with a default of its own.
AGAIN = re.compile(rf"(?P<of>[\w\]]\.)?\b(?:{NAMES})\s*\|\s*(?:default|d)\((?P<value>[^)]*)\)")
FETCHED = re.compile(rf"""\.get\(["'](?:{NAMES})["'],""")
PATHS = sorted({str(value) for value in DEFAULTS.values() if re.fullmatch(r"/[\w/-]+", str(value))})
PORTS = sorted(
    str(DEFAULTS[name]) for name in DEFAULTS if name.endswith("_port") and "{" not in name
)
# Of fleet_ssh_port's default nobody can tell whether a 22 means it.
NUMBERS = re.compile(rf"\b(?:{'|'.join(port for port in PORTS if port != '22')})\b")
# MariaDB's own port: what its files and Frappe's mean where they name none.
OTHERS = {("filter_plugins/adoption.py", "3306"), ("module_utils/verify_checks.py", "3306")}


def code() -> Iterator[Path]:
    """Everything that reads variables or runs on hosts."""
    parts = ("tasks", "handlers", "vars", "templates", "files")
    folders = [role / part for role in sorted(ROLES.iterdir()) for part in parts]
    folders += [ROOT / name for name in ("playbooks", "filter_plugins", "library", "module_utils")]
    folders += [ROOT / "plugins", ROOT / "inventory/lab"]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield path


def lines() -> Iterator[tuple[str, int, str]]:
    """The lines of the code, with their places."""
    for path in code():
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            yield str(path.relative_to(ROOT)), number, line


def test_role_fleet_has_the_defaults_of_every_role() -> None:
    roles = {path.parents[1].name for path in ROLES.glob("*/defaults/main.yml")}
    assert {path.stem for path in LINKS.iterdir()} == roles | {"fleet"}
    for link in LINKS.iterdir():
        if link.stem != "fleet":
            assert link.resolve() == ROLES / link.stem / "defaults/main.yml"
            assert link.is_symlink()
    assert not (ROLES / "fleet/defaults/main.yml").exists(), "it would hide the folder"


def test_no_default_is_given_again() -> None:
    found = []
    for path, number, line in lines():
        for match in AGAIN.finditer(line):
            # What the inventory says, without any default.
            if match["of"] and match["value"] == "''":
                continue
            found.append(f"{path}:{number}: {match[0]}")
        found += [f"{path}:{number}: {match[0]}" for match in FETCHED.finditer(line)]
    assert found == []


@pytest.mark.parametrize("value", PATHS)
def test_no_path_of_a_default_stands_elsewhere(value: str) -> None:
    found = [
        f"{path}:{number}"
        for path, number, line in lines()
        if re.search(rf"(?<![\w/]){re.escape(value)}(?![\w-])", line)
    ]
    assert found == []


def test_no_port_of_a_default_stands_elsewhere() -> None:
    assert len(PORTS) == 8
    found = [
        f"{path}:{number}: {match[0]}"
        for path, number, line in lines()
        for match in NUMBERS.finditer(line)
        if (path, match[0]) not in OTHERS
    ]
    assert found == []
