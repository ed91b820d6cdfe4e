"""What Benchfleet asks of a bench's Frappe, on the shapes that Frappe's releases have."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchfleet_jobs import contract
from fleet.bench import jobs_tool

from benchfleet.lab import framework

ROOT = Path(__file__).resolve().parents[2]
ME = pwd.getpwuid(os.geteuid()).pw_name

GIVEN = {
    "socket": None,
    "host": "10.0.0.2",
    "user": "_db_ro",
    "password": "secret",
    "port": 3306,
    "cur_db_name": "_db",
}
# Constructors of Frappe's Database class; see docs of the releases named.
SHAPES = {
    "14": "host=None, user=None, password=None, ac_name=None, use_default=0, port=None",
    "15.44": "host=None, user=None, password=None, port=None, cur_db_name=None",
    "15, a fork": "host=None, user=None, password=None, port=None, cur_db_name=None, socket=None",
    "16": "socket=None, host=None, user=None, password=None, port=None, cur_db_name=None",
}
FOREIGN = "tenant, host=None, user=None, password=None, port=None, cur_db_name=None"


def module_of(code: str, name: str = "looked_at") -> ModuleType:
    """A module with this code."""
    module = ModuleType(name)
    exec(code, vars(module))
    return module


def database(parameters: str) -> ModuleType:
    """A module with a Database class whose constructor has these parameters."""
    kept = "    def __init__(self, {0}):\n        self.told = locals()\n"
    return module_of("class Database:\n" + kept.format(parameters))


@pytest.mark.parametrize("release", SHAPES)
def test_a_database_object_gets_the_arguments_that_its_release_has(release: str) -> None:
    module = database(SHAPES[release])
    assert contract.connects("Database")(module) is None
    cls: Any = module.Database
    told = cls(**contract.accepted(cls, GIVEN)).told
    for name, value in GIVEN.items():
        assert told.get(name) == value or name not in SHAPES[release]
    assert told["host"] == "10.0.0.2"


@pytest.mark.parametrize(
    ("parameters", "seen"),
    [
        (FOREIGN, "missing a required argument: 'tenant'"),
        ("dsn=None, password=None", "host, user, port"),
    ],
)
def test_a_constructor_that_takes_other_arguments_is_a_misfit(parameters: str, seen: str) -> None:
    words = contract.connects("Database")(database(parameters))
    assert words is not None
    assert words.startswith("Database ")
    assert seen in words


def test_calls_and_names_are_looked_for() -> None:
    module = module_of(
        "def order(method, **kwargs):\n"
        "    def put():\n"
        "        return queue.enqueue_call(method, kwargs=kwargs, meta={'site': 1})\n"
        "    return put\n"
        "def bare(method): pass\n"
        "count = 3\n"
    )
    assert contract.takes("order", 1, "now")(module) is None
    assert contract.mentions("order", "enqueue_call", "meta", "site")(module) is None
    assert "unexpected keyword argument 'now'" in str(contract.takes("bare", 1, "now")(module))
    assert contract.mentions("bare", "meta", "method")(module) == "bare does not use meta"
    assert contract.takes("gone.where")(module) == "there is no gone.where"
    assert contract.takes("count")(module) == "count is not a function"
    assert contract.has("order", "gone")(module) == "there is no gone"


def test_a_module_that_does_not_fit_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        contract.Requirement("guard", "looked_at", contract.connects("Database")),
        contract.Requirement("guard", "not.there", contract.has("x"), optional=True),
        contract.Requirement("jobs", "not.there", contract.has("x")),
    )
    monkeypatch.setattr(contract, "REQUIREMENTS", table)
    monkeypatch.setitem(__import__("sys").modules, "looked_at", database(FOREIGN))
    contract.misfits.cache_clear()
    (words,) = contract.misfits("guard")
    assert words.startswith("guard: ")
    assert re.search(r"\blooked_at, Database .*: self, tenant,", words)
    assert contract.unmet("guard", database(FOREIGN)) == [words]
    (words,) = contract.misfits("jobs")
    assert words.startswith("jobs: ")
    assert re.search(r" not\.there .*: ModuleNotFoundError: ", words)
    assert not contract.fits("guard", "files")
    assert contract.fits("files", "scheduler")
    contract.misfits.cache_clear()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('{"misfits": []}', []),
        ('{"misfits": ["guard: \\u001b[31mred", 7]}', ["guard: [31mred", "7"]),
        ('{"misfits": "words"}', None),
        ('{"misfits": {"a": 1}}', None),
        ("[]", None),
        ("[" * 100_000, None),
        ("no json", None),
    ],
)
def test_the_answer_of_a_bench_is_not_trusted(tmp_path: Path, said: str, shown: Any) -> None:
    """Its Python is the bench account's, and could print anything."""
    (tmp_path / "said").write_text(f"{said}\n")
    python = tmp_path / "env/bin/python"
    for folder in (python.parent, tmp_path / "sites"):
        folder.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ncat {tmp_path}/said\n")
    python.chmod(0o755)
    found = jobs_tool.fit(str(tmp_path), ME, "/nowhere", True)
    assert found.known is (shown is not None)
    assert found.misfits == shown if found.known else len(found.misfits) == 1


def test_every_requirement_is_of_a_part_with_a_consequence() -> None:
    assert {requirement.part for requirement in contract.REQUIREMENTS} <= set(contract.PARTS)


# Of the demo's libraries, as much as its modules touch while they are imported.
LIBRARIES = {
    "werkzeug/__init__.py": "",
    "werkzeug/local.py": """
        class Local:
            def __call__(self, name):
                return None

        def release_local(local):
            vars(local).clear()
        """,
    "redis/__init__.py": """
        class Redis:
            def execute_command(self, *args, **options):
                pass
        """,
    "rq/__init__.py": """
        from rq.queue import Queue
        from rq.worker import Worker
        get_current_job = None
        """,
    "rq/queue.py": """
        class Job:
            id = "1"

        class Queue:
            def __init__(self, name="default", connection=None, is_async=True, **options):
                self.name, self.connection, self._is_async = name, connection, is_async

            def enqueue_call(self, func, args=None, kwargs=None, meta=None, **options):
                print(self.name)
                return Job
        """,
    "rq/worker.py": """
        class Worker:
            def work(self):
                print("works")

            def execute_job(self, job, queue):
                pass
        """,
    "rq/job.py": "Job = None",
    "rq/exceptions.py": "NoSuchJobError = KeyError",
    "MySQLdb/__init__.py": """
        class Error(Exception):
            pass

        ProgrammingError = OperationalError = InternalError = Error
        IntegrityError = InterfaceError = DataError = Error
        """,
    "MySQLdb/cursors.py": "SSCursor = None",
}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the libraries."""
    folder = tmp_path_factory.mktemp("libraries")
    for name, text in LIBRARIES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


@pytest.fixture(params=["15", "16"])
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The demo in one of its shapes."""
    folder = tmp_path / "demo"
    if request.param == "16":
        return framework.shape_16(folder)
    return Path(shutil.copytree(framework.DEMO, folder))


@pytest.fixture
def demo_15(tmp_path: Path) -> Path:
    """The demo as it is, to be changed."""
    return Path(shutil.copytree(framework.DEMO, tmp_path / "demo"))


def in_bench(demo: Path, libraries: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a bench with the demo would."""
    packages = [ROOT / f"roles/{role}/files" for role in ("jobs", "read_guard")]
    path = os.pathsep.join(map(str, [libraries, demo, *packages]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=demo.parent, env=environment, capture_output=True, text=True, check=True
    )


def misfits_of(demo: Path, libraries: Path) -> list[str]:
    """What the bench's own check tells."""
    done = in_bench(demo, libraries, "-m", "benchfleet_jobs", "contract", "guard")
    return list(json.loads(done.stdout)["misfits"])


def replace(file: Path, old: str, new: str) -> None:
    """Change a file of the demo."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_demo_fits_in_both_its_shapes(demo: Path, libraries: Path) -> None:
    assert misfits_of(demo, libraries) == []


# What a release may do otherwise: (file, old text, new text, part, what is told of it).
CHANGES = (
    (
        "database/database.py",
        "self,\n            host: str",
        "self,\n            tenant: str,\n            host: str",
        "guard",
        "missing a required argument: 'tenant'",
    ),
    (
        "database/database.py",
        "def begin(self, *, read_only",
        "def begin(self, *, only",
        "guard",
        "MariaDBDatabase.begin takes other arguments: self, only=False",
    ),
    (
        "utils/background_jobs.py",
        "kwargs: dict[str, Any] | None",
        "given: dict[str, Any] | None",
        "jobs",
        "execute_job takes other arguments",
    ),
    (
        "utils/background_jobs.py",
        "def get_queues_timeout",
        "def timeouts",
        "jobs",
        "there is no get_queues_timeout",
    ),
    ("__init__.py", "primary_db", "first_db", "files", "read_only does not use primary_db"),
    (
        "core/doctype/scheduled_job_type/scheduled_job_type.py",
        "is_job_in_queue",
        "is_queued",
        "scheduler",
        "there is no ScheduledJobType.is_job_in_queue",
    ),
    (
        "core/doctype/prepared_report/prepared_report.py",
        "generate_report_result",
        "make_result",
        "reports",
        "there is no generate_report_result",
    ),
    ("handler.py", "return frappe.call(", "return run(", "reads", "execute_cmd does not use call"),
    (
        "__init__.py",
        "conf.replica_db_name",
        "conf.replica_user",
        "config",
        "connect_replica does not use replica_db_name",
    ),
)


def test_what_another_release_does_differently_is_reported(demo_15: Path, libraries: Path) -> None:
    for file, old, new, _part, _seen in CHANGES:
        replace(demo_15 / "frappe" / file, old, new)
    replace(demo_15 / "frappe/desk/query_report.py", "generate_report_result", "make_result")
    found = misfits_of(demo_15, libraries)
    for *_, part, seen in CHANGES:
        told = [words for words in found if words.startswith(f"{part}: ") and seen in words]
        assert told, (part, seen, found)
        # What becomes of a part is said the same way each time.
        assert len({words.partition("; so ")[2] for words in told}) == 1
        assert all(words.partition("; so ")[2] for words in told)


TRY_GUARD = """
import json, os, pathlib
settings = dict(node="rep1", primary="erp1", state_dir=".", policy="primary", wait=0.5,
                fallback_calls=1, fallback_seconds=1, health=None, reports_pool=False,
                reads=["frappe.desk.search.search_link"])
pathlib.Path("guard.json").write_text(json.dumps(settings))
os.environ["BENCHFLEET_READ_GUARD"] = "guard.json"
from benchfleet_guard.install import install
install()
import frappe
frappe.local.conf = frappe.config.Config(replica_host="10.0.0.2", db_user="db", db_name="db")
frappe.local.form_dict = {"cmd": "report.run"}
frappe.local.db = given = CURRENT
print(json.dumps([frappe.connect_replica(), frappe.local.db is given]))
"""


def test_a_guard_that_does_not_fit_leaves_calls_on_the_primary(
    demo_15: Path, libraries: Path
) -> None:
    replace(
        demo_15 / "frappe/database/database.py",
        "self,\n            host",
        "self,\n            tenant,\n            host",
    )
    done = in_bench(demo_15, libraries, "-c", TRY_GUARD.replace("CURRENT", "object()"))
    assert json.loads(done.stdout) == [False, True]
    assert "MariaDBDatabase takes other arguments" in done.stderr
    assert "so all calls stay on the primary" in done.stderr


TRY_READS = """
import frappe.handler
from frappe.desk import search
whitelisted, begun = set(frappe.whitelisted), []
frappe.local.conf = frappe.config.Config(read_from_replica=1)
frappe.connect_replica = lambda: begun.append(1)
def called(function, request):
    frappe.local.request, before = request, len(begun)
    answer = frappe.call(function, doctype="ToDo", txt="x", cmd="given by the request")
    return [answer, len(begun) - before]
search.check = search.model.get_list = lambda *words, **more: []
def other(txt): return txt
search_link = frappe.get_attr("frappe.desk.search.search_link")
print(json.dumps([called(search_link, object()), called(search_link, None), called(other, object()),
                  search_link in whitelisted == set(frappe.whitelisted)]))
"""


def test_a_method_that_only_reads_is_guarded_in_a_request_and_whitelisted_as_ever(
    demo: Path, libraries: Path
) -> None:
    given = TRY_GUARD.partition("import frappe\n")[0]
    done = in_bench(demo, libraries, "-c", given + TRY_READS)
    assert json.loads(done.stdout) == [[[], 1], [[], 0], ["x", 0], True]
    assert done.stderr == ""


def test_a_frappe_that_calls_methods_otherwise_is_left_as_it_is(
    demo_15: Path, libraries: Path
) -> None:
    replace(demo_15 / "frappe/handler.py", "return frappe.call(", "return run(")
    given = TRY_GUARD.partition("import frappe\n")[0]
    done = in_bench(demo_15, libraries, "-c", given + TRY_READS)
    assert json.loads(done.stdout) == [[[], 0], [[], 0], ["x", 0], True]
    assert "so methods that the inventory adds read from the primary" in done.stderr


def test_a_fault_of_the_guard_s_own_costs_no_call_its_answer(demo: Path, libraries: Path) -> None:
    current = "type('Odd', (), {'__init__': lambda self, **given: {}['fault']})"
    current = f"object.__new__({current})"
    done = in_bench(demo, libraries, "-c", TRY_GUARD.replace("CURRENT", current))
    assert json.loads(done.stdout) == [False, True]
    assert "KeyError: 'fault'" in done.stderr
    counts = json.loads((demo.parent / "counts.json").read_text())["fallbacks"]["fault"]
    assert (counts["count"], counts["method"]) == (1, "report.run")
    assert "KeyError" in counts["message"]


TRY_JOBS = """
import json, pathlib, sys
from benchfleet_jobs import placement, presence
primary = sys.argv[1] == "primary"
settings = dict(node="rep1", primary=primary, bench=".", placement={"shop.count": "at-rep1"},
                away_seconds=30, when_away="wait", drained=(), site_sync="")
pathlib.Path("jobs.json").write_text(json.dumps(settings))
placement.note_given = lambda *_: None
presence._announced.__globals__["_rest"] = lambda: sys.exit("rests")
placement.install("jobs.json")
presence.install("jobs.json")
from rq.queue import Queue
from rq.worker import Worker
job = dict(method="shop.count", kwargs={})
Queue("bench:long").enqueue_call("frappe.utils.background_jobs.execute_job", kwargs=job)
if not primary:
    Worker().work()
"""


def test_jobs_that_fit_are_placed(demo_15: Path, libraries: Path) -> None:
    assert in_bench(demo_15, libraries, "-c", TRY_JOBS, "primary").stdout == "bench:at-rep1\n"


# What is asked for the jobs in one, for their files in the other.
@pytest.mark.parametrize(
    ("file", "old"), [("utils/background_jobs.py", "method:"), ("__init__.py", "primary_db")]
)
def test_jobs_that_do_not_fit_are_all_done_on_the_primary(
    demo_15: Path, libraries: Path, file: str, old: str
) -> None:
    replace(demo_15 / "frappe" / file, old, f"other_{old}")
    assert in_bench(demo_15, libraries, "-c", TRY_JOBS, "primary").stdout == "bench:long\n"
    with pytest.raises(subprocess.CalledProcessError) as error:
        in_bench(demo_15, libraries, "-c", TRY_JOBS, "node")
    assert error.value.stderr.endswith("rests\n")
    assert error.value.stdout == "bench:long\n"
