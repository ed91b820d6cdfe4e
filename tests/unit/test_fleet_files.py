"""Files that every host of a fleet gets."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

VARS = Path(__file__).parents[2] / "roles/fleet/vars/main.yml"


def test_supervisor_waits_for_the_network_at_boot() -> None:
    values = yaml.safe_load(VARS.read_text(encoding="utf-8"))
    drop_in = values["__fleet_drop_in"]
    assert values["__fleet_units"] == "/etc/systemd/system"
    assert drop_in == "{{ __fleet_units }}/supervisor.service.d/benchfleet.conf"
    listed = [entry["path"] for entry in values["__fleet_common_files"]]
    number = listed.index("{{ __fleet_drop_in }}")
    assert listed.index("{{ __fleet_drop_in | dirname }}") < number
    unit = configparser.RawConfigParser()
    unit.read_string(values["__fleet_common_files"][number]["content"])
    assert unit["Unit"]["wants"] == unit["Unit"]["after"] == "network-online.target"


@pytest.mark.parametrize("files", ["__fleet_common_files", "__fleet_router_files"])
def test_services_that_are_killed_come_back_for_as_long_as_it_takes(files: str) -> None:
    values = yaml.safe_load(VARS.read_text(encoding="utf-8"))
    (text,) = [e["content"] for e in values[files] if "RestartSec" in str(e.get("content"))]
    unit = configparser.RawConfigParser()
    unit.read_string(text)
    assert unit["Unit"]["startlimitintervalsec"] == "0"
    assert unit["Service"]["restart"] == "on-failure"
    # What supervisor had started is gone before it starts it again.
    if files == "__fleet_common_files":
        assert unit["Service"]["killmode"] == "mixed"


def test_known_hosts_are_written_for_the_port_of_ssh() -> None:
    values = yaml.safe_load(VARS.read_text(encoding="utf-8"))
    assert "host.lan_ip | known_host(fleet_ssh_port)" in values["__fleet_known_hosts"]


ROOT = VARS.parents[3]
PACKAGE = ROOT / "module_utils/fleet"
INSTALLED = set(yaml.safe_load(VARS.read_text(encoding="utf-8"))["__fleet_code"])


def modules(names: Iterable[str]) -> Iterator[str]:
    """Those of our modules and packages that are meant by dotted names below `fleet`."""
    for name in names:
        path = name.replace(".", "/")
        if (PACKAGE / f"{path}.py").is_file():
            yield path
        elif (PACKAGE / path / "__init__.py").is_file():
            yield f"{path}/__init__".lstrip("/")


def imported(path: Path) -> set[str]:
    """Our modules that a file imports by itself."""
    text = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return set()
    here = list(path.relative_to(PACKAGE).parts) if path.is_relative_to(PACKAGE) else []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join([*here[: len(here) - node.level], *filter(None, [module])])
            elif f"{module}.".startswith("fleet."):
                module = module.removeprefix("fleet").lstrip(".")
            else:
                continue
            parts = module.split(".") if module else []
            names |= {".".join(parts[:n]) for n in range(len(parts) + 1)}
            names |= {".".join([*parts, alias.name]) for alias in node.names}
    return set(modules(names))


def needed(path: Path) -> set[str]:
    """Our modules that a program imports, with all that these import."""
    found: set[str] = set()
    wanted = imported(path)
    while wanted - found:
        name = (wanted - found).pop()
        found.add(name)
        wanted |= imported(PACKAGE / f"{name}.py")
    return found


PROGRAMS = {
    file: names
    for file in sorted(ROOT.glob("roles/*/files/**/*"))
    if file.is_file() and file.suffix in ("", ".py") and (names := needed(file))
}


def test_hosts_have_the_code_that_their_programs_import_and_no_other() -> None:
    tried = needed(PACKAGE / "supervisor/try_out.py") | {"supervisor/try_out"}
    wanted = set().union(*PROGRAMS.values()) | tried
    assert wanted == INSTALLED
