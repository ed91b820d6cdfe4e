"""Files that every host of a fleet gets."""

from __future__ import annotations

import configparser
from pathlib import Path

import yaml

VARS = Path(__file__).parents[2] / "roles/fleet/vars/main.yml"


def test_supervisor_waits_for_the_network_at_boot() -> None:
    values = yaml.safe_load(VARS.read_text(encoding="utf-8"))
    drop_in = values["__fleet_drop_in"]
    assert Path(drop_in).parent == Path("/etc/systemd/system/supervisor.service.d")
    listed = [entry["path"] for entry in values["__fleet_common_files"]]
    number = listed.index("{{ __fleet_drop_in }}")
    assert listed.index("{{ __fleet_drop_in | dirname }}") < number
    unit = configparser.RawConfigParser()
    unit.read_string(values["__fleet_common_files"][number]["content"])
    assert unit["Unit"]["wants"] == unit["Unit"]["after"] == "network-online.target"


def test_known_hosts_are_written_for_the_port_of_ssh() -> None:
    values = yaml.safe_load(VARS.read_text(encoding="utf-8"))
    assert "host.lan_ip | known_host(fleet_ssh_port)" in values["__fleet_known_hosts"]
