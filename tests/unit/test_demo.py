"""The demo framework's pure parts, loaded by path: its package is called frappe and needs more
libraries than the controller has."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.forms import forms

FRAPPE = Path(__file__).resolve().parents[2] / "demo" / "frappe"


def load(relative: str) -> ModuleType:
    """Import one file of the demo framework under a name of its own."""
    name = "demo_" + relative.replace("/", "_").removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, FRAPPE / relative)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


clock = load("utils/clock.py")
config = load("config.py")
cron = load("utils/cron.py")
pages = load("pages.py")
routing = load("routing.py")


class TestOverlay:
    def test_site_wins_over_common(self):
        merged = config.overlay({"a": 1, "b": 1}, {"b": 2})
        assert (merged.a, merged.b, merged.missing) == (1, 2, None)

    def test_environment_wins_over_both(self):
        environ = {"FRAPPE_DB_HOST": "10.0.0.9", "FRAPPE_DB_PORT": "3307"}
        merged = config.overlay({"db_host": "10.0.0.1"}, {"db_port": 3306}, environ)
        assert (merged.db_host, merged.db_port) == ("10.0.0.9", 3307)

    def test_user_and_database_name_stand_in_for_each_other(self):
        assert config.overlay({}, {"db_name": "erp"}).db_user == "erp"
        assert config.overlay({}, {"db_user": "erp"}).db_name == "erp"

    def test_port_must_be_a_number(self):
        with pytest.raises(ValueError, match="many"):
            config.overlay({"db_port": "many"}, {})

    def test_password_in_a_redis_url_is_kept(self):
        url = "redis://:secret@10.0.0.1:13000"
        assert config.overlay({"redis_cache": url}, {}).redis_cache == url


class TestUpdate:
    @pytest.mark.parametrize(
        ("given", "kept"), [("1", 1), ("0", 0), ("true", True), ("2", "2"), (2, 2)]
    )
    def test_words_become_what_json_means(self, tmp_path, given, kept):
        file = tmp_path / "site_config.json"
        config.update(file, "key", given)
        assert json.loads(file.read_text()) == {"key": kept}

    def test_none_removes(self, tmp_path):
        file = tmp_path / "site_config.json"
        file.write_text('{"key": 1, "other": 2}')
        config.update(file, "key", "None")
        assert json.loads(file.read_text()) == {"other": 2}


class TestCron:
    @pytest.mark.parametrize(
        ("expression", "after", "expected"),
        [
            ("* * * * *", "2026-01-01 10:00:30", "2026-01-01 10:01:00"),
            ("*/4 * * * *", "2026-01-01 10:04:00", "2026-01-01 10:08:00"),
            ("0 * * * *", "2026-01-01 23:59:59", "2026-01-02 00:00:00"),
            ("0 0 * * 0", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
            ("0 0 * * 7", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
            ("15,45 8-9 * * 1-5", "2026-01-02 09:45:00", "2026-01-05 08:15:00"),
            ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
            ("0 0 13 * 5", "2026-01-01 00:00:00", "2026-01-02 00:00:00"),
            ("0 0 1 1 *", "2026-01-01 00:00:00", "2027-01-01 00:00:00"),
        ],
    )
    def test_next_run(self, expression, after, expected):
        found = cron.next_run(expression, datetime.fromisoformat(after))
        assert found == datetime.fromisoformat(expected)

    def test_due_from_the_minute_on(self):
        last = datetime(2026, 1, 1, 10, 0, 5)
        assert not cron.is_due("* * * * *", last, datetime(2026, 1, 1, 10, 0, 59))
        assert cron.is_due("* * * * *", last, datetime(2026, 1, 1, 10, 1, 0))

    @pytest.mark.parametrize("bad", ["", "* * * *", "61 * * * *", "a * * * *", "5-1 * * * *"])
    def test_bad_expression_is_named(self, bad):
        with pytest.raises(ValueError, match="cron expression"):
            cron.parse(bad)

    def test_a_day_that_never_comes(self):
        with pytest.raises(ValueError, match="never"):
            cron.next_run("0 0 30 2 *", datetime(2026, 1, 1))

    def test_every_frequency_has_a_time(self):
        for expression in cron.FREQUENCIES.values():
            assert cron.next_run(expression, datetime(2026, 1, 1)) > datetime(2026, 1, 1)


class TestClock:
    def test_it_runs_faster_from_its_start_on(self):
        conf = {"demo_clock_start": 1000.0, "demo_clock_speed": 60}
        assert [clock.demo_time(conf, real) for real in (1000, 1001, 1002.5)] == [1000, 1060, 1150]

    def test_a_shells_words_are_numbers_too(self):
        assert clock.demo_time({"demo_clock_start": "1000", "demo_clock_speed": "2"}, 1010) == 1020

    @pytest.mark.parametrize(
        "conf",
        [
            {},
            {"demo_clock_start": 5},
            {"demo_clock_speed": 2},
            {"demo_clock_start": 5, "demo_clock_speed": ""},
        ],
    )
    def test_without_both_keys_it_is_the_real_time(self, conf):
        assert clock.demo_time(conf, 1010.5) == 1010.5

    def test_what_is_no_number_is_refused(self):
        with pytest.raises(ValueError, match="soon"):
            clock.demo_time({"demo_clock_start": "soon", "demo_clock_speed": 2}, 1010)

    def test_documents_are_stamped_by_it(self, framework):
        framework.get_conf = lambda: {"demo_clock_start": 0, "demo_clock_speed": 2}
        utils = importlib.import_module("frappe.utils")
        ahead = utils.get_datetime(utils.now()) - datetime.now()
        assert ahead.days > 365


RUN = "frappe.desk.query_report.run"


class TestRouting:
    @pytest.mark.parametrize(
        ("method", "path", "form", "version"),
        [
            ("GET", f"/api/method/{RUN}", {}, "v1"),
            ("POST", f"/api/v1/method/{RUN}", {}, "v1"),
            ("GET", f"/api/v2/method/{RUN}", {}, "v2"),
            ("GET", f"/api/method/{RUN}/", {}, "v1"),
            ("GET", "/", {"cmd": RUN}, "v1"),
            ("POST", "/", {"cmd": RUN}, "v1"),
            ("POST", "/api/method/ping", {"cmd": RUN}, "v1"),
        ],
    )
    def test_every_form_of_a_call(self, method, path, form, version):
        assert routing.resolve(method, path, form) == routing.Call("method", RUN, version=version)

    @pytest.mark.parametrize(
        ("method", "path", "kind"),
        [
            ("GET", "/api/resource/ToDo", "list"),
            ("POST", "/api/resource/ToDo", "create"),
            ("GET", "/api/resource/ToDo/a", "read"),
            ("PUT", "/api/resource/ToDo/a", "update"),
            ("DELETE", "/api/resource/ToDo/a", "delete"),
            ("GET", "/api/v2/document/ToDo/a", "read"),
            ("GET", "/api/v2/resource/ToDo/a", "unknown"),
            ("GET", "/api/v2/method/ToDo/a", "unknown"),
            ("PATCH", "/api/resource/ToDo", "unknown"),
            ("GET", "/api/other", "unknown"),
            ("GET", "/private/files/a.txt", "private_file"),
            ("GET", "/app/todo", "page"),
            ("PUT", "/app/todo", "unknown"),
        ],
    )
    def test_kinds(self, method, path, kind):
        assert routing.resolve(method, path, {}).kind == kind

    def test_names_may_hold_slashes_and_spaces(self):
        call = routing.resolve("GET", "/api/resource/Scheduled%20Job%20Type/a/b%20c", {})
        assert (call.target, call.name) == ("Scheduled Job Type", "a/b c")


class TestPages:
    def test_each_field_has_a_label_and_each_form_a_button(self):
        desk = pages.desk("Administrator", ["ToDo", "Where"], "/assets/desk.js")
        found = [*forms(pages.login("")), *forms(desk)]
        assert [form.id for form in found] == ["", "sign-out", "save", "list", "report"]
        for form in found:
            assert set(form.labels) == set(form.fields) - form.hidden
            assert all(form.labels.values())
            assert len(form.buttons) == 1

    def test_sign_in_goes_on_to_the_page_that_was_wanted(self):
        (form,) = forms(pages.login("/app/todo?a=1&b=2"))
        assert (form.method, form.action) == ("post", "/login")
        assert form.fields == {"redirect-to": "/app/todo?a=1&b=2", "usr": "", "pwd": ""}

    @pytest.mark.parametrize(
        "wanted",
        [None, "", "app", "//other/", "/\\other", "http://other/", "/a\nb", ["/app"]],
    )
    def test_sign_in_leads_to_no_other_site(self, wanted):
        assert pages.target(wanted) == "/app"

    def test_a_refusal_keeps_the_user_and_not_the_password(self):
        page = pages.login("/app", 'a"><b>', "Invalid <login>")
        (form,) = forms(page)
        assert (form.fields["usr"], form.fields["pwd"]) == ('a"><b>', "")
        assert '<p role="alert">Invalid &lt;login&gt;</p>' in page

    def test_the_desk_calls_what_is_there(self):
        _, save, rows, report = forms(pages.desk("Administrator", ["ToDo", "Where"], "/x.js"))
        for form, method, kind, name in (
            (save, "POST", "create", "ToDo"),
            (rows, "GET", "list", "ToDo"),
            (report, "GET", "method", "frappe.desk.query_report.run"),
        ):
            call = routing.resolve(method, form.action, form.fields)
            assert (form.method.upper(), call.kind, call.target) == (method, kind, name)
        assert json.loads(rows.fields["fields"]) == ["name", "status", "description"]
        assert report.fields == {"report_name": "ToDo"}
        assert report.options == {"report_name": ["ToDo", "Where"]}


class FakeCursor:
    """Notes the statements; a SELECT has three rows."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.description: Any = None
        self.rows: list[tuple[str]] = []

    def execute(self, query: str, values: Any) -> None:
        self.log.append(query)
        if query.startswith("fail"):
            raise RuntimeError("it failed")
        self.description = (("word",),) if query.startswith("SELECT") else None
        self.rows = [("a",), ("b",), ("c",)] if self.description else []

    def fetchall(self) -> list[tuple[str]]:
        return self.fetchmany(len(self.rows))

    def fetchmany(self, size: int) -> list[tuple[str]]:
        taken, self.rows = self.rows[:size], self.rows[size:]
        return taken


@pytest.fixture
def framework(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The demo's package without its root module, which needs more libraries."""
    for name in [n for n in sys.modules if n == "frappe" or n.startswith("frappe.")]:
        monkeypatch.delitem(sys.modules, name)
    package = ModuleType("frappe")
    package.__path__ = [str(FRAPPE)]
    package.flags = config.Config()
    package.SINCE_16 = False
    monkeypatch.setitem(sys.modules, "frappe", package)
    yield package
    for name in [n for n in sys.modules if n.startswith("frappe.")]:
        del sys.modules[name]


@pytest.fixture
def database(framework: ModuleType) -> Any:
    """A MariaDB object whose connections are fakes; `log` has the statements."""
    module = importlib.import_module("frappe.database.mariadb.database")
    made = module.MariaDBDatabase(host="127.0.0.1", user="erp")
    made.log, made.connections = [], 0

    def connect() -> SimpleNamespace:
        made.connections += 1
        return SimpleNamespace(cursor=lambda: FakeCursor(made.log), close=lambda: None)

    made.create_connection = connect
    return made


class TestDatabase:
    def test_it_connects_at_the_first_statement_and_again_after_close(self, database):
        assert database.connections == 0
        assert database.sql("SELECT 1", pluck=True) == ["a", "b", "c"]
        database.close()
        database.sql("SELECT 1")
        assert database.connections == 2

    def test_commit_is_a_statement_between_its_callbacks(self, database):
        for name in ("before_commit", "after_commit", "before_rollback", "after_rollback"):
            getattr(database, name).add(lambda name=name: database.log.append(name))
        database.commit()
        assert database.log == ["before_commit", "commit", "START TRANSACTION", "after_commit"]
        database.rollback()
        assert database.log[4:] == ["rollback", "START TRANSACTION"]

    def test_rollback_forgets_what_waited_for_the_commit(self, database):
        database.after_commit.add(lambda: database.log.append("after_commit"))
        database.after_rollback.add(lambda: database.log.append("after_rollback"))
        database.rollback()
        database.commit()
        assert database.log[:3] == ["rollback", "START TRANSACTION", "after_rollback"]
        assert "after_commit" not in database.log

    def test_savepoints_are_statements(self, database):
        database.savepoint("a")
        database.rollback(save_point="a")
        database.release_savepoint("a")
        assert database.log == ["savepoint a", "rollback to savepoint a", "release savepoint a"]

    def test_writes_are_counted_until_the_transaction_ends(self, database):
        for statement in (
            "INSERT INTO a",
            " update a",
            "delete from a",
            "SELECT 1",
            "/* */ INSERT",
        ):
            database.sql(statement)
        assert database.transaction_writes == 3
        database.commit()
        assert database.transaction_writes == 0

    def test_a_statement_that_would_commit_writes_is_refused(self, database, framework):
        error = importlib.import_module("frappe.exceptions").ImplicitCommitError
        database.sql("INSERT INTO a")
        with pytest.raises(error):
            database.sql("CREATE TABLE b")
        database.sql_ddl("CREATE TABLE b")
        assert database.log == ["INSERT INTO a", "commit", "START TRANSACTION", "CREATE TABLE b"]

    def test_disabled_transaction_control_ignores_commit_and_rollback(self, database):
        database._disable_transaction_control = 1
        with pytest.warns(UserWarning, match="ignored"):
            database.commit()
        with pytest.warns(UserWarning, match="ignored"):
            database.rollback()
        assert database.log == []

    def test_the_whole_requests_mode_is_every_transactions(self, database, framework):
        framework.flags.read_only = True
        database.commit()
        assert database.log == ["commit", "START TRANSACTION READ ONLY"]

    def test_rows_come_one_by_one_as_an_iterator(self, database):
        rows = database.sql("SELECT 1", as_iterator=True, as_dict=True)
        assert next(rows) == {"word": "a"}
        assert [row.word for row in rows] == ["b", "c"]

    def test_errors_are_told_apart_by_their_numbers(self, database):
        driver = importlib.import_module("pymysql")
        assert database.is_deadlocked(driver.OperationalError(1213, ""))
        assert database.is_timedout(driver.OperationalError(1205, ""))
        assert database.is_statement_timeout(driver.OperationalError(1969, ""))
        assert database.is_read_only_mode_error(driver.OperationalError(1792, ""))
        assert not database.is_deadlocked(RuntimeError("1213"))

    def test_what_is_no_known_error_stays_what_it_was(self, database):
        with pytest.raises(RuntimeError, match="it failed"):
            database.sql("fail")


@pytest.fixture
def file(database: Any, framework: ModuleType, tmp_path: Path) -> Any:
    """The class File; the site's folders are in the temporary one."""
    framework.db = database
    framework.get_site_path = lambda *parts: str(tmp_path.joinpath(*parts))
    for kind in ("public", "private"):
        (tmp_path / kind / "files").mkdir(parents=True)
    return importlib.import_module("frappe.core.doctype.file.file").File


class TestFile:
    def test_content_is_on_disk_before_the_row_is_there(self, file, tmp_path):
        doc = file(file_name="../a b?.txt", content="text", is_private="1")
        doc.before_insert()
        assert (tmp_path / "private/files/a b_.txt").read_text() == "text"
        assert (doc.file_url, doc.is_private, doc.file_size) == ("/private/files/a b_.txt", 1, 4)
        assert doc.get_content() == b"text"
        assert "content" not in doc

    def test_a_name_that_is_taken_here_gets_another(self, file, tmp_path):
        for content in ("one", "two"):
            file(file_name="a.txt", content=content).before_insert()
        names = sorted(p.name for p in tmp_path.glob("public/files/*"))
        assert names == ["a.txt", "ab8a9f7.txt"]

    def test_rollback_takes_the_file_away(self, file, database, tmp_path):
        file(file_name="a.txt", content="one").before_insert()
        database.rollback()
        assert not list(tmp_path.glob("*/files/*"))

    def test_commit_keeps_it(self, file, database, tmp_path):
        file(file_name="a.txt", content="one").before_insert()
        database.commit()
        database.rollback()
        assert list(tmp_path.glob("public/files/a.txt"))

    def test_rollback_spares_what_was_there_before(self, file, database, tmp_path):
        for _ in range(2):
            file(file_name="a.txt", content="one").before_insert()
        database.commit()
        file(file_name="a.txt", content="one").before_insert()
        database.rollback()
        assert len(list(tmp_path.glob("public/files/*"))) == 2

    def test_becoming_private_moves_it_and_rollback_moves_it_back(self, file, database, tmp_path):
        doc = file(file_name="a.txt", content="one")
        doc.before_insert()
        database.commit()
        doc.is_private = 1
        doc.validate()
        assert doc.file_url == "/private/files/a.txt"
        assert doc.get_content() == b"one"
        database.rollback()
        assert [str(p.relative_to(tmp_path)) for p in tmp_path.glob("*/files/*")] == [
            "public/files/a.txt"
        ]

    def test_without_content_the_url_says_where_it_lies(self, file, tmp_path):
        doc = file(file_url="/private/files/a.txt")
        doc.before_insert()
        doc.validate()
        assert doc.is_private == 1
        assert not list(tmp_path.glob("*/files/*"))
