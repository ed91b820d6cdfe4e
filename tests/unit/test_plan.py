"""A dry run in words."""

import json
import re
from pathlib import Path

import pytest

from benchfleet import plan, runner
from benchfleet.runner import Change, Outcome

CONF = "/etc/supervisor/conf.d/frappe-bench.conf"
GUARD = "/etc/benchfleet/read-guard.json"
PROGRAMS = """[program:b-frappe-web]
command=gunicorn -w {web}
environment=(secret)

[program:b-frappe-short-worker]
command=bench worker --queue short
environment=(secret)

[group:b-web]
programs=b-frappe-web

[group:b-short-worker]
programs=b-frappe-short-worker
"""


def change(host, action, role="a_role", task="It is so", **result):
    return Change(host, role, task, action, {"changed": True, **result})


def files(host, *entries, role="a_role"):
    diff = [
        {"before": before, "after": after, "before_header": path, "after_header": path}
        for path, before, after in entries
    ]
    paths = [path for path, _, _ in entries]
    return change(host, "files", role=role, changed_paths=paths, diff=diff)


def outcome(*changes, ok=True, reads=None, restarts=None, verbose=False):
    hosts = {"erp1": {}, "rep1": {}, "localhost": {}}
    return Outcome(
        ok,
        1.0,
        Path("/log"),
        [],
        hosts,
        changes=list(changes),
        reads=reads or {},
        restarts=restarts or {},
        verbose=verbose,
    )


def test_nothing_to_change_is_fine(capsys):
    assert plan.show(outcome(), as_json=False, wide=False) == 0
    assert "erp1, rep1" in capsys.readouterr().out


def test_a_failed_dry_run_is_not(capsys):
    assert plan.show(outcome(ok=False), as_json=False, wide=False) == 1
    # What it did not come to is not known to stay as it is.
    assert "erp1, rep1" not in capsys.readouterr().out
    assert plan.show(outcome(ok=False), as_json=True, wide=False) == 1


def test_own_programs_are_a_number_and_files_have_their_lines(capsys):
    one = files(
        "erp1",
        ("/usr/local/lib/benchfleet/a.py", "", "x\n" * 5000),
        ("/usr/local/lib/benchfleet/b.py", "", "x\n" * 5000),
        ("/etc/x.conf", "a\nb\nc\n", "a\nB\nc\nd\n"),
    )
    words = plan.in_words(one)
    assert words[0] == "/etc/x.conf +2/-1"
    assert words[1].startswith("2 ")


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (change("h", "packages", missing=["nginx", "redis"]), ["nginx", "redis"]),
        (change("h", "user", name="frappe"), ["frappe"]),
        (
            change("h", "systemd_service", name="nginx", state="started", enabled=True),
            ["nginx", "started", "enabled"],
        ),
        (
            change("h", "json_config", changed_keys=["a"], diff={"after_header": "/x.json"}),
            ["/x.json", "a"],
        ),
        (change("h", "mariadb_settings", applied=["a"], restarted_for=["b"]), ["a", "b"]),
        (change("h", "redis_users", did=["add rep1"]), ["add", "rep1"]),
        (change("h", "command"), ["It", "is", "so"]),
        (change("h", "site_accounts", censored="hidden"), ["It", "is", "so"]),
    ],
)
def test_changes_in_words(found, wanted):
    (text,) = plan.in_words(found)
    assert set(wanted) <= set(re.findall(r"[\w./]+", text))


READS = {
    "web workers": [GUARD],
    "workers": ["/x/jobs"],
    "Redis": ["/x/redis.conf"],
    "scheduler": [],
}


@pytest.mark.parametrize(
    ("found", "restarted"),
    [
        (files("erp1", (GUARD, "a", "b")), ["web workers"]),
        (files("erp1", ("/x/jobs/deep.py", "a", "b")), ["workers"]),
        (files("erp1", ("/x/jobsandmore", "a", "b")), []),
        (files("rep1", (GUARD, "a", "b")), []),
        (files("erp1", (CONF, PROGRAMS.format(web=4), PROGRAMS.format(web=5))), ["web workers"]),
        # Only something hidden differs.
        (
            files("erp1", (CONF, PROGRAMS.format(web=4), PROGRAMS.format(web=4))),
            ["workers", "web workers"],
        ),
        (
            change(
                "erp1",
                "json_config",
                changed_keys=["db_host"],
                diff={"after_header": "/b/sites/common_site_config.json"},
            ),
            ["web workers", "workers", "scheduler"],
        ),
        (
            change(
                "erp1",
                "json_config",
                changed_keys=["workers"],
                diff={"after_header": "/b/sites/common_site_config.json"},
            ),
            [],
        ),
        (change("erp1", "mariadb_settings", restarts=["MariaDB"]), ["MariaDB"]),
    ],
)
def test_restarts_follow_from_what_is_read(found, restarted):
    assert plan.restarts(outcome(found, reads={"erp1": READS}), "erp1") == restarted


def test_keys_that_need_no_restart_are_those_of_the_role():
    text = (runner.ROOT / "roles/bench_processes/vars/main.yml").read_text()
    listed = re.search(r"rejectattr\('key', 'in', \[(.*?)\]\)", text, re.DOTALL)
    assert set(re.findall(r"'(\w+)'", listed[1])) == plan.NOT_READ_AT_START


def test_json_has_restarts_with_their_seconds(capsys):
    found = outcome(
        change("erp1", "mariadb_settings", restarts=["MariaDB"], applied=[], restarted_for=["x"]),
        files("erp1", (GUARD, "a", "b")),
        reads={"erp1": READS},
        restarts={"MariaDB": 2.5},
    )
    assert plan.show(found, as_json=True, wide=False) == 0
    host = json.loads(capsys.readouterr().out)["hosts"]["erp1"]
    assert host["restarts"] == [
        {"name": "MariaDB", "seconds": 2.5},
        {"name": "web workers", "seconds": None},
    ]
    assert [one["role"] for one in host["changes"]] == ["a_role", "a_role"]


def test_eighty_columns_and_few_lines_for_each_role():
    many = [files("erp1", (f"/etc/{'long' * 12}/{n}.conf", "", "x")) for n in range(200)]
    packages = change("erp1", "packages", role="bench", missing=[f"package{n}" for n in range(90)])
    found = outcome(*many, packages)
    lines = plan.table(found, wide=False)
    assert max(map(len, lines)) <= 80
    assert len(lines) < 14
    assert len(plan.table(found, wide=True)) > 200


def test_the_difference_is_shown_only_when_asked_for(capsys):
    one = files("erp1", ("/etc/x.conf", "old\n", "new\n"))
    plan.show(outcome(one), as_json=False, wide=False)
    assert "-old" not in capsys.readouterr().out
    plan.show(outcome(one, verbose=True), as_json=False, wide=False)
    assert "-old\n+new\n" in capsys.readouterr().out
