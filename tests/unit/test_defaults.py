"""Each default is written in one place, and who needs it reads it there."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from filter_plugins import agreement

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
LINKS = ROLES / "fleet/defaults/main"
ROLE_NAMES = sorted(role.name for role in ROLES.iterdir())
DEFAULTS = agreement.role_defaults()
# A variable with a default of its own.
DEFAULT_OF = re.compile(
    r"(?P<of>[\w\]]\.)?\b(?P<name>[a-z]\w*+)[^\S\n]*+\|[^\S\n]*+(?:default|d)\((?P<value>[^)\n]*)\)"
)
FETCHED = re.compile(r"""\.get\(["'](?P<name>\w+)["'],""")
PATHS = sorted({str(value) for value in DEFAULTS.values() if re.fullmatch(r"/[\w/-]+", str(value))})
PORTS = sorted(
    str(DEFAULTS[name]) for name in DEFAULTS if name.endswith("_port") and "{" not in name
)
# Of fleet_ssh_port's default nobody can tell whether a 22 means it.
NUMBERS = re.compile(rf"\b(?:{'|'.join(port for port in PORTS if port != '22')})\b")
# MariaDB's own port: what its files and Frappe's mean where they name none.
OTHERS = {
    ("module_utils/fleet/adoption/database.py", "3306"),
    ("module_utils/fleet/verify/sites.py", "3306"),
}

ACCOUNTS = ("fleet_bench_user", "fleet_seed_user")
# What roles know of a host besides.
HOST: dict[str, Any] = {
    "inventory_hostname": "erp1",
    "group_names": ["primary", "bench_primary"],
    "groups": {"all": ["erp1"], "primary": ["erp1"], "bench_primary": ["erp1"], "redis": ["erp1"]},
    "fleet_hosts": {"erp1": {"lan_ip": "10.0.0.11", "ssh_key": "k"}},
    "fleet_lan_ip": "10.0.0.11",
    "fleet_primary": "erp1",
    "fleet_primary_ip": "10.0.0.11",
    "fleet_secrets": {"redis_password": "r", "fleet_id": "f", "sites": {}, "site_key": "s"},
    "fleet_memory_mb": 1024,
    "ansible_facts": {},
    "__preflight_facts": {"trouble": "", "away": False, "target": ""},
    "hostvars": {"erp1": {}},
}


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


@functools.cache
def texts() -> dict[str, str]:
    """The code's files, by their paths."""
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in code()}


def found_in_code(pattern: re.Pattern[str]) -> Iterator[tuple[str, int, re.Match[str]]]:
    """Where a pattern, which spans no lines, is found: file, line and match."""
    for path, text in texts().items():
        for match in pattern.finditer(text):
            yield path, text.count("\n", 0, match.start()) + 1, match


def test_role_fleet_has_the_defaults_of_every_role() -> None:
    roles = {path.parents[1].name for path in ROLES.glob("*/defaults/main.yml")}
    assert {path.stem for path in LINKS.iterdir()} == roles | {"fleet"}
    for link in LINKS.iterdir():
        if link.stem != "fleet":
            assert link.resolve() == ROLES / link.stem / "defaults/main.yml"
            assert link.is_symlink()
    assert not (ROLES / "fleet/defaults/main.yml").exists(), "it would hide the folder"


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_argument_spec_has_the_options_and_their_defaults(role: str) -> None:
    loader = DataLoader()
    specs = loader.load_from_file(str(ROLES / role / "meta/argument_specs.yml"))["argument_specs"]
    options = {
        name: option
        for entry in specs.values()
        for name, option in (entry.get("options") or {}).items()
    }
    own = (
        loader.load_from_file(str(LINKS / f"{role}.yml"))
        if (LINKS / f"{role}.yml").exists()
        else {}
    )
    assert own.keys() - options.keys() == set(), "an option that no spec has"
    # What is worked out on each host cannot be told here.
    fixed = {name: value for name, value in own.items() if "{{" not in str(value)}
    told = {name: option["default"] for name, option in options.items() if "default" in option}
    assert told == fixed


def test_no_default_is_given_again() -> None:
    found = []
    for path, number, match in found_in_code(DEFAULT_OF):
        # What the inventory says, without any default.
        if match["name"] in DEFAULTS and not (match["of"] and match["value"] == "''"):
            found.append(f"{path}:{number}: {match[0]}")
    for path, number, match in found_in_code(FETCHED):
        if match["name"] in DEFAULTS:
            found.append(f"{path}:{number}: {match[0]}")
    assert found == []


def test_no_path_of_a_default_stands_elsewhere() -> None:
    anywhere = re.compile(rf"(?<![\w/])(?:{'|'.join(map(re.escape, PATHS))})(?![\w-])")
    found = [f"{path}:{number}: {match[0]}" for path, number, match in found_in_code(anywhere)]
    assert found == []


def test_no_port_of_a_default_stands_elsewhere() -> None:
    assert len(PORTS) == 10
    found = [
        f"{path}:{number}: {match[0]}"
        for path, number, match in found_in_code(NUMBERS)
        if (path, match[0]) not in OTHERS
    ]
    assert found == []


def changed_defaults() -> dict[str, Any]:
    """Another value for each port and each folder or account of a host."""
    changed: dict[str, Any] = {
        name: f"/another/{name}" for name in DEFAULTS if re.fullmatch(r"\w+_(dir|home)", name)
    }
    changed |= {name: f"other{number}" for number, name in enumerate(ACCOUNTS)}
    return changed | {
        name: 40000 + number
        for number, name in enumerate(DEFAULTS)
        if re.fullmatch(r"fleet_\w+_port", name)
    }


def test_what_the_roles_make_of_a_changed_default_is_new() -> None:
    """All variables of all roles that can be worked out without a host."""
    changed = changed_defaults()
    loader, variables = DataLoader(), {**DEFAULTS, **changed, **HOST}
    own: dict[str, Any] = {}
    for file in sorted(ROLES.glob("*/vars/main.yml")):
        own |= loader.load_from_file(str(file), trusted_as_template=True)
    # Which node and site they are about is no matter here.
    templar = Templar(loader=loader, variables={**variables, **own})
    text = ""
    for name in own:
        with contextlib.suppress(AnsibleError):
            text += json.dumps(templar.template(own[name]), default=str) + "\n"
    unused = [name for name, value in changed.items() if str(value) not in text]
    assert sorted(unused) == ["fleet_secrets_dir"], "of the controller alone"
    old = [*PATHS, "/home/frappe", *(port for port in PORTS if port != "22")]
    assert [value for value in old if re.search(rf"(?<![\w/]){value}(?![\w-])", text)] == []
