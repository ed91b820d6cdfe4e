"""The table of systems, and what preflight makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from fleet import systems
from fleet.preflight import systems as judged

from filter_plugins import systems as filters

ROOT = Path(__file__).parents[2]
CODE = ("roles", "playbooks", "filter_plugins", "library", "module_utils", "plugins")


def a_host(distribution: str, version: str, **changes: Any) -> dict[str, Any]:
    """A host that could be looked at."""
    return {
        "name": "rep1",
        "distribution": distribution,
        "version": version,
        "system": systems.system_of(distribution, version),
        "untried_system": False,
        "survey": {},
        **changes,
        **({"survey": {"looked": True}} if "survey" not in changes else {}),
    }


@pytest.mark.parametrize(
    ("distribution", "version", "title"),
    [
        ("Debian", "12", "Debian 12 (bookworm)"),
        ("Debian", "12.5", "Debian 12 (bookworm)"),
        ("Debian", "13.1", "Debian 13 (trixie)"),
        ("Ubuntu", "24.04", "Ubuntu 24.04 (noble)"),
    ],
)
def test_a_system_is_known_by_its_facts(distribution: str, version: str, title: str) -> None:
    facts = {"distribution": distribution, "distribution_version": version}
    assert systems.title(filters.known_system(facts)) == title


@pytest.mark.parametrize(
    ("distribution", "version"),
    [
        ("Debian", "11"),
        ("Debian", "14"),
        ("Ubuntu", "22.04"),
        ("Ubuntu", "24.10"),
        ("Rocky", "9.3"),
    ],
)
def test_another_system_is_refused_and_the_known_ones_are_named(
    distribution: str, version: str
) -> None:
    host = a_host(distribution, version)
    (found,) = judged.system_problems([host])
    assert all(value in found["what"] for value in ("rep1", f"{distribution} {version}"))
    for name in ("Debian 12 (bookworm)", "Debian 13 (trixie)", "Ubuntu 24.04 (noble)"):
        assert name in found["remedy"]
    # Only a system of the table can be asked for.
    assert list(judged.system_problems([{**host, "untried_system": True}])) == [found]
    facts = {"distribution": distribution, "distribution_version": version}
    with pytest.raises(AnsibleFilterError, match=f"{distribution} {version}"):
        filters.system_packages(facts, "mariadb")
    assert judged.system_warnings([host]) == []


def test_a_tried_system_is_not_reported() -> None:
    hosts = [a_host("Debian", "12.5"), a_host("Debian", "13")]
    assert list(judged.system_problems(hosts)) == []
    assert judged.system_warnings(hosts) == []


def test_an_untried_system_is_refused_until_it_is_asked_for_and_then_named() -> None:
    host = a_host("Ubuntu", "24.04")
    (found,) = judged.system_problems([host])
    assert "Ubuntu 24.04 (noble)" in found["what"]
    host["untried_system"] = True
    assert list(judged.system_problems([host])) == []
    (warning,) = judged.system_warnings([host])
    assert all(value in warning for value in ("rep1", "Ubuntu 24.04 (noble)"))


def test_a_host_that_was_not_seen_has_no_system_to_judge() -> None:
    host = a_host("", "", survey=None)
    assert list(judged.system_problems([host])) == []
    assert judged.system_warnings([host]) == []


def test_the_rows_are_complete_and_apart() -> None:
    keys = {frozenset(row) for row in systems.SYSTEMS}
    assert len(keys) == 1
    assert len({systems.title(row) for row in systems.SYSTEMS}) == len(systems.SYSTEMS)
    assert len({frozenset(row["packages"]) for row in systems.SYSTEMS}) == 1


def roles_files() -> list[Path]:
    """The YAML of roles and playbooks."""
    files = [path for path in ROOT.glob("roles/*/*/*.yml") if path.parent.name in ("tasks", "vars")]
    return sorted([*files, *ROOT.glob("playbooks/*.yml")])


def package_lists(tasks: Any) -> list[Any]:
    """The names that the tasks of one file give to the module packages."""
    found = []
    for task in tasks if isinstance(tasks, list) else ():
        if "packages" in task:
            found.append(task["packages"]["names"])
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            found += package_lists(task.get(part))
    return found


def test_roles_install_what_the_table_says() -> None:
    wanted, used = [], set()
    for path in roles_files():
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"system_packages\('(\w+)'\)", text))
        wanted += package_lists(yaml.safe_load(text))
    assert len(wanted) >= 7
    assert [names for names in wanted if not str(names).startswith("{{ ")] == []
    assert used == set(systems.PACKAGES)


def test_no_package_or_release_stands_beside_the_table() -> None:
    """Names that are something else, too, are left out: git, a command; nginx, a program."""
    packages = {name for names in systems.PACKAGES.values() for name in names}
    names = {name for name in packages if name.startswith(("lib", "python3-"))}
    names |= {"build-essential", "ca-certificates", "openssh-client", "openssh-server"}
    names |= {systems.CHROMIUM} | {row["codename"] for row in systems.SYSTEMS}
    names |= {f"{row['distribution']} {row['release']}" for row in systems.SYSTEMS}
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(names)))})(?!\.crt)")
    found = []
    for part in CODE:
        for path in sorted((ROOT / part).rglob("*")):
            place = str(path.relative_to(ROOT))
            if (
                not path.is_file()
                or path.suffix == ".pyc"
                or place == "module_utils/fleet/systems.py"
            ):
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if match := pattern.search(line):
                    found.append(f"{place}:{number}: {match[0]}")
    assert found == []
