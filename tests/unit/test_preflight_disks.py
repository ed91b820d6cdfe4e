"""Space on disks."""

from __future__ import annotations

from tests.unit.bare_fleet import GIB, ids, kinds, mark


def test_disk_for_the_copy(fleet, settings):
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["database"].update(holds_data=True, bytes=10 * GIB)
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "15.0", "named": "", "others": {}}
    ]
    disk = fleet[1]["survey"]["disk"]
    disk["data"]["free"] = disk["bench"]["free"] = 24 * GIB
    facts = {"host": "rep1", "folder": "/var/lib", "free": 24, "needed": 25, "copy": 23, "bench": 2}
    assert kinds(fleet, settings) == [("disk_too_small", facts)]
    disk["bench"].update(device="2", free=3 * GIB)
    assert ids(fleet, settings) == []
    mark(fleet[1])
    fleet[1]["survey"]["database"].update(holds_data=True, bytes=10 * GIB)
    disk["data"]["free"] = 0
    assert ids(fleet, settings) == []


def test_disk_for_the_bench_of_the_primary(fleet, settings):
    for disk in fleet[0]["survey"]["disk"].values():
        disk["free"] = GIB
    facts = {"host": "erp1", "folder": "/var/lib", "free": 1, "needed": 2, "copy": 0, "bench": 2}
    assert kinds(fleet, settings) == [("disk_too_small", facts)]
