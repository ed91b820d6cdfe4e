"""A dry run on bare hosts shows what it would do, does not fail, and changes nothing."""

from __future__ import annotations

from typing import Any

from conftest import on

# Paths that a host writes by itself, and that Ansible and ssh write on every host.
UNSTEADY = ("/proc", "/sys", "/run", "/dev", "/tmp", "/var/tmp", "/var/log", "/root/.ansible")
UNSTEADY_FILES = ("/var/lib/systemd", "/var/cache/ldconfig", "/etc/resolv.conf")


def test_a_dry_run_changes_nothing(play: Any, lab: Any):
    there = [on(host.name) for host in lab.hosts]
    for host in there:
        host.check_output("touch /run/before-dry-run")
    recap = play("--check", "--diff", "site.yml").recap
    for host in there:
        pruned = " -o ".join(f"-path {path}" for path in (*UNSTEADY, *UNSTEADY_FILES))
        written = host.check_output(
            f"find / -xdev \\( {pruned} \\) -prune -o -type f -cnewer /run/before-dry-run -print"
        )
        assert written == ""
        assert not host.file("/etc/benchfleet").exists
        assert not host.package("mariadb-server").is_installed
    hosts = [numbers for name, numbers in recap.items() if name != "localhost"]
    assert len(hosts) == len(there)
    for numbers in hosts:
        assert numbers["failed"] == numbers["unreachable"] == numbers["ignored"] == 0
        assert numbers["changed"] > 5
