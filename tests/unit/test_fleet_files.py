"""Files that every host of a fleet gets."""

from __future__ import annotations

import configparser
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
