"""Names that begin with ``__`` stay in the role or the playbook that they are named after."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
# What is used and not what a file, a lookup of Python's or a method is called.
INTERNAL = re.compile(r"(?<![\w/.])__[a-z]\w*(?<!__)\b")
KINDS = {".yml", ".j2"}
DEFINED = re.compile(
    r"^[ -]*(__\w+):|(?:register|loop_var): (__\w+)|\{%-? *(?:set|for) (__\w+)", re.MULTILINE
)


def internal_names(folder: Path) -> dict[str, str]:
    """Internal names in what Ansible reads of a folder, each with a file that has it."""
    return {
        name: str(path.relative_to(ROOT))
        for path in sorted(folder.rglob("*"))
        if path.suffix in KINDS and path.is_file()
        for name in INTERNAL.findall(path.read_text(encoding="utf-8"))
    }


ROLE_NAMES = {
    role.name: {
        name: file
        for part in ("defaults", "tasks", "handlers", "vars", "templates", "meta")
        for name, file in internal_names(role / part).items()
    }
    for role in sorted(ROLES.iterdir())
}


def test_a_role_uses_its_own_internal_names_alone() -> None:
    found = [
        f"{file}: {name}"
        for role, names in ROLE_NAMES.items()
        for name, file in names.items()
        if not name.startswith(f"__{role}_")
    ]
    assert found == []


def test_playbooks_and_tests_use_no_internal_name_of_a_role() -> None:
    of_roles = set().union(*ROLE_NAMES.values())
    found = [
        f"{file}: {name}"
        for folder in ("playbooks", "molecule", "inventory")
        for name, file in internal_names(ROOT / folder).items()
        if name in of_roles
    ]
    assert found == []


@pytest.mark.parametrize(
    "folder", [*sorted(ROLES.iterdir()), ROOT / "playbooks"], ids=lambda path: path.name
)
def test_every_internal_name_is_defined(folder: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.yml")]
    defined = {name for text in texts for found in DEFINED.findall(text) for name in found if name}
    used = internal_names(folder) if folder.name == "playbooks" else ROLE_NAMES[folder.name]
    assert [f"{file}: {name}" for name, file in used.items() if name not in defined] == []
