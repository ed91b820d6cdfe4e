"""Accounts that the sites' timer makes, on a server that is started here."""

from __future__ import annotations

import codecs
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet.bench import jobs
from fleet.bench.account import BenchError
from fleet.mariadb import server as mariadb
from fleet.sites import reconcile
from fleet.sites.wanted import Sites
from fleet.verify import host as verify_host
from fleet.verify.scheduler import JOB_LOG, JobChecks

from tests.mariadb import MariaDB, needs_mariadb

pytestmark = needs_mariadb

# A site's account, one that signs in only by the socket, and one of another application.
ACCOUNTS = """
CREATE DATABASE benchfleet;
CREATE TABLE benchfleet.account (user VARCHAR(80), host VARCHAR(255), PRIMARY KEY (user, host));
CREATE DATABASE _site; CREATE DATABASE near; CREATE DATABASE wordpress;
CREATE USER _site@127.0.0.1 IDENTIFIED BY 'known';
GRANT ALL PRIVILEGES ON `\\_site`.* TO _site@127.0.0.1;
CREATE USER near@localhost IDENTIFIED BY 'known';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER ON near.* TO near@localhost
    WITH GRANT OPTION;
CREATE USER wordpress@'%' IDENTIFIED BY 'theirs';
GRANT ALL PRIVILEGES ON wordpress.* TO wordpress@'%';
GRANT INSERT, DROP ON wordpress.* TO root@localhost;
"""


@pytest.fixture(scope="module")
def place(installed: Path) -> Iterator[Path]:
    """A folder with a server's socket in it; not below one that is closed to other accounts."""
    # What pymysql needs for a host's name; other accounts may not read Python's folder.
    codecs.lookup("idna")
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    server = MariaDB(installed, folder)
    with server.running("--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"):
        client = ["mariadb", "--no-defaults", f"--socket={server.socket}", "--user=root"]
        subprocess.run(client, input=ACCOUNTS, text=True, check=True)
        yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(place: Path) -> Iterator[mariadb.Server]:
    """Root's connection."""
    with mariadb.local(f"{place}/s") as here:
        yield here


@pytest.mark.parametrize(
    ("who", "account"),
    [
        (("_site", "known", "_site"), ("_site", "127.0.0.1")),
        (("near", "known", "near"), ("near", "localhost")),
        (("_site", "guessed", "_site"), None),
        (("_site", "known", "wordpress"), None),
        (("_site", "known", "gone"), None),
        (("nobody", "", "_site"), None),
        # At the socket the server lets root in without a password.
        (("root", "guessed", "wordpress"), None),
        (("_site", "pass\u20acword", "_site"), None),
    ],
)
def test_a_sign_in_needs_the_password(
    server: mariadb.Server, who: tuple[str, str, str], account: tuple[str, str] | None
) -> None:
    assert server.lets_in(*who) == account


def test_a_server_that_is_full_is_no_refusal(
    server: mariadb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run("ALTER USER _site@127.0.0.1 WITH MAX_CONNECTIONS_PER_HOUR 1")
    server.run("FLUSH USER_RESOURCES")
    assert server.lets_in("_site", "known", "_site")
    with pytest.raises(mariadb.MariaDBError, match=r"_site\b.*max_connections_per_hour"):
        server.lets_in("_site", "known", "_site")
    server.run("ALTER USER _site@127.0.0.1 WITH MAX_CONNECTIONS_PER_HOUR 0")


def test_accounts_are_made_for_what_the_site_has_already(
    server: mariadb.Server, tmp_path: Path
) -> None:
    """`db_name=wordpress` and a password of one's own choice: nothing comes of it."""
    configs: dict[str, dict[str, str]] = {
        "a.test": {"db_name": "_site", "db_password": "known"},
        "near.test": {"db_name": "near", "db_password": "known"},
        "w.test": {"db_name": "wordpress", "db_password": "mine"},
        "x.test": {"db_name": "wordpress", "db_user": "_site", "db_password": "known"},
        "r.test": {"db_name": "wordpress", "db_user": "root", "db_password": "x"},
    }
    for name, config in configs.items():
        (tmp_path / "sites" / name).mkdir(parents=True)
        path = tmp_path / "sites" / name / "site_config.json"
        path.write_text(json.dumps({**config, "encryption_key": "k"}))
    (tmp_path / "state").mkdir()
    settings: dict[str, Any] = {
        "bench": str(tmp_path),
        "user": "nobody",
        "cli_dir": "/none",
        "state_dir": f"{tmp_path}/state",
        "listed": [],
        "names": {},
        "hosts": ["10.0.0.2"],
        "passwords": {},
        "site_key": "k",
        "besides": None,
        "max_statement_time": 1.0,
        "max_user_connections": 1,
    }
    outcome = reconcile.Line(settings).bring(server)
    assert sorted(outcome.passed) == ["r.test", "w.test", "x.test"]
    asked = "SELECT User AS user FROM mysql.user WHERE Host = '10.0.0.2'"
    assert {row["user"] for row in server.rows(asked)} == {"_site", "_site_ro", "near", "near_ro"}
    for there, here in (("_site", "127.0.0.1"), ("near", "localhost")):
        made, own = (
            server.rows(
                "SELECT authentication_string AS hash, (SELECT GROUP_CONCAT(Privilege_type ORDER BY"
                " 1) FROM information_schema.SCHEMA_PRIVILEGES WHERE Grantee = %s) AS rights"
                " FROM mysql.user WHERE User = %s AND Host = %s",
                (f"'{there}'@'{host}'", there, host),
            )[0]
            for host in ("10.0.0.2", here)
        )
        assert made == own
    grants = server.rows("SHOW GRANTS FOR near@10.0.0.2")
    assert not any("GRANT OPTION" in str(row) for row in grants)


# A view in the place of a table, whose function does what it can with its reader's rights.
TRAP = """
CREATE FUNCTION trap() RETURNS CHAR(1) SQL SECURITY INVOKER MODIFIES SQL DATA BEGIN
    INSERT IGNORE INTO benchfleet.account VALUES (CURRENT_USER(), 'trapped'); RETURN '1'; END
"""
VIEW = "CREATE OR REPLACE SQL SECURITY INVOKER VIEW `{}` AS SELECT trap() AS name, 1 AS issingle,"
VIEW += " trap() AS method, NOW() AS creation, trap() AS status, '1' AS scheduled_job_type"


def doctypes(bench: Path, socket: str) -> None:
    maker = object.__new__(Sites)
    maker.path, maker.socket = str(bench), socket
    maker.database_content("s.test")


def verify(bench: Path, _socket: str) -> None:
    check = object.__new__(JobChecks)
    check.bench, check.site = str(bench), "s.test"
    check.runs("1")


@pytest.mark.parametrize(
    ("look", "table"),
    [
        (doctypes, "tabDocType"),
        (lambda bench, _: jobs.scheduled_names(str(bench)), "tabScheduled Job Type"),
        (verify, f"tab{JOB_LOG}"),
    ],
)
def test_nothing_of_a_sites_database_runs_with_roots_rights(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Any, table: str
) -> None:
    here = mariadb.local
    for module in (mariadb, verify_host):
        monkeypatch.setattr(module, "local", lambda: here(f"{place}/s"))
    (tmp_path / "sites/s.test").mkdir(parents=True)
    (tmp_path / "sites/common_site_config.json").write_text("{}")
    config = {"db_name": "_site", "db_password": "known"}
    (tmp_path / "sites/s.test/site_config.json").write_text(json.dumps(config))
    with here(f"{place}/s") as server, server.signed_in("_site", "known", "_site") as site:
        assert site
        site.run("DROP FUNCTION IF EXISTS trap")
        site.run(TRAP)
        site.run(VIEW.format(table))
        with contextlib.suppress(BenchError, mariadb.pymysql.MySQLError):
            look(tmp_path, f"{place}/s")
        site.run(f"DROP VIEW `{table}`")
        assert server.rows("SELECT user FROM benchfleet.account WHERE host = 'trapped'") == []
