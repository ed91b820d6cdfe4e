"""Which methods leave the primary: by the apps' source and the inventory's lists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fleet.calls import connections, kernel_forms
from fleet.nodes import drained, known_nodes
from fleet.routes import judge as routes
from fleet.routes import source
from fleet.routes.facts import facts
from fleet.routes.judge import RoutesError, common_apps
from fleet.routes.source import Apps
from fleet.status.fleet import with_service

from benchfleet import reports, runner

BOTH = "@frappe.whitelist()\n@frappe.read_only()\n"
REPORTVIEW = f"""import frappe

{BOTH}def get_list():
    pass

@frappe.whitelist()
def delete_items():
    pass

{BOTH}def delete_all():
    pass
"""
QUERY_REPORT = f"""import frappe

{BOTH}def run(report_name):
    pass

@frappe.whitelist()
def export_query():
    run(1)

@frappe.whitelist()
def save_report():
    pass
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A bench with a small framework and one app."""
    put(
        tmp_path,
        "frappe",
        "__init__.py",
        "def whitelist():\n    pass\ndef read_only():\n    pass\n",
    )
    put(tmp_path, "frappe", "desk/__init__.py", "")
    put(tmp_path, "frappe", "desk/reportview.py", REPORTVIEW)
    put(tmp_path, "frappe", "desk/query_report.py", QUERY_REPORT)
    put(tmp_path, "shop", "__init__.py", "")
    put(tmp_path, "shop", "api.py", f"import frappe\n\n{BOTH}def stock():\n    pass\n")
    return tmp_path


def put(bench: Path, app: str, path: str, text: str) -> None:
    """Write a file of an app's package."""
    file = bench / "apps" / app / app / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def found(bench: Path, **options: Any) -> dict[str, dict[str, str]]:
    """Routes by method."""
    return {route["method"]: route for route in routes.routes(Apps(str(bench)), **options)[0]}


def away(bench: Path, **options: Any) -> set[str]:
    """Methods that leave the primary."""
    rows = found(bench, **options).values()
    return {row["method"] for row in rows if row["bench"] == "reporting"}


RUN = "frappe.desk.query_report.run"
EXPORT = "frappe.desk.query_report.export_query"
LIST = "frappe.desk.reportview.get_list"
STOCK = "shop.api.stock"


def test_read_only_methods_of_every_app_go_away(bench: Path):
    assert away(bench) == {RUN, EXPORT, LIST, STOCK}
    rows = found(bench)
    assert rows[STOCK]["where"] == "shop/shop/api.py:5"
    assert rows[STOCK]["reason"] == "read_only"
    assert rows[EXPORT]["reason"] == "runs_report"
    assert rows["frappe.desk.query_report.save_report"]["reason"] == "writes"
    # read_only, and yet it stays.
    assert rows["frappe.desk.reportview.delete_all"]["reason"] == "deletes"


def test_lists_leave_only_when_what_was_saved_is_seen(bench: Path):
    assert LIST not in away(bench, guard=False)
    assert RUN in away(bench, guard=False)
    light = {method for method, row in found(bench).items() if row["light"]}
    assert light == {LIST}
    assert not any(row["light"] for row in found(bench, guard=False).values())
    assert found(bench, guard=False)[LIST]["reason"] == "unguarded"


SEARCH = "frappe.desk.search.search_link"
PLAIN = "import frappe\n@frappe.whitelist()\ndef search_link(): pass\n"


def test_what_is_offered_is_shown_where_this_frappe_has_it(bench: Path):
    assert SEARCH not in found(bench)
    assert routes.routes(Apps(str(bench)))[1] == []
    put(bench, "frappe", "desk/search.py", PLAIN)
    row = found(bench)[SEARCH]
    assert (row["bench"], row["light"], row["reason"]) == ("primary", False, "slower")
    assert row["where"] == "frappe/frappe/desk/search.py:3"
    # Not whitelisted in this Frappe: nobody's to call.
    put(bench, "frappe", "desk/search.py", "def search_link(): pass\n")
    assert SEARCH not in found(bench)
    # A Frappe that marks it by itself needs nobody's word.
    put(bench, "frappe", "desk/search.py", f"import frappe\n{BOTH}def search_link(): pass\n")
    row = found(bench)[SEARCH]
    assert (row["bench"], row["light"]) == ("reporting", True)


def test_an_offered_method_leaves_the_primary_when_it_is_added(bench: Path):
    put(bench, "frappe", "desk/search.py", PLAIN)
    row = found(bench, added=[SEARCH])[SEARCH]
    # Never waits behind reports, as any other call of the desk.
    assert (row["bench"], row["light"]) == ("reporting", True)
    assert found(bench, taken=[SEARCH])[SEARCH]["bench"] == "primary"
    # Unguarded, it reads from the primary: nothing that its user saved is missing.
    assert routes.routes(Apps(str(bench)), added=[SEARCH], guard=False)[1] == []


def test_what_is_offered_can_be_added():
    routes.check_lists(routes.OFFERED, [])
    assert set(routes.LIGHT) >= set(routes.OFFERED)


def decorated(text: str) -> bool:
    """Whether f is whitelisted and read_only in a text."""
    about = facts(text)["names"].get("f", {})
    return bool(about.get("whitelisted") and about.get("read_only"))


@pytest.mark.parametrize(
    "text",
    [
        "import frappe\n@frappe.whitelist()\n@frappe.read_only()\ndef f(): pass",
        "import frappe\n@frappe.read_only()\n@frappe.whitelist(methods=['GET'])\ndef f(): pass",
        "import frappe as f0\n@f0.whitelist()\n@f0.read_only()\ndef f(): pass",
        "import frappe.utils\n@frappe.whitelist()\n@frappe.read_only()\ndef f(): pass",
        "from frappe import whitelist, read_only\n@whitelist()\n@read_only()\ndef f(): pass",
        "from frappe import read_only as r, whitelist as w\n@w()\n@r()\ndef f(): pass",
        "import frappe\ntry:\n  pass\nexcept E:\n  pass\nelse:\n"
        "  @frappe.whitelist()\n  @frappe.read_only()\n  def f(): pass",
        "import frappe\n@frappe.whitelist()\n@other(1)\n@frappe.read_only()\ndef f(): pass",
    ],
)
def test_decorators_are_known_by_what_they_are(text: str):
    assert decorated(text)


@pytest.mark.parametrize(
    "text",
    [
        "import frappe\n@frappe.read_only()\ndef f(): pass",
        "import frappe\n@frappe.whitelist()\ndef f(): pass",
        "import other\n@other.whitelist()\n@other.read_only()\ndef f(): pass",
        "import frappe.utils as u\n@u.whitelist()\n@u.read_only()\ndef f(): pass",
        "from other import whitelist, read_only\n@whitelist()\n@read_only()\ndef f(): pass",
        "import frappe\nclass A:\n  @frappe.whitelist()\n  @frappe.read_only()\n  def f(): pass",
        "import frappe\ndef g():\n  @frappe.whitelist()\n  @frappe.read_only()\n  def f(): pass",
        f"import frappe\n{BOTH}async def f(): pass",
        # What the name means in the end, only running would tell.
        f"import frappe\n{BOTH}def f(): pass\nf = cached(f)",
        f"import frappe\n{BOTH}def f(): pass\nfrom x import f",
        f"import frappe\nif X:\n  def f(): pass\nelse:\n  pass\n{BOTH}def f(): pass",
    ],
)
def test_everything_else_stays(text: str):
    assert not decorated(text)


def test_a_file_that_cannot_be_parsed_is_named_and_the_rest_is_found(bench: Path):
    put(bench, "shop", "broken.py", "import frappe  # whitelist read_only\ndef f(:\n")
    put(bench, "shop", "odd.py", "# -*- coding: x -*-\n# whitelist read_only \0\n")
    (bench / "apps/shop/shop/latin.py").write_bytes(b"# whitelist read_only \xe9\n")
    rows, notes = routes.routes(Apps(str(bench)))
    assert STOCK in {row["method"] for row in rows}
    assert sorted(note.partition(": ")[0].rpartition("/")[2] for note in notes) == [
        "broken.py",
        "latin.py",
        "odd.py",
    ]


def test_a_pipe_among_the_sources_is_not_waited_for(tmp_path: Path):
    (tmp_path / "real.py").touch()
    os.mkfifo(tmp_path / "pipe.py")
    assert list(source.python_files(str(tmp_path))) == [f"{tmp_path}/real.py"]


def test_what_mentions_only_one_of_the_two_is_not_parsed(bench: Path):
    put(bench, "shop", "broken.py", "def whitelist(:\n")
    assert routes.routes(Apps(str(bench)))[1] == []


def test_names_follow_the_path(bench: Path):
    text = f"import frappe\n{BOTH}def f(): pass\n"
    for path in ("__init__.py", "sub/__init__.py", "sub/tests/test_x.py", "no-name/x.py", "a-b.py"):
        put(bench, "shop", path, text)
    put(bench, "shop", "node_modules/x.py", text)
    names = {name for name in away(bench) if name.startswith("shop.") and name != STOCK}
    assert names == {"shop.f", "shop.sub.f", "shop.sub.tests.test_x.f"}


def hooks(bench: Path, app: str, text: str) -> None:
    """Write an app's hooks."""
    put(bench, app, "hooks.py", text)


def test_a_replacement_decides_where_the_method_goes(bench: Path):
    put(
        bench,
        "shop",
        "own.py",
        f"import frappe\n@frappe.whitelist()\ndef run(): pass\n{BOTH}def f(): pass\n",
    )
    hooks(bench, "shop", f"override_whitelisted_methods = {{{RUN!r}: 'shop.own.run'}}")
    row = found(bench)[RUN]
    assert (row["bench"], row["where"]) == ("primary", "shop/shop/own.py:3")
    assert row["reason"] == "replaced_by_writer"
    assert "shop.own.run" in row["why"]
    hooks(bench, "shop", f"override_whitelisted_methods = {{{RUN!r}: ['x.y', 'shop.own.f']}}")
    row = found(bench)[RUN]
    assert (row["bench"], row["reason"]) == ("reporting", "replaced")
    assert "shop.own.f" in row["why"]


def test_a_replacement_counts_by_itself_only_where_every_site_has_it(bench: Path):
    hooks(bench, "shop", f"override_whitelisted_methods = {{'frappe.x.y': {STOCK!r}}}")
    assert "frappe.x.y" not in away(bench)
    assert "frappe.x.y" in away(bench, everywhere=["frappe", "shop"])


def test_of_two_replacements_one_that_writes_is_enough(bench: Path):
    hooks(bench, "frappe", f"override_whitelisted_methods = {{{RUN!r}: {STOCK!r}}}")
    hooks(bench, "shop", f"override_whitelisted_methods = {{{RUN!r}: 'download'}}")
    assert RUN not in away(bench, everywhere=["frappe", "shop"])


@pytest.mark.parametrize(
    "text",
    [
        "override_whitelisted_methods = dict(a='b')",
        "override_whitelisted_methods = {}\noverride_whitelisted_methods.update(x())",
        "override_whitelisted_methods = {NAME: 'a.b'}",
        "override_whitelisted_methods = {}\noverride_whitelisted_methods |= {'a.b': 'c.d'}",
    ],
)
def test_hooks_that_only_running_would_tell_are_named(bench: Path, text: str):
    hooks(bench, "shop", text)
    (note,) = routes.routes(Apps(str(bench)))[1]
    assert "shop/hooks.py:" in note
    assert "override_whitelisted_methods" in note


def test_hooks_may_add_entries_one_by_one(bench: Path):
    text = (
        f"override_whitelisted_methods: dict = {{}}\noverride_whitelisted_methods[{RUN!r}] = 'a.b'"
    )
    hooks(bench, "shop", text)
    assert RUN not in away(bench)


def test_the_inventory_adds_and_takes_out(bench: Path):
    put(bench, "shop", "more.py", "import frappe\n@frappe.whitelist()\ndef sums(): pass\n")
    rows = found(bench, added=["shop.more.sums"], taken=[STOCK])
    assert rows["shop.more.sums"]["bench"] == "reporting"
    assert rows["shop.more.sums"]["reason"] == "report_methods"
    assert rows[STOCK]["bench"] == "primary"
    assert rows[STOCK]["reason"] == "primary_methods"
    notes = routes.routes(Apps(str(bench)), taken=["shop.api.gone"])[1]
    assert len(notes) == 1
    assert "shop.api.gone" in notes[0]
    notes = routes.routes(Apps(str(bench)), added=[LIST], guard=False)[1]
    assert len(notes) == 1
    assert LIST in notes[0]


@pytest.mark.parametrize(
    ("added", "taken", "wrong", "method"),
    [
        (["login"], [], "method_invalid", "login"),
        ([], ["a..b"], "method_invalid", "a..b"),
        (["frappe.handler.upload_file"], [], "method_stays", "frappe.handler.upload_file"),
        (["shop.api.delete_x"], [], "method_stays", "shop.api.delete_x"),
        ([STOCK], [STOCK], "method_in_both", STOCK),
        (["shop.api.nothing"], [], "method_unknown", "shop.api.nothing"),
        (["crm.api.x"], [], "method_unknown", "crm.api.x"),
    ],
)
def test_lists_that_are_wrong_are_refused(
    bench: Path, added: list[str], taken: list[str], wrong: str, method: str
):
    with pytest.raises(RoutesError, match=repr(method)) as error:
        routes.routes(Apps(str(bench)), added, taken)
    assert error.value.kind == wrong
    assert error.value.variable == f"router_{'report' if added else 'primary'}_methods"


def test_a_newer_python_is_asked_where_ours_cannot_parse(
    bench: Path, monkeypatch: pytest.MonkeyPatch
):
    python = bench / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    asked: list[list[str]] = []

    def run_as(user: str, words: list[str], *_: Any, stdin: str, **__: Any) -> Any:
        asked.append(words)
        return subprocess.run(
            words,
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def old(path: str, of_frappe: bool) -> dict[str, Any]:
        raise SyntaxError("too new")

    monkeypatch.setattr(source, "run_as", run_as)
    monkeypatch.setattr(source, "read_facts", old)
    read = source.reader(str(bench), "frappe")
    about = read(str(bench / "apps/shop/shop/api.py"), False)
    assert about["names"]["stock"]["read_only"]
    assert asked[0][1:4] == ["-I", "-S", "-"]
    put(bench, "shop", "broken.py", "def f(:\n")
    with pytest.raises(SyntaxError):
        read(str(bench / "apps/shop/shop/broken.py"), False)


def test_apps_of_every_site():
    sites = [{"name": "a", "apps": ["x", "y"]}, {"name": "b", "apps": ["y"]}]
    assert common_apps(sites) == {"frappe", "y"}
    assert common_apps([{"name": "a"}]) == {"frappe"}
    assert common_apps([]) == {"frappe"}


def test_routes_are_plain_values(bench: Path):
    rows = routes.routes(Apps(str(bench)))[0]
    assert json.loads(json.dumps(rows)) == rows
    assert [row["method"] for row in rows] == sorted(row["method"] for row in rows)


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout
   0: 0B15D20A:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0B15D20A:C350 1515D20A:1F40 01 00000000:00000000 00:00000000 00000000    33        0 2 1
   2: 0B15D20A:C351 1515D20A:1F40 06 00000000:00000000 00:00000000 00000000    33        0 3 1
   3: 0B15D20A:C352 1615D20A:1F40 01 00000000:00000000 00:00000000 00000000    33        0 4 1
   4: 0B15D20A:C353 1515D20A:1F42 01 00000000:00000000 00:00000000 00000000    33        0 5 1
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="written on a little-endian machine")
def test_calls_are_the_established_connections():
    assert connections(TCP.splitlines(), "10.210.21.21", 8000) == 1
    assert connections(TCP.splitlines(), "10.210.21.22", 8000) == 1
    assert connections(TCP.splitlines(), "10.210.21.23", 8000) == 0
    assert kernel_forms("fd00::2", 8000) == {"000000FD000000000000000002000000:1F40"}
    assert "0000000000000000FFFF00001515D20A:1F40" in kernel_forms("10.210.21.21", 8000)


def test_routes_are_a_table_or_json(capsys: pytest.CaptureFixture[str], bench: Path):
    def show(ok: bool, *, as_json: bool = False, **result: Any) -> int:
        outcome = runner.Outcome(ok, 1.0, Path("log"), [result], {})
        return reports.show_routes(outcome, as_json=as_json, wide=False)

    rows = routes.routes(Apps(str(bench)))[0]
    assert show(True, routes=rows, warnings=["a file cannot be parsed"]) == 0
    told = capsys.readouterr()
    assert "warning: a file cannot be parsed" in told.err
    cells = {row[0]: row for row in (re.split(r" {2,}", line) for line in told.out.splitlines())}
    assert cells[STOCK][1] == "reporting"
    # A light one goes to the primary, too.
    assert cells[LIST][1] == "reporting/primary"
    assert re.match(r"4 ", told.out.splitlines()[-2])
    assert show(True, as_json=True, routes=rows) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "routes": rows}
    assert show(False, failed=True, msg="'x' is not the dotted name") == 3
    assert "error: 'x' is not the dotted name" in capsys.readouterr().err


def test_status_has_whether_each_node_is_drained(tmp_path: Path):
    for mark in ("drained/rep2", "waiting/rep3"):
        (tmp_path / mark).parent.mkdir()
        (tmp_path / mark).touch()
    names = drained(str(tmp_path))
    assert (names, drained(str(tmp_path / "none"))) == (["rep2", "rep3"], [])
    rows = [{"host": "erp1", "role": "primary", "drained": names}]
    rows += [{"host": name, "role": "reporting"} for name in ("rep1", "rep2", "rep3")]
    told = with_service(rows)
    assert [row.get("drained") for row in told] == [None, False, True, True]
    assert with_service([{"host": "rep1", "role": "reporting"}])[0]["drained"] is None


def test_nodes_are_read_as_the_router_reads_them():
    text = "# words\nguard on\nnode rep1 10.0.0.2 8000 8002 4\nnode rep2 [fd00::2] 8000 8002 2\n"
    assert known_nodes(text) == {"rep1": ("10.0.0.2", 8000), "rep2": ("fd00::2", 8000)}
