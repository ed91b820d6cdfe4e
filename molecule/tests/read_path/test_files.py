"""Files that a reporting node has not copied yet are read there as on the primary."""

from __future__ import annotations

import json
import shlex
import urllib.parse
import uuid
from collections.abc import Iterator

import pytest
from calls import METHOD, RUN, Somebody
from failures import Field, drained
from fleet.http import Answer, Visitor
from nodes import Node, wait_until

REPORT = "Stock Balance"
PREPARED = "frappe.core.doctype.prepared_report.prepared_report.make_prepared_report"
SYNC = "frappe.core.doctype.duckdb_sync.duckdb_sync.start_data_sync"
# Requests a file from the node's service as the bench's processes do, and prints the seconds.
ASK = """
import os, socket, time
began = time.monotonic()
with socket.socket(socket.AF_UNIX) as service:
    service.connect("/run/benchfleet-files")
    service.sendall(os.fsencode({name!r}))
    service.shutdown(socket.SHUT_WR)
    print(service.recv(64).decode(), time.monotonic() - began)
"""


@pytest.fixture(autouse=True)
def uncopied(field: Field, alone: None) -> Iterator[None]:
    """Copies are off on the node that answers, so all its files were requested."""
    try:
        # The standby also copies files when they change.
        field.node.run("systemctl stop cron 'benchfleet-changes*'")
        field.node.run("while pgrep --full '^/usr/bin/python3 .*/site-sync$'; do sleep 0.1; done")
        yield
    finally:
        field.node.run("systemctl start --all cron 'benchfleet-changes*'")


@pytest.fixture
def made_elsewhere(field: Field) -> Iterator[None]:
    """The node does no heavy jobs, or it would have files that it made itself."""
    worker = f"supervisorctl {{}} {field.group}-at-heavy-worker:"
    field.node.run(worker.format("stop"))
    yield
    field.node.run(worker.format("start"))


@pytest.fixture
def errors(field: Field) -> Iterator[None]:
    """The test must not add a row to Error Log."""
    before = logged(field)
    yield
    assert logged(field) == before


def logged(field: Field) -> str:
    """Rows of Error Log."""
    return field.primary.sql(f"SELECT COUNT(*) FROM `{field.config['db_name']}`.`tabError Log`")


def folder(field: Field) -> str:
    """The site's private files."""
    return f"{field.bench}/sites/{field.site}/private/files"


def asked(field: Field, name: str) -> tuple[str, float]:
    """The answer of the node's service for a private file, and the seconds that it took."""
    script = ASK.format(name=f"{field.site}/private/files/{name}")
    words = field.node.run(f"runuser -u frappe -- python3 -c {shlex.quote(script)}").split()
    return words[0], float(words[1])


def prepare(field: Field, somebody: Somebody) -> str:
    """Have a report prepared; returns the Prepared Report's name, once its file is there."""
    form = {"report_name": REPORT, "filters": json.dumps({"token": uuid.uuid4().hex})}
    name = somebody.visitor.call("POST", METHOD + PREPARED, form=form).body["message"]["name"]
    rows = f"FROM `{field.config['db_name']}`.`tabPrepared Report` WHERE name = '{name}'"
    wait_until(
        "the report is prepared", lambda: field.primary.sql(f"SELECT status {rows}") == "Completed"
    )
    return name


def file_of(field: Field, name: str) -> str:
    """The file that a Prepared Report has, without its folder."""
    where = f"`{field.config['db_name']}`.tabFile WHERE attached_to_name = '{name}'"
    return field.primary.sql(f"SELECT file_url FROM {where}").rpartition("/")[2]


def shown(visitor: Visitor, name: str) -> Answer:
    """The call by which the desk shows a prepared report, as a POST, so that its log is kept."""
    filters = json.dumps({"prepared_report_name": name})
    return visitor.call("POST", METHOD + RUN, form={"report_name": REPORT, "filters": filters})


def is_there(node: Node, path: str) -> bool:
    """Whether a file lies on a node."""
    return node.run(f"test -e {path} && echo yes || true") == "yes"


@pytest.mark.usefixtures("made_elsewhere")
def test_a_prepared_report_is_right_at_once_on_a_node_that_has_not_copied_it(
    field: Field, somebody: Somebody, errors: None
):
    field.primary.run(
        f"cd {field.bench} && runuser -u frappe -- bench --site {field.site}"
        " execute frappe.demo.fill --kwargs \"{'rows': 1000}\""
    )
    unprepared = f"{METHOD}{RUN}?report_name={REPORT}&ignore_prepared_report=1"
    right = sorted(somebody.visitor.call("GET", unprepared).body["message"]["result"])
    assert right
    for _ in range(3):
        name = prepare(field, somebody)
        path = f"{folder(field)}/{file_of(field, name)}"
        assert is_there(field.primary, path)
        assert not is_there(field.node, path)
        answer = shown(somebody.visitor, name)
        assert (answer.status, answer.bench) == (200, field.node_name)
        assert sorted(answer.body["message"].get("result", [])) == right
        # Equal to the minute's copy, which then has nothing left to do.
        state = f"stat -c '%s %Y %a %U' {path}; md5sum {path}"
        assert field.node.run(state) == field.primary.run(state)
        # Reports of the same minute may have the same name.
        field.node.run(f"rm {path}")


def test_the_router_logs_a_slow_report_by_its_name(field: Field, somebody: Somebody):
    name = "Slow%20Report"
    filters = urllib.parse.quote(json.dumps({"seconds": 5}))
    query = f"report_name={name}&filters={filters}"
    assert somebody.visitor.call("GET", f"{METHOD}{RUN}?{query}").status == 200
    log = "/var/log/nginx/benchfleet-reports.log"

    def last() -> tuple[str, str, str]:
        line = json.loads(field.primary.run(f"tail -n 1 {log}") or "{}")
        return line.get("host"), line.get("path"), line.get("name")

    # nginx writes it after the answer.
    wait_until("it is logged", lambda: last() == (field.node_name, METHOD + RUN, name))
    assert field.primary.run(f"stat -c '%a %U' {log}") == "640 www-data"


@pytest.mark.usefixtures("made_elsewhere")
def test_a_report_whose_file_is_gone_is_answered_as_by_the_primary(
    field: Field, somebody: Somebody
):
    name = prepare(field, somebody)
    field.primary.run(f"rm {folder(field)}/{file_of(field, name)}")
    before = int(logged(field))
    answers = [shown(somebody.visitor, name)]
    with drained(field.primary, [field.node]):
        answers.append(shown(somebody.visitor, name))
    assert [answer.bench for answer in answers] == [field.node_name, field.primary.name]
    assert answers[0].status == answers[1].status == 200
    assert answers[0].body == answers[1].body
    assert "result" not in answers[0].body["message"]
    # Frappe itself logs each of the two.
    assert int(logged(field)) == before + 2


def test_what_the_primary_lacks_is_asked_for_once(field: Field):
    name = f"{uuid.uuid4().hex}.txt"
    assert asked(field, name)[0] == "missing"
    answer, seconds = asked(field, name)
    assert answer == "missing"
    assert seconds < 0.1


def test_a_file_that_the_primary_deleted_does_not_come_back(field: Field):
    name = f"{uuid.uuid4().hex}.txt"
    path = f"{folder(field)}/{name}"
    field.primary.run(f"runuser -u frappe -- sh -c 'echo content >{path}'")
    assert asked(field, name)[0] == "here"
    assert field.node.run(f"cat {path}") == "content"
    field.primary.run(f"rm {path}")
    field.node.run("/usr/local/lib/benchfleet/site-sync --wait 60")
    assert not is_there(field.node, path)
    assert asked(field, name)[0] == "missing"
    assert not is_there(field.node, path)


@pytest.mark.usefixtures("made_elsewhere")
def test_a_primary_that_says_nothing_costs_two_seconds_once(field: Field, somebody: Somebody):
    name = prepare(field, somebody)
    assert asked(field, f"{uuid.uuid4().hex}.txt")[0] == "missing"
    # Its sshd and the gates are stopped for a while, and our own commands use ssh, too.
    processes = "$(pgrep --full '[s]shd|[s]ync-gate')"
    script = f"sleep 1; kill -STOP {processes}; sleep 20; kill -CONT {processes}"
    unit = "systemd-run --quiet --collect --unit benchfleet-failure-gate"
    field.primary.run(f"{unit} sh -c {shlex.quote(script)}")
    answers: list[tuple[str, float]] = []

    def is_away() -> bool:
        answers.append(asked(field, f"{uuid.uuid4().hex}.txt"))
        return answers[-1][0] == "away"

    wait_until("the primary says nothing", is_away, 10)
    assert answers[-1][1] <= 2.1
    for _ in range(3):
        assert is_away()
        assert answers[-1][1] < 0.2
    # Its bench answers, and has the file.
    answer = shown(somebody.visitor, name)
    assert (answer.status, answer.bench) == (200, field.primary.name)
    assert "result" in answer.body["message"]
    lacking = f"{uuid.uuid4().hex}.txt"
    wait_until("the primary is asked again", lambda: asked(field, lacking)[0] == "missing")


def test_a_file_of_duckdb_stays_on_the_primary_with_its_report(
    field: Field, somebody: Somebody, errors: None
):
    form = {"doctype": "Stock Ledger Entry", "seconds": 6}
    sync = somebody.visitor.call("POST", METHOD + SYNC, form=form).body["message"]
    path = f"{folder(field)}/{sync['filename']}"
    synced = (
        f"SELECT synced FROM `{field.config['db_name']}`.`tabDuckDB Sync`"
        f" WHERE name = '{sync['name']}'"
    )
    wait_until("the file is being written", lambda: is_there(field.primary, path))
    field.node.run("/usr/local/lib/benchfleet/site-sync --wait 60")
    assert field.primary.sql(synced) == "0", "the copy was over before the file was whole"
    assert not is_there(field.node, path)
    wait_until("the file is whole", lambda: field.primary.sql(synced) == "1")
    rows = f"SELECT COUNT(*) FROM `{field.config['db_name']}`.`tabStock Ledger Entry`"
    entries = int(field.primary.sql(rows))
    report, user = {"report_name": "Stock Snapshot"}, somebody.visitor
    for answer in (
        user.call("GET", f"{METHOD}{RUN}?{urllib.parse.urlencode(report)}"),
        user.call("POST", METHOD + RUN, form=report),
    ):
        assert (answer.status, answer.bench) == (200, field.primary.name)
        assert sum(count for _, count in answer.body["message"]["result"]) == entries
    field.node.run("/usr/local/lib/benchfleet/site-sync --wait 60")
    assert not is_there(field.node, path)
    # The node answers other reports as before.
    assert somebody.report().place == (field.node_name, field.node_name)
