"""Files that jobs make on a reporting node are on the primary as soon as their rows are."""

from __future__ import annotations

import json
import urllib.request
import uuid

from conftest import BENCH, Jobs, new_token
from nodes import Node, wait_until

from benchfleet.lab import state

SITE = f"{BENCH}/sites/{state.SITE}"


def test_a_file_of_a_job_is_served_by_the_primary_at_once(jobs: Jobs):
    token, url = jobs.write()
    query = f"SELECT name FROM tabFile WHERE file_url = '{url}'"
    wait_until("the file's row is there", lambda: jobs.sql(query))
    # Checked at once: users must never see the row without the file.
    answer = jobs.somebody.visitor.call("GET", url)
    assert (answer.status, answer.bench) == (200, "erp1")
    assert answer.text == f"content of {url.rpartition('/')[2]}"
    assert jobs.done(token) == "rep1"


def test_the_minutes_copy_takes_no_file_from_an_open_transaction(
    jobs: Jobs, nodes: dict[str, Node]
):
    with jobs.held():
        token, url = jobs.write()
        there = f"test -f {SITE}{url} && echo yes"
        wait_until("the file is written", lambda: nodes["rep1"].says(there))
        nodes["rep1"].run("/usr/local/lib/benchfleet/site-sync --wait 60", 120)
        assert nodes["rep1"].says(there) == "yes"
        assert nodes["erp1"].says(there) == ""
    assert jobs.done(token) == "rep1"
    nodes["erp1"].run(there)


def test_a_job_that_fails_leaves_no_file(jobs: Jobs, nodes: dict[str, Node]):
    _, url = jobs.write(fail=1)
    token, _ = jobs.write()
    # The node has one worker: the second job is done after the first.
    jobs.done(token)
    for name in ("rep1", "erp1"):
        assert nodes[name].says(f"test -e {SITE}{url} || echo gone") == "gone"


def test_a_file_that_a_job_removes_or_makes_private_is_so_on_the_primary(
    jobs: Jobs, nodes: dict[str, Node]
):
    for method, urls in (("job_delete_file", []), ("job_make_private", ["/private"])):
        token, url = jobs.write(is_private=0)
        jobs.done(token)
        assert jobs.somebody.visitor.call("GET", url).status == 200
        assert jobs.where(f"frappe.demo.{method}", file_url=url) == "rep1"
        assert jobs.somebody.visitor.call("GET", url).status == 404
        name = url.rpartition("/")[2]
        kept = nodes["erp1"].run(f"cd {SITE} && ls -d */files/{name} || true")
        assert kept == "".join(f"{part[1:]}{url}" for part in urls)


def upload(jobs: Jobs, name: str) -> str:
    """Upload a private file through the router as a browser does; returns its URL."""
    edge = uuid.uuid4().hex
    parts = {'name="is_private"': "1", f'name="file"; filename="{name}"': f"content of {name}"}
    body = "".join(
        f"--{edge}\r\nContent-Disposition: form-data; {about}\r\n\r\n{text}\r\n"
        for about, text in parts.items()
    )
    user = jobs.somebody.visitor
    headers = {
        "Host": user.site,
        "Cookie": f"sid={user.cookies['sid']}",
        "Content-Type": f"multipart/form-data; boundary={edge}",
    }
    url = f"http://{user.address}/api/method/upload_file"
    request = urllib.request.Request(url, f"{body}--{edge}--\r\n".encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["message"]["file_url"]


def test_a_job_sees_a_file_that_was_uploaded_a_moment_ago(jobs: Jobs):
    # Several times, as the copy of each minute could be what brings it once.
    for _ in range(3):
        url = upload(jobs, f"{new_token()}.txt")
        token = jobs.queue("frappe.demo.job_read_file", file_url=url)
        assert jobs.done(token) == "rep1"
        assert jobs.sql(f"SELECT found FROM `tabDemo Run` WHERE token = '{token}'") == [["1"]]


def test_a_snapshot_and_its_report_are_made_on_the_primary_wherever_they_were_placed(jobs: Jobs):
    path = "/api/method/frappe.core.doctype"
    form = {"doctype": "Stock Ledger Entry"}
    answer = jobs.somebody.visitor.call(
        "POST", f"{path}.duckdb_sync.duckdb_sync.start_data_sync", form=form
    )
    assert jobs.done(answer.body["message"]["name"]) == "erp1"
    # As when a node's worker of the general queues takes one.
    token = jobs.somebody.visitor.call(
        "POST", "/api/resource/DuckDB Sync", values={"doc_type": "Stock Ledger Entry"}
    ).body["data"]["name"]
    method = "frappe.core.doctype.duckdb_sync.duckdb_sync.sync_data_to_duckdb"
    jobs.enqueue(method, queue="at-rep1", docname=token)
    assert jobs.done(token) == "erp1"
    # Placed on a reporting node, as all prepared reports are.
    form = {"report_name": "Stock Snapshot", "filters": "{}"}
    answer = jobs.somebody.visitor.call(
        "POST", f"{path}.prepared_report.prepared_report.make_prepared_report", form=form
    )
    name = answer.body["message"]["name"]
    query = f"SELECT status FROM `tabPrepared Report` WHERE name = '{name}'"
    status = wait_until(
        "the report is made",
        lambda: [s for (s,) in jobs.sql(query) if s not in ("Queued", "Started")],
    )
    assert status == ["Completed"]
