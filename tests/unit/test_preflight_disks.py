"""Space on disks."""

from __future__ import annotations

from tests.unit.bare_fleet import GIB, mark, whats


def test_disk_for_the_copy(fleet, settings):
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["database"].update(holds_data=True, bytes=10 * GIB)
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "15.0", "named": "", "others": {}}
    ]
    disk = fleet[1]["survey"]["disk"]
    disk["data"]["free"] = disk["bench"]["free"] = 24 * GIB
    assert whats(fleet, settings) == [
        "rep1 has 24.0 GiB free, and needs 23.0 GiB for the copy of the primary's 10.0 GiB "
        "and 2.0 GiB for a bench"
    ]
    disk["bench"].update(device="2", free=3 * GIB)
    assert whats(fleet, settings) == []
    mark(fleet[1])
    fleet[1]["survey"]["database"].update(holds_data=True, bytes=10 * GIB)
    disk["data"]["free"] = 0
    assert whats(fleet, settings) == []


def test_disk_for_the_bench_of_the_primary(fleet, settings):
    for disk in fleet[0]["survey"]["disk"].values():
        disk["free"] = GIB
    assert whats(fleet, settings) == ["erp1 has 1.0 GiB free, and needs 2.0 GiB for a bench"]
