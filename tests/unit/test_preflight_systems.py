"""Systems of the hosts."""

from __future__ import annotations

import pytest

from tests.unit.bare_fleet import ids, kinds, put_system


def test_debian_13(fleet, settings):
    for host in fleet:
        put_system(host, "13.1")
    assert ids(fleet, settings) == []


@pytest.mark.parametrize("key", ["", "keyOferp1\n10.0.0.11 ssh-ed25519 another"])
def test_no_systemd_and_no_host_key(fleet, settings, key):
    fleet[0]["survey"]["systemd"] = False
    fleet[0]["ssh_key"] = key
    assert kinds(fleet, settings) == [
        ("no_systemd", {"host": "erp1"}),
        ("ssh_host_key_missing", {"host": "erp1"}),
    ]
