"""Queues of placed jobs, worker programs, and every check of jobs and workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fleet.bench import queues
from fleet.preflight import placement, workers
from fleet.preflight.jobs import job_name_problems, job_problems

from filter_plugins import jobs

# --- queues and programs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "queue"),
    [("rep1", "at-rep1"), ("rep_1.lan", "at-rep_1.lan"), ("a b:ü", "at-a-b--")],
)
def test_queue_of_a_server(server, queue):
    assert queues.queue_name(server) == queue


def test_queues_of_jobs_keep_the_order():
    placement = {"b.*": "reporting", "a.x": "rep1"}
    assert list(queues.job_queues(placement).items()) == [
        ("b.*", "at-reporting"),
        ("a.x", "at-rep1"),
    ]


def test_a_host_serves_its_own_queue_first_then_those_of_its_groups():
    placement = {"a.b": "zeta", "a.c": "rep1", "a.d": "all", "a.e": "rep2", "a.f": "rep1"}
    groups = ["zeta", "reporting", "all"]
    assert queues.placed_queues(placement, "rep1", groups) == ["at-rep1", "at-all", "at-zeta"]
    assert queues.placed_queues(placement, "rep3", ["reporting"]) == []
    assert queues.placed_queues({"a.b": "rep1"}, "rep1", ["rep1"]) == ["at-rep1"]


def test_heavy_jobs_are_any_reporting_nodes_unless_an_entry_matches_them():
    report, emailed = queues.HEAVY_JOBS[0], "*.auto_email_report.*"
    placement = {emailed: "rep1", "a.b": "rep2"}
    found = queues.with_heavy(placement, True)
    assert list(found)[:2] == list(placement)
    assert (found[emailed], found[report]) == ("rep1", "heavy")
    assert not [job for job in found if "auto_email" in job and job != emailed]
    assert queues.with_heavy({report: "rep1"}, True)[report] == "rep1"
    assert queues.with_heavy(placement, False) == placement


def test_a_reporting_node_has_a_worker_for_heavy_jobs_where_there_are_any():
    heavy = program("at-heavy", "at-heavy", 1)
    assert queues.heavy_programs(queues.with_heavy({}, True)) == [heavy]
    assert queues.heavy_programs(dict.fromkeys(queues.HEAVY_JOBS, "rep1")) == []


def test_hosts_that_are_to_do_the_jobs_of_each_queue():
    groups = {"bench_reporting": ["rep1", "rep2"], "big": ["rep2"], "all": ["erp1", "rep1", "rep2"]}
    found = queues.placed_hosts(queues.with_heavy({"a.b": "big", "c.d": "rep1"}, True), groups)
    assert found == {"at-big": ["rep2"], "at-rep1": ["rep1"], "at-heavy": ["rep1", "rep2"]}


def program(name: str, queues: str, processes: int) -> dict[str, Any]:
    """A worker program, its queues with commas."""
    return {"name": name, "queues": queues.split(","), "processes": processes}


LONG, SHORT = "long,default,short", "short,default"
CUSTOM = {"slow": {"timeout": 9, "background_workers": 2}, "odd": {}, "at-rep1": {}, "long": {}}


@pytest.mark.parametrize(
    ("workers", "placed", "custom", "programs"),
    [
        (0, ["at-a"], CUSTOM, []),
        (1, [], None, [program("long", LONG, 1)]),
        ("3", [], {}, [program("long", LONG, 2), program("short", SHORT, 1)]),
        (
            2,
            ["at-a", "at-g"],
            {},
            [program("long", f"at-a,at-g,{LONG}", 1), program("short", f"at-a,at-g,{SHORT}", 1)],
        ),
        (
            1,
            [],
            CUSTOM,
            [program("long", LONG, 1), program("slow", "slow", 2), program("odd", "odd", 1)],
        ),
        ({}, ["at-a"], CUSTOM, []),
        (
            {"short,default": 2, "long": "3", "placed": 1},
            ["at-a", "at-g"],
            CUSTOM,
            [
                program("short-default", SHORT, 2),
                program("long", "long", 3),
                program("placed", "at-a,at-g", 1),
            ],
        ),
        (
            {"long , placed, long": 1, "placed": 4, "slow": 0},
            [],
            CUSTOM,
            [program("long-placed", "long", 1)],
        ),
        ({"placed,short": 1}, ["at-a"], {}, [program("placed-short", "at-a,short", 1)]),
    ],
)
def test_worker_programs(workers, placed, custom, programs):
    assert queues.worker_programs(workers, placed, custom) == programs


@pytest.mark.parametrize(
    ("workers", "problem", "facts"),
    [
        *(
            (value, "workers_malformed", {"workers": repr(value)})
            for value in (-1, True, 1.5, "{long: 1}", None, ["long"])
        ),
        ({"long": -1}, "workers_not_counted", {"entry": "'long'", "processes": "-1"}),
        ({"long": True}, "workers_not_counted", {"entry": "'long'", "processes": "True"}),
        *(
            ({key: 1}, "workers_without_queue", {"entry": repr(key)})
            for key in ("long,", "", "a b", 3)
        ),
        ({"a,b": 1, "a, b": 2}, "workers_twice", {"entries": ["'a,b'", "'a, b'"]}),
    ],
)
def test_malformed_workers_are_refused_with_a_remedy(workers, problem, facts):
    for function in (
        lambda: queues.worker_programs(workers, []),
        lambda: queues.worker_count(workers),
    ):
        with pytest.raises(queues.WorkersError) as raised:
            function()
        found = raised.value.problem
        assert (found["id"], found["facts"]) == (problem, {**facts, "hosts": []})
        assert str(raised.value) == f"{found['what']}: {found['remedy']}"


@pytest.mark.parametrize(
    ("workers", "wanted", "running"),
    [(0, 0, 0), ("5", 5, 5), ({"long": 2, "short,default": "1", "placed": 4}, 7, 3), ({}, 0, 0)],
)
def test_processes_are_counted(workers, wanted, running):
    assert queues.worker_count(workers) == wanted
    assert queues.programs_count(queues.worker_programs(workers, [])) == running


# --- the judgement -----------------------------------------------------------------------------

RUN = "erpnext.stock.reposting.run"
BARE = {"known": False, "apps": [], "scheduled": False, "matches": {}, "near": {}, "queues": {}}


def a_host(name: str, group: str, **changes: Any) -> dict[str, Any]:
    """A host without settings of jobs."""
    host: dict[str, Any] = {
        "name": name,
        "groups": [group],
        "placement": {},
        "heavy": "reporting",
        "background_workers": 6 if group == "primary" else 0,
        "away_seconds": 60,
        "when_away": "primary",
        "apps": [],
        "survey": {"jobs": dict(BARE)},
    }
    return {**host, **changes}


@pytest.fixture
def fleet() -> list[dict[str, Any]]:
    """A primary with its usual workers and two reporting nodes, the second without workers."""
    return [
        a_host("erp1", "primary"),
        a_host("rep1", "reporting", background_workers={"placed": 1}),
        a_host("rep2", "reporting"),
    ]


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings of that fleet."""
    return {
        # Without files: whatever they hold is read for each judgement.
        "inventory": "/nowhere/inventory",
        "groups": {
            "all": ["erp1", "rep1", "rep2"],
            "primary": ["erp1"],
            "reporting": ["rep1", "rep2"],
            "idle": ["rep2"],
            "databases": ["db9"],
            "empty": [],
        },
    }


def place(fleet: list[dict], placement: Any, **found: Any) -> None:
    """Set jobs_placement on all hosts, and what the survey of the primary found."""
    for host in fleet:
        host["placement"] = placement
    if found:
        base = {**BARE, "known": True, "scheduled": True, "apps": ["frappe", "erpnext"]}
        fleet[0]["survey"] = {"jobs": {**base, **found}}


def ids(fleet: list[dict], settings: dict) -> list[str]:
    """The ids of what is wrong; each problem must have its texts."""
    problems = job_problems(fleet, settings)
    for found in problems:
        assert set(found) == {"id", "what", "place", "remedy", "facts"}
        assert all(found.values())
    return [found["id"] for found in problems]


def facts(fleet: list[dict], settings: dict, *names: str) -> list[tuple[Any, ...]]:
    """The id and these facts of all that is wrong."""
    return [
        (found["id"], *(found["facts"][name] for name in names))
        for found in job_problems(fleet, settings)
    ]


def test_a_fleet_without_settings_of_jobs_has_no_problem(fleet, settings):
    settings["inventory"] = str(Path(__file__).parents[2] / "inventory/example")
    assert ids(fleet, settings) == []
    assert job_problems([], settings) == []
    alone = {**settings, "groups": {"primary": ["erp1"], "all": ["erp1"]}}
    assert ids([a_host("erp1", "primary")], alone) == []


@pytest.mark.parametrize("server", ["rep1", "reporting", "erp1", "primary", "all"])
@pytest.mark.parametrize("job", [RUN, "erpnext.*", "*.run", "a.b[cd]?", "a.B.c", "[!f]*", "*"])
def test_placement_in_order(fleet, settings, job, server):
    place(fleet, {job: server})
    assert ids(fleet, settings) == []


@pytest.mark.parametrize("value", ["rep1", [RUN], None, 3])
def test_placement_that_is_no_map(fleet, settings, value):
    place(fleet, value)
    assert facts(fleet, settings, "placement") == [("placement_no_map", value)]
    assert repr(value) in job_problems(fleet, settings)[0]["what"]


def test_placement_that_differs_between_hosts(fleet, settings):
    place(fleet, {RUN: "rep1"})
    fleet[2]["placement"] = {}
    # Reported with all that must be the same on all hosts (test_agreement.py).
    assert ids(fleet, settings) == []


@pytest.mark.parametrize(
    "job", ["", " ", "a b.c", "a.b ", "run", "a..b", ".a", "a.b()", 7, "a.[bc", "a.b,c.d", "a/*"]
)
def test_key_that_is_no_name_and_no_pattern(fleet, settings, job):
    place(fleet, {job: "rep1"})
    assert facts(fleet, settings, "job") == [("placement_job_malformed", job)]


def test_scheduled_server_script_has_no_dots(fleet, settings):
    place(
        fleet,
        {"send_letters_daily": "rep1"},
        matches={"send_letters_daily": ["send_letters_daily"]},
    )
    assert ids(fleet, settings) == []
    # The sites' databases could not be read.
    place(
        fleet, {"send_letters_daily": "rep1"}, matches={"send_letters_daily": []}, scheduled=False
    )
    assert ids(fleet, settings) == []
    fleet[0]["survey"] = None
    assert ids(fleet, settings) == []


@pytest.mark.parametrize("server", [["rep1", "rep2"], "", " ", None, 7])
def test_server_that_is_no_text(fleet, settings, server):
    place(fleet, {RUN: server})
    several = isinstance(server, list)
    wanted = "placement_several_servers" if several else "placement_server_malformed"
    assert facts(fleet, settings, "job", "server") == [(wanted, RUN, server)]


def test_server_that_does_not_exist(fleet, settings):
    place(fleet, {RUN: "rep11", "a.b": "rep11", "c.d": "nowhere"})
    unknown = "placement_server_unknown"
    assert facts(fleet, settings, "server", "entries") == [
        (unknown, "rep11", [RUN, "a.b"]),
        (unknown, "nowhere", ["c.d"]),
    ]
    found, other = job_problems(fleet, settings)
    assert "rep1?" in found["facts"]["hint"]
    assert other["facts"]["hint"] == ""
    assert f"{RUN}, a.b" in found["place"]
    assert "erp1, rep1, rep2" in found["remedy"]


def test_server_without_a_bench(fleet, settings):
    settings["groups"]["all"].append("db9")
    place(fleet, {"a.b": "db9", "c.d": "databases", "e.f": "empty"})
    assert facts(fleet, settings, "server", "entries") == [
        ("placement_host_without_bench", "db9", ["a.b"]),
        ("placement_group_without_bench", "databases", ["c.d"]),
        ("placement_group_without_bench", "empty", ["e.f"]),
    ]


def test_bench_of_a_host_in_the_groups_of_the_roles_alone(fleet, settings):
    settings["groups"]["bench_reporting"] = settings["groups"].pop("reporting")
    place(fleet, {"a.b": "rep1"})
    assert ids(fleet, settings) == []


def test_servers_with_one_queue(fleet, settings):
    settings["groups"].update({"a+b": ["rep1"], "a=b": ["rep1"]})
    place(fleet, {"a.b": "a+b", "c.d": "a=b"})
    assert facts(fleet, settings, "queue", "servers") == [
        ("placement_queue_shared", "at-a-b", ["a+b", "a=b"])
    ]


def test_a_host_with_the_name_of_the_queue_of_heavy_jobs(fleet, settings):
    settings["groups"]["heavy"] = ["rep1"]
    place(fleet, {"a.b": "heavy"})
    (found,) = job_problems(fleet, settings)
    assert (found["id"], found["facts"]["queue"]) == ("placement_queue_shared", "at-heavy")
    assert found["facts"]["servers"][1:] == ["heavy"]
    for host in fleet:
        host["heavy"] = "primary"
    assert ids(fleet, settings) == []


@pytest.mark.parametrize(
    ("workers", "served"),
    [
        *((value, False) for value in (0, "0", {}, {"long": 1}, {"placed": 0, "long": 2})),
        *((value, True) for value in ({"long, placed": 1}, 1, "2")),
    ],
)
def test_workers_for_jobs_placed_on_a_host(fleet, settings, workers, served):
    fleet[2]["background_workers"] = workers
    place(fleet, {RUN: "rep2", "a.b": "rep2"})
    wanted = [("host_without_placed_workers", "rep2", ["rep2"], [RUN, "a.b"])]
    assert facts(fleet, settings, "server", "hosts", "entries") == ([] if served else wanted)
    for found in job_problems(fleet, settings):
        assert "rep2" in found["place"]
        assert "{placed: 1}" in found["remedy"]


def test_workers_for_jobs_placed_on_a_group(fleet, settings):
    place(fleet, {RUN: "reporting"})
    assert ids(fleet, settings) == []
    fleet[1]["background_workers"] = 0
    unserved = "group_without_placed_workers"
    assert facts(fleet, settings, "server", "hosts", "entries") == [
        (unserved, "reporting", ["rep1", "rep2"], [RUN])
    ]
    place(fleet, {RUN: "idle"})
    assert facts(fleet, settings, "hosts") == [(unserved, ["rep2"])]


def test_placed_on_the_primary_whose_workers_are_of_other_queues(fleet, settings):
    fleet[0]["background_workers"] = {"long,default,short": 2}
    place(fleet, {RUN: "primary"})
    assert facts(fleet, settings, "hosts") == [("group_without_placed_workers", ["erp1"])]


def test_job_that_no_app_has(fleet, settings):
    place(
        fleet,
        {
            RUN: "rep1",
            "erpnext.x.*": "rep1",
            "a.b": "rep1",
            "frappe.ok": "rep1",
            "un.asked": "rep1",
        },
        matches={RUN: [], "erpnext.x.*": [], "a.b": [], "frappe.ok": ["frappe.ok"]},
        near={RUN: ["erpnext.stock.reposting.rum", "x.y"], "a.b": []},
    )
    near = ["erpnext.stock.reposting.rum", "x.y"]
    assert facts(fleet, settings, "job", "near") == [
        ("placement_job_unknown", RUN, near),
        ("placement_pattern_without_jobs", "erpnext.x.*", []),
        ("placement_job_unknown", "a.b", []),
    ]
    assert ", ".join(near) in job_problems(fleet, settings)[0]["what"]


def test_jobs_of_an_app_that_this_run_installs(fleet, settings):
    place(
        fleet,
        {"hrms.pay.run": "rep1", "*.pay": "rep1", "erpnext.pay.run": "rep1"},
        matches={"hrms.pay.run": [], "*.pay": [], "erpnext.pay.run": []},
    )
    assert len(ids(fleet, settings)) == 3
    fleet[0]["apps"] = [{"name": "erpnext"}, {"name": "hrms"}, {}, "hrms"]
    assert facts(fleet, settings, "job") == [("placement_job_unknown", "erpnext.pay.run")]


def test_names_are_not_judged_without_a_bench(fleet, settings):
    place(fleet, {RUN: "rep1", "x.*": "rep1"})
    assert ids(fleet, settings) == []
    fleet[0]["survey"] = None
    assert ids(fleet, settings) == []


@pytest.mark.parametrize(
    ("placement", "jobs"),
    [
        ({"erpnext.*": "rep1", RUN: "rep1"}, RUN),
        ({RUN: "rep1", "*.r?n": "reporting"}, RUN),
        ({"erpnext.stock.*": "rep1", "erpnext.*": "rep1"}, "all of 'erpnext.stock.*'"),
        ({"*": "rep1", "a.[bc]?": "rep1"}, "all of 'a.[bc]?'"),
    ],
)
def test_two_entries_for_a_job_by_the_entries_alone(fleet, settings, placement, jobs):
    place(fleet, placement)
    (one, at), (other, on) = placement.items()
    (found,) = job_problems(fleet, settings)
    assert found["id"] == "job_placed_twice"
    wanted = {"jobs": jobs, "one": one, "server": at, "other": other, "other_server": on}
    assert found["facts"] == wanted


@pytest.mark.parametrize(
    "entries",
    [
        ("a.*", "b.*"),
        ("*.x.*", "a.*"),
        ("a.?", "a.*b"),
        ("a.[bc]", "a.[*]"),
        ("A.*", "a.b"),
        ("a?b*", "a*b.[x]"),
    ],
)
def test_entries_that_may_have_no_job_in_common(fleet, settings, entries):
    place(fleet, dict.fromkeys(entries, "rep1"))
    assert ids(fleet, settings) == []


@pytest.mark.parametrize(
    ("count", "jobs"), [(1, "a.x"), (2, "a.x and 1 more"), (9, "a.x and 8 more")]
)
def test_two_patterns_for_a_job_by_what_the_bench_has(fleet, settings, count, jobs):
    entries = ["a.*", "*.x"]
    place(
        fleet,
        dict.fromkeys(entries, "rep1"),
        matches={entry: ["a.x"] for entry in entries},
        overlaps=[{"entries": entries[::-1], "example": "a.x", "count": count}],
    )
    assert facts(fleet, settings, "jobs", "one", "other") == [
        ("job_placed_twice", jobs, "a.*", "*.x")
    ]


def test_names_can_be_judged_after_the_first_run():
    found = job_name_problems({RUN: "rep1"}, {**BARE, "known": True, "matches": {RUN: []}})
    assert [(problem["id"], problem["facts"]["job"]) for problem in found] == [
        ("placement_job_unknown", RUN)
    ]
    assert job_name_problems({RUN: "rep1"}, BARE) == []


@pytest.mark.parametrize(
    ("workers", "wrong"),
    [
        (-1, {"workers_malformed": {"workers": "-1"}}),
        (None, {"workers_malformed": {"workers": "None"}}),
        (
            {"long": -1, "shrot": 1},
            {
                "workers_not_counted": {"entry": "'long'", "processes": "-1"},
                "workers_queue_unknown": {"queue": "shrot", "hint": "; did you mean short?"},
            },
        ),
        ({"long,fast": 1}, {"workers_queue_unknown": {"queue": "fast", "hint": ""}}),
        ({"at-rep1": 1}, {"workers_queue_of_server": {"queue": "at-rep1"}}),
        ({"a b": 1}, {"workers_without_queue": {"entry": "'a b'"}}),
        ({"long,short": 1, "short,long": 1, "placed,long": 2, "slow": 1}, {}),
        (7, {}),
        ("7", {}),
    ],
)
def test_workers_are_judged(fleet, settings, workers, wrong):
    place(fleet, {}, queues={"slow": {}})
    fleet[1]["background_workers"] = workers
    fleet[0]["background_workers"] = 3
    assert ids(fleet, settings) == list(wrong)
    for problem in job_problems(fleet, settings):
        assert problem["facts"] == {**problem["facts"], **wrong[problem["id"]], "hosts": ["rep1"]}
        assert "rep1" in problem["place"]


def test_same_mistake_on_two_hosts_is_one_problem(fleet, settings):
    for host in fleet[1:]:
        host["background_workers"] = {"fast": 1}
    assert facts(fleet, settings, "queue", "hosts", "known") == [
        (
            "workers_queue_unknown",
            "fast",
            ["rep1", "rep2"],
            ["short", "default", "long", "placed"],
        )
    ]


def test_queues_of_a_primary_that_was_not_seen_are_not_judged(fleet, settings):
    fleet[0]["survey"] = None
    fleet[1]["background_workers"] = {"fast": 1, "shrot": 1}
    assert facts(fleet, settings, "queue") == [("workers_queue_unknown", "shrot")]


def test_queue_without_workers(fleet, settings):
    place(fleet, {}, queues={"slow": {"timeout": 9}, "at-x": {}})
    fleet[0]["background_workers"] = {"short": 1, "long": 0}
    expected = [("queue_without_workers", queue) for queue in ("default", "long", "slow")]
    assert facts(fleet, settings, "queue") == expected
    assert "{default: 1}" in job_problems(fleet, settings)[0]["remedy"]
    fleet[2]["background_workers"] = {"default,long": 1}
    assert facts(fleet, settings, "queue") == expected[2:]
    fleet[2]["background_workers"] = 1
    assert ids(fleet, settings) == []


def test_a_misspelt_queue_is_one_problem(fleet, settings):
    fleet[0]["background_workers"] = {"shrot,default": 1, "long": "x"}
    assert ids(fleet, settings) == ["workers_not_counted", "workers_queue_unknown"]


def test_no_workers_at_all_is_one_problem(fleet, settings):
    for host in fleet:
        host["background_workers"] = 0
    place(fleet, {RUN: "rep1"})
    assert facts(fleet, settings, "hosts", "primary") == [
        ("workers_none", ["erp1", "rep1", "rep2"], "erp1")
    ]


def test_workers_of_half_a_fleet_are_not_judged(fleet, settings):
    fleet[0]["background_workers"] = 0
    assert ids(fleet[:2], settings) == []
    settings["groups"]["primary"] = []
    assert ids(fleet, settings) == []


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (None, True),
        (10, True),
        ("3600", True),
        (60.5, True),
        (9.9, False),
        (3601, False),
        ("x", True),
    ],
)
def test_time_after_which_a_server_is_away(fleet, settings, value, good):
    for host in fleet[:2]:
        host["away_seconds"] = value
    wrong = ("away_seconds_out_of_bounds", value, ["erp1", "rep1"], 10, 3600)
    found = facts(fleet, settings, "seconds", "hosts", "least", "greatest")
    assert found == ([] if good else [wrong])


def test_workers_for_placed_jobs_that_have_none(fleet, settings):
    fleet[0]["background_workers"] = {"placed,long,default,short": 1}
    (warning,) = workers.job_warnings(fleet, settings)
    assert "rep1" in warning
    place(fleet, {RUN: "reporting"})
    assert workers.job_warnings(fleet, settings) == []


def test_many_problems_come_together(fleet, settings):
    place(
        fleet,
        {"no name": "rep1", RUN: "rep3", "frappe.*": "idle", "frappe.x.*": "rep1"},
        matches={RUN: [], "frappe.*": ["frappe.x.y"], "frappe.x.*": ["frappe.x.y"]},
        overlaps=[{"entries": ["frappe.*", "frappe.x.*"], "example": "frappe.x.y", "count": 1}],
    )
    fleet[0]["background_workers"] = {"short,long": 1}
    fleet[1]["background_workers"] = {"placd": 1}
    fleet[2]["away_seconds"] = 1
    assert sorted(ids(fleet, settings)) == [
        "away_seconds_out_of_bounds",
        "group_without_placed_workers",
        "job_placed_twice",
        "placement_job_malformed",
        "placement_job_unknown",
        "placement_server_unknown",
        "queue_without_workers",
        "workers_queue_unknown",
    ]


def test_filters_are_offered():
    names = jobs.FilterModule().filters()
    assert {"queue_name", "job_queues", "placed_queues", "worker_programs"} <= set(names)
    assert {"worker_count", "programs_count", "job_problems", "job_warnings"} <= set(names)
    assert "job_name_problems" in names


@pytest.mark.parametrize("name", ["group_vars/all.yml", "group_vars/all/jobs.yml", "hosts.yml"])
def test_an_entry_that_is_written_twice_is_found_where_it_is(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    lines = ["secret: !vault x", "jobs_placement:", "  a.b: rep1", "  c.d: rep1", "  a.b: rep2"]
    if name == "hosts.yml":
        lines = ["all:", "  vars:", *(f"    {line}" for line in lines)]
    place.write_text("\n".join(lines) + "\n")
    (tmp_path / "hosts.py").write_text("print('{')")
    first = 5 if name == "hosts.yml" else 3
    for source in (tmp_path, tmp_path / "hosts.py"):
        if name == "hosts.yml" and source != tmp_path:
            continue
        (found,) = placement.check_written_twice([], {"inventory": f"/nowhere, {source}"})
        assert found["id"] == "placement_entry_twice"
        where = {"path": str(place), "lines": [first, first + 2]}
        assert found["facts"] == {"job": "a.b", "number": 2, **where}


def test_the_primary_can_only_take_jobs_that_it_has_workers_for(fleet, settings):
    fleet[0]["background_workers"] = {"long": 1, "placed": 1}
    fleet[1]["background_workers"] = 2
    assert ids(fleet, settings) == []
    place(fleet, {RUN: "rep1"})
    assert facts(fleet, settings, "primary", "queues") == [
        ("primary_lacks_queues", "erp1", ["short", "default"])
    ]
    fleet[0]["when_away"] = "wait"
    assert ids(fleet, settings) == []
