"""Queues of placed jobs, worker programs, and every check of where jobs shall run."""

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


def test_heavy_jobs_are_any_reporting_nodes_unless_an_entry_means_them():
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
    ("workers", "words"),
    [
        (-1, "is -1, neither a whole number"),
        (True, "is True, neither"),
        (1.5, "is 1.5, neither"),
        ("{long: 1}", "neither a whole number of 0 or more nor a map: write a number of processes"),
        (None, "is None, neither"),
        (["long"], "neither"),
        ({"long": -1}, "has -1 processes for 'long': write a whole number of 0 or more"),
        ({"long": True}, "has True processes"),
        ({"long,": 1}, "an entry 'long,', which names no queue: write one queue"),
        ({"": 1}, "an entry '', which"),
        ({"a b": 1}, "an entry 'a b', which"),
        ({3: 1}, "an entry 3, which"),
        ({"a,b": 1, "a, b": 2}, "names the same queues twice: 'a,b', 'a, b': make one"),
    ],
)
def test_malformed_workers_are_refused_with_a_remedy(workers, words):
    for function in (
        lambda: queues.worker_programs(workers, []),
        lambda: queues.worker_count(workers),
    ):
        with pytest.raises(ValueError, match="bench_background_workers") as raised:
            function()
        assert words in str(raised.value)


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
    """A host about whose jobs nothing was said."""
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


def whats(fleet: list[dict], settings: dict) -> list[str]:
    """What is wrong, without place and remedy; each problem must have both."""
    problems = job_problems(fleet, settings)
    for found in problems:
        assert set(found) == {"what", "place", "remedy"}
        assert all(found.values())
    return [found["what"] for found in problems]


def test_nothing_said_is_no_problem(fleet, settings):
    settings["inventory"] = str(Path(__file__).parents[2] / "inventory/example")
    assert whats(fleet, settings) == []
    assert job_problems([], settings) == []
    alone = {**settings, "groups": {"primary": ["erp1"], "all": ["erp1"]}}
    assert whats([a_host("erp1", "primary")], alone) == []


@pytest.mark.parametrize("server", ["rep1", "reporting", "erp1", "primary", "all"])
@pytest.mark.parametrize("job", [RUN, "erpnext.*", "*.run", "a.b[cd]?", "a.B.c", "[!f]*", "*"])
def test_placement_in_order(fleet, settings, job, server):
    place(fleet, {job: server})
    assert whats(fleet, settings) == []


@pytest.mark.parametrize("value", ["rep1", [RUN], None, 3])
def test_placement_that_is_no_map(fleet, settings, value):
    place(fleet, value)
    assert whats(fleet, settings) == [f"jobs_placement is {value!r}, not a map"]


def test_placement_that_differs_between_hosts(fleet, settings):
    place(fleet, {RUN: "rep1"})
    fleet[2]["placement"] = {}
    # Told with all that the fleet must agree on (test_agreement.py).
    assert whats(fleet, settings) == []


@pytest.mark.parametrize(
    "job", ["", " ", "a b.c", "a.b ", "run", "a..b", ".a", "a.b()", 7, "a.[bc", "a.b,c.d", "a/*"]
)
def test_key_that_is_no_name_and_no_pattern(fleet, settings, job):
    place(fleet, {job: "rep1"})
    assert whats(fleet, settings) == [
        f"{job!r} in jobs_placement is neither the dotted name of a job nor a pattern"
    ]


def test_scheduled_server_script_has_no_dots(fleet, settings):
    place(
        fleet,
        {"send_letters_daily": "rep1"},
        matches={"send_letters_daily": ["send_letters_daily"]},
    )
    assert whats(fleet, settings) == []
    # Nobody could look.
    place(
        fleet, {"send_letters_daily": "rep1"}, matches={"send_letters_daily": []}, scheduled=False
    )
    assert whats(fleet, settings) == []
    fleet[0]["survey"] = None
    assert whats(fleet, settings) == []


@pytest.mark.parametrize("server", [["rep1", "rep2"], "", " ", None, 7])
def test_server_that_is_no_text(fleet, settings, server):
    place(fleet, {RUN: server})
    assert whats(fleet, settings) == [
        f"{RUN!r} is placed on {server!r}, which is no name of a server"
    ]
    remedy = job_problems(fleet, settings)[0]["remedy"]
    assert ("make a group of them" in remedy) is isinstance(server, list)


def test_server_that_does_not_exist(fleet, settings):
    place(fleet, {RUN: "rep11", "a.b": "rep11", "c.d": "nowhere"})
    assert whats(fleet, settings) == [
        "'rep11' in jobs_placement is neither a host nor a group of the inventory;"
        " did you mean rep1?",
        "'nowhere' in jobs_placement is neither a host nor a group of the inventory",
    ]
    found = job_problems(fleet, settings)[0]
    assert found["place"] == f"jobs_placement in the inventory, {RUN!r} and 1 more"
    assert "erp1, rep1, rep2" in found["remedy"]


def test_server_without_a_bench(fleet, settings):
    settings["groups"]["all"].append("db9")
    place(fleet, {"a.b": "db9", "c.d": "databases", "e.f": "empty"})
    assert whats(fleet, settings) == [
        "db9 has no bench, and jobs are placed on it",
        "databases is a group of hosts without a bench, and jobs are placed on it",
        "empty is a group of hosts without a bench, and jobs are placed on it",
    ]


def test_bench_of_a_host_in_the_groups_of_the_roles_alone(fleet, settings):
    settings["groups"]["bench_reporting"] = settings["groups"].pop("reporting")
    place(fleet, {"a.b": "rep1"})
    assert whats(fleet, settings) == []


def test_servers_with_one_queue(fleet, settings):
    settings["groups"].update({"a+b": ["rep1"], "a=b": ["rep1"]})
    place(fleet, {"a.b": "a+b", "c.d": "a=b"})
    assert whats(fleet, settings) == [
        "a+b and a=b would share the queue at-a-b: jobs of one would run on the other"
    ]


def test_a_host_with_the_name_of_the_queue_of_heavy_jobs(fleet, settings):
    settings["groups"]["heavy"] = ["rep1"]
    place(fleet, {"a.b": "heavy"})
    (found,) = whats(fleet, settings)
    assert found.startswith("the reporting nodes as a whole (jobs_heavy) and heavy would share")
    for host in fleet:
        host["heavy"] = "primary"
    assert whats(fleet, settings) == []


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
    expected = f"{RUN!r} and 1 more are placed on rep2, which has no workers for placed jobs"
    assert whats(fleet, settings) == ([] if served else [expected])
    if not served:
        found = job_problems(fleet, settings)[0]
        assert found["place"] == "bench_background_workers in the inventory, for rep2"
        assert "bench_background_workers: {placed: 1}" in found["remedy"]


def test_workers_for_jobs_placed_on_a_group(fleet, settings):
    place(fleet, {RUN: "reporting"})
    assert whats(fleet, settings) == []
    fleet[1]["background_workers"] = 0
    assert whats(fleet, settings) == [
        f"{RUN!r} is placed on reporting, and none of its hosts (rep1, rep2) has workers for "
        "placed jobs"
    ]
    place(fleet, {RUN: "idle"})
    assert "none of its hosts (rep2)" in whats(fleet, settings)[0]


def test_placed_on_the_primary_whose_workers_are_of_other_queues(fleet, settings):
    fleet[0]["background_workers"] = {"long,default,short": 2}
    place(fleet, {RUN: "primary"})
    assert "none of its hosts (erp1)" in whats(fleet, settings)[0]


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
    assert whats(fleet, settings) == [
        f"no installed app has a job {RUN!r}; did you mean erpnext.stock.reposting.rum, x.y?",
        "the pattern 'erpnext.x.*' in jobs_placement matches no job of the installed apps",
        "no installed app has a job 'a.b'",
    ]


def test_jobs_of_an_app_that_this_run_installs(fleet, settings):
    place(
        fleet,
        {"hrms.pay.run": "rep1", "*.pay": "rep1", "erpnext.pay.run": "rep1"},
        matches={"hrms.pay.run": [], "*.pay": [], "erpnext.pay.run": []},
    )
    assert len(whats(fleet, settings)) == 3
    fleet[0]["apps"] = [{"name": "erpnext"}, {"name": "hrms"}, {}, "hrms"]
    assert whats(fleet, settings) == ["no installed app has a job 'erpnext.pay.run'"]


def test_names_are_not_judged_without_a_bench(fleet, settings):
    place(fleet, {RUN: "rep1", "x.*": "rep1"})
    assert whats(fleet, settings) == []
    fleet[0]["survey"] = None
    assert whats(fleet, settings) == []


@pytest.mark.parametrize(
    ("placement", "who"),
    [
        ({"erpnext.*": "rep1", RUN: "rep1"}, f"{RUN} has"),
        ({RUN: "rep1", "*.r?n": "reporting"}, f"{RUN} has"),
        ({"erpnext.stock.*": "rep1", "erpnext.*": "rep1"}, "every job of 'erpnext.stock.*' has"),
        ({"*": "rep1", "a.[bc]?": "rep1"}, "every job of 'a.[bc]?' has"),
    ],
)
def test_two_entries_for_a_job_by_the_entries_alone(fleet, settings, placement, who):
    place(fleet, placement)
    (one, at), (other, on) = placement.items()
    assert whats(fleet, settings) == [
        f"{who} two entries in jobs_placement: {one!r} on {at} and {other!r} on {on}"
    ]


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
    assert whats(fleet, settings) == []


@pytest.mark.parametrize(
    ("count", "who"),
    [(1, "a.x has"), (2, "a.x and 1 more job have"), (9, "a.x and 8 more jobs have")],
)
def test_two_patterns_for_a_job_by_what_the_bench_has(fleet, settings, count, who):
    entries = ["a.*", "*.x"]
    place(
        fleet,
        dict.fromkeys(entries, "rep1"),
        matches={entry: ["a.x"] for entry in entries},
        overlaps=[{"entries": entries[::-1], "example": "a.x", "count": count}],
    )
    assert whats(fleet, settings) == [
        f"{who} two entries in jobs_placement: 'a.*' on rep1 and '*.x' on rep1"
    ]


def test_names_can_be_judged_after_the_first_run():
    found = job_name_problems({RUN: "rep1"}, {**BARE, "known": True, "matches": {RUN: []}})
    assert [problem["what"] for problem in found] == [f"no installed app has a job {RUN!r}"]
    assert job_name_problems({RUN: "rep1"}, BARE) == []


@pytest.mark.parametrize(
    ("workers", "whats_wrong"),
    [
        (-1, ["bench_background_workers is -1, neither a whole number of 0 or more nor a map"]),
        (None, ["bench_background_workers is None, neither a whole number of 0 or more nor a map"]),
        (
            {"long": -1, "shrot": 1},
            ["has -1 processes", "unknown queue 'shrot'; did you mean short"],
        ),
        ({"long,fast": 1}, ["unknown queue 'fast'"]),
        ({"at-rep1": 1}, ["names the queue 'at-rep1'"]),
        ({"a b": 1}, ["an entry 'a b', which names no queue"]),
        ({"long,short": 1, "short,long": 1, "placed,long": 2, "slow": 1}, []),
        (7, []),
        ("7", []),
    ],
)
def test_workers_are_judged(fleet, settings, workers, whats_wrong):
    place(fleet, {}, queues={"slow": {}})
    fleet[1]["background_workers"] = workers
    fleet[0]["background_workers"] = 3
    found = whats(fleet, settings)
    assert len(found) == len(whats_wrong)
    for text, wanted in zip(found, whats_wrong, strict=True):
        for part in wanted.split("; "):
            assert part in text
    for problem in job_problems(fleet, settings):
        assert problem["place"] == "bench_background_workers in the inventory, for rep1"


def test_same_mistake_on_two_hosts_is_one_problem(fleet, settings):
    for host in fleet[1:]:
        host["background_workers"] = {"fast": 1}
    found = job_problems(fleet, settings)
    assert [f["place"] for f in found] == [
        "bench_background_workers in the inventory, for rep1, rep2"
    ]
    assert found[0]["remedy"].startswith("known are short, default, long, placed;")


def test_queues_of_a_primary_that_nobody_saw_are_not_judged(fleet, settings):
    fleet[0]["survey"] = None
    fleet[1]["background_workers"] = {"fast": 1, "shrot": 1}
    assert whats(fleet, settings) == [
        "unknown queue 'shrot' in bench_background_workers; did you mean short?"
    ]


def test_queue_without_workers(fleet, settings):
    place(fleet, {}, queues={"slow": {"timeout": 9}, "at-x": {}})
    fleet[0]["background_workers"] = {"short": 1, "long": 0}
    expected = [
        f"no host has workers for the queue {queue}: its jobs would wait forever"
        for queue in ("default", "long", "slow")
    ]
    assert whats(fleet, settings) == expected
    assert "{default: 1}" in job_problems(fleet, settings)[0]["remedy"]
    fleet[2]["background_workers"] = {"default,long": 1}
    assert whats(fleet, settings) == expected[2:]
    fleet[2]["background_workers"] = 1
    assert whats(fleet, settings) == []


def test_what_was_meant_is_not_missed_too(fleet, settings):
    fleet[0]["background_workers"] = {"shrot,default": 1, "long": "x"}
    assert [text.partition(" in ")[0].partition(" for ")[0] for text in whats(fleet, settings)] == [
        "bench_background_workers has 'x' processes",
        "unknown queue 'shrot'",
    ]


def test_no_workers_at_all_is_one_problem(fleet, settings):
    for host in fleet:
        host["background_workers"] = 0
    place(fleet, {RUN: "rep1"})
    found = job_problems(fleet, settings)
    assert [f["what"] for f in found] == ["no host has background workers: no job would ever run"]
    assert found[0]["place"].endswith("for erp1, rep1, rep2")
    assert found[0]["remedy"].startswith("give erp1 some")


def test_half_a_fleet_says_nothing_about_its_workers(fleet, settings):
    fleet[0]["background_workers"] = 0
    assert whats(fleet[:2], settings) == []
    settings["groups"]["primary"] = []
    assert whats(fleet, settings) == []


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
    found = job_problems(fleet, settings)
    assert [f["what"] for f in found] == (
        [] if good else [f"jobs_away_seconds is {value}: it takes 10 to 3600 seconds"]
    )
    assert all(f["place"] == "jobs_away_seconds in the inventory, for erp1, rep1" for f in found)


def test_workers_for_placed_jobs_that_have_none(fleet, settings):
    fleet[0]["background_workers"] = {"placed,long,default,short": 1}
    assert [text.partition(" has ")[0] for text in workers.job_warnings(fleet, settings)] == [
        "bench_background_workers of rep1"
    ]
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
    found = whats(fleet, settings)
    for words in (
        "'no name' in jobs_placement is neither",
        "'rep3' in jobs_placement is neither a host nor a group",
        f"no installed app has a job {RUN!r}",
        "frappe.x.y has two entries",
        "unknown queue 'placd' in bench_background_workers; did you mean placed?",
        "no host has workers for the queue default",
        "'frappe.*' is placed on idle",
        "jobs_away_seconds is 1",
    ):
        assert sum(words in text for text in found) == 1, words
    assert len(found) == 8


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
        assert found["what"] == "a.b has 2 entries in jobs_placement"
        assert found["place"] == f"{place}, lines {first}, {first + 2}"


def test_the_primary_can_only_take_jobs_that_it_has_workers_for(fleet, settings):
    fleet[0]["background_workers"] = {"long": 1, "placed": 1}
    fleet[1]["background_workers"] = 2
    assert whats(fleet, settings) == []
    place(fleet, {RUN: "rep1"})
    (found,) = whats(fleet, settings)
    assert "erp1 has no workers for the queues short, default: nobody would take" in found
    fleet[0]["when_away"] = "wait"
    assert whats(fleet, settings) == []
