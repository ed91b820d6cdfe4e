"""Files that every host of a fleet gets."""

from __future__ import annotations

import configparser
import re
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
IMPORT = re.compile(
    r"^\s*from ansible\.module_utils(?:\.(\w+) import| import ((?:\w+(?:, )?)+))", re.MULTILINE
)


def imported(text: str) -> set[str]:
    """Our modules that a program or module imports, with all that these import."""
    found: set[str] = set()
    texts = [text]
    while texts:
        for one, several in IMPORT.findall(texts.pop()):
            for name in {one, *several.split(", ")} - {"", *found}:
                file = ROOT / f"module_utils/{name}.py"
                if file.exists():
                    found.add(name)
                    texts.append(file.read_text(encoding="utf-8"))
    return found


def installed(role: str) -> set[str]:
    """Our modules that a role puts on its hosts."""
    files = [*ROOT.glob(f"roles/{role}/vars/*.yml"), *ROOT.glob(f"roles/{role}/tasks/*.yml")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    listed = re.findall(r"for name in \[(.*?)\]", text, re.DOTALL)
    return {
        *re.findall(r"__fleet_python \}\}/(\w+)\.py", text),
        *re.findall(r"'(\w+)'", " ".join(listed)),
    }


PROGRAMS = [
    file
    for file in sorted(ROOT.glob("roles/*/files/*"))
    if file.is_file() and imported(file.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_what_a_program_imports_is_on_its_host(program: Path) -> None:
    there = installed("fleet") | installed(program.parents[1].name)
    assert imported(program.read_text(encoding="utf-8")) <= there
