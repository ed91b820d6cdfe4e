"""Names that begin with ``__`` stay in the role or the playbook that they are named after."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
# What is used and not what a file, a lookup of Python's or a method is called.
INTERNAL = re.compile(r"(?<![\w/.])__[a-z]\w*(?<!__)\b")
KINDS = {".yml", ".j2"}


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
