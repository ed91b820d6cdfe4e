"""Files that every host of a fleet gets."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest
import yaml
from fleet import imports

from filter_plugins import programs

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
TASKS = sorted(ROOT.glob("roles/*/tasks/*.yml"))
PROGRAMS = [
    path
    for path in sorted(ROOT.glob("roles/*/files/*.py"))
    if imports.needed(path.read_text(encoding="utf-8"))
]


def put(folder: Path, path: str, text: str) -> list[str]:
    """Install a program with what it imports; returns the paths of its entries, as they came."""
    entry = {"path": f"{folder}/{path}", "content": text}
    entries = programs.with_imports([entry], f"{folder}/python")
    for entry in entries:
        if "content" in entry:
            Path(entry["path"]).write_text(entry["content"], encoding="utf-8")
        else:
            Path(entry["path"]).mkdir(parents=True)
    return [entry["path"].removeprefix(f"{folder}/") for entry in entries]


@pytest.mark.parametrize("program", PROGRAMS, ids=[path.name for path in PROGRAMS])
def test_a_program_comes_with_the_code_that_it_imports(tmp_path: Path, program: Path) -> None:
    text = program.read_text(encoding="utf-8").replace("@settings@", "{}")
    paths = put(tmp_path, program.name, text)
    assert paths[0] == "python"
    assert paths[-1] == program.name
    names = {
        ".".join(Path(path).with_suffix("").parts[1:]).removesuffix(".__init__")
        for path in paths
        if path.endswith(".py") and path.startswith("python/")
    }
    place = f"sys.path.insert(0, {str(tmp_path / 'python')!r})"
    load = f"import sys; {place}; import {', '.join(sorted(names))}"
    subprocess.run(["/usr/bin/python3", "-I", "-c", load], check=True, cwd="/")


def test_what_imports_nothing_of_ours_comes_alone(tmp_path: Path) -> None:
    assert put(tmp_path, "a", "import os\n") == ["a"]
    assert put(tmp_path, "b", "[Unit]\nAfter=network.target\n") == ["b"]


def test_programs_are_installed_with_what_they_import() -> None:
    """A task that installs one of them by itself would leave out the code."""
    texts = {path: path.read_text(encoding="utf-8") for path in TASKS}
    texts |= {path: path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/vars/*.yml")}
    for program in PROGRAMS:
        role = program.parents[1].name
        assert any(
            "with_imports(" in text for path, text in texts.items() if path.parts[-3] == role
        ), program
