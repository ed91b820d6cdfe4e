"""What ages on a host, with servers of MariaDB's: certificates, and passwords that are rotated."""

from __future__ import annotations

import datetime
import getpass
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet import own_certificates
from fleet.mariadb import server as mariadb
from fleet.mariadb import statements
from fleet.mariadb.accounts import AccountKeeper
from fleet.secrets import certificates, contents
from fleet.sites import passwords as site_passwords
from fleet.sites.reconcile import Line

from tests.mariadb import MariaDB, needs_mariadb

DAY = 86400


def made() -> dict[str, Any]:
    """Secrets of a fleet of one host."""
    return contents.extend({}, {"erp1": "127.0.0.1"}, [])[0]


def put(folder: Path, secrets: dict[str, Any]) -> None:
    """The files of a host."""
    (folder / "ca.crt").write_text(certificates.trusted(secrets))
    (folder / "server.crt").write_text(secrets["hosts"]["erp1"]["certificate"])
    (folder / "server.key").write_text(secrets["hosts"]["erp1"]["key"])


def shown(secrets: dict[str, Any]) -> bytes:
    """What a server with these secrets shows."""
    certificate = certificates.load(secrets["hosts"]["erp1"]["certificate"])
    return certificate.public_bytes(certificates.serialization.Encoding.DER)


def facts(trouble: str, folder: Path) -> tuple[int, list[int]]:
    """How often a message names files of a folder, and the numbers in it."""
    parts = trouble.split(str(folder))
    return len(parts) - 1, [int(number) for number in re.findall(r"\d+", "".join(parts))]


def test_days_left_are_of_the_first_to_end_and_the_last_thirty_are_a_trouble(tmp_path: Path):
    secrets = made()
    put(tmp_path, secrets)
    now = time.time()
    found = own_certificates.look(str(tmp_path), shown(secrets), now)
    assert (found.authority, found.server, found.troubles) == (3648, 728, [])
    assert own_certificates.look(str(tmp_path), shown(secrets), now + 698 * DAY).troubles == []
    late = own_certificates.look(str(tmp_path), shown(secrets), now + 700 * DAY)
    assert late.troubles == [f"{tmp_path}/server.crt ends in 28 days"]
    ended = own_certificates.look(str(tmp_path), shown(secrets), now + 3652 * DAY)
    assert ended.authority == -4
    assert ended.troubles[0] == "the certificate authority ended 4 days ago"


def test_server_that_still_shows_the_former_certificate_is_told(tmp_path: Path):
    former = made()
    secrets = made()
    put(tmp_path, secrets)
    found = own_certificates.look(str(tmp_path), shown(former), time.time() + 700 * DAY)
    # It differs from the file; the file's and the one that is shown end in 28 days.
    assert [facts(trouble, tmp_path) for trouble in found.troubles] == [
        (1, []),
        (1, [28]),
        (0, [28]),
    ]
    # None is shown.
    none = own_certificates.look(str(tmp_path), None, time.time())
    assert [facts(trouble, tmp_path) for trouble in none.troubles] == [(0, [])]
    (tmp_path / "ca.crt").write_text(former["ca"]["certificate"])
    # The certificate is of an authority that ca.crt lacks.
    strange = own_certificates.look(str(tmp_path), shown(secrets), time.time())
    assert [facts(trouble, tmp_path) for trouble in strange.troubles] == [(2, [])]


@pytest.mark.parametrize(
    ("lifetime", "left", "words"),
    [
        (365, 31, ""),
        (365, 29.5, "ends in 29 days"),
        # Those that are asked by ACME are renewed when a third of them is left.
        (90, 29.5, ""),
        (90, 20, "ends in 20 days"),
        (6, 2, ""),
        (6, 1, "ends in 1 day"),
        (90, -2, "ended 2 days ago"),
    ],
)
def test_certificate_of_the_router_is_told_in_time(lifetime: float, left: float, words: str):
    now = 1e9
    one = own_certificates.Certificate("s", "i", now + (left - lifetime) * DAY, now + left * DAY)
    assert own_certificates.ends_soon(one, now) == words


class Instance(MariaDB):
    """A server of the fleet's kind."""

    @contextmanager
    def running(self, *words: str) -> Iterator[None]:
        """While it runs."""
        folder = self.folder
        kind = ["--bind-address=127.0.0.1", f"--server-id={self.port}", "--log-bin=b"]
        kind += ["--gtid-strict-mode=1", "--log-slave-updates", f"--ssl-ca={folder}/ca.crt"]
        kind += [f"--ssl-cert={folder}/server.crt", f"--ssl-key={folder}/server.key"]
        with super().running("--no-defaults", *kind, *words):
            yield

    def signs_in(self, user: str, password: str, ca: Path | None = None) -> bool:
        """Whether an account can sign in over the network, by TLS where a CA is given."""
        try:
            if ca:
                with mariadb.remote("127.0.0.1", self.port, user, password, str(ca)):
                    return True
            pymysql.connect(host="127.0.0.1", port=self.port, user=user, password=password).close()
        except pymysql.MySQLError:
            return False
        return True


def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def instance(installed: Path, tmp_path: Path) -> Callable[[str], Instance]:
    """A server by a name, with certificates of its own folder."""

    def make(name: str) -> Instance:
        (tmp_path / name).mkdir()
        return Instance(installed, tmp_path / name)

    return make


@needs_mariadb
def test_replication_lives_through_a_change_of_ca_and_of_its_password(
    instance: Callable[[str], Instance], monkeypatch: pytest.MonkeyPatch
):
    first = made()
    # The next one is due, and the certificates are older than those that come.
    later = certificates.now() + datetime.timedelta(days=1)
    both, _ = contents.Wish({}, [], rotation="begin").applied(first)
    p, r = instance("primary"), instance("replica")
    for one in (p, r):
        put(one.folder, first)
    entry = {
        "name": "repl",
        "host": "127.0.0.1",
        "password": "old",
        "require_ssl": True,
        "max_statement_time": 0.0,
        "max_user_connections": 0,
        "grants": {"*.*": ["REPLICATION SLAVE", "SLAVE MONITOR"]},
    }
    with (
        p.running(),
        r.running(),
        mariadb.local(p.socket) as primary,
        mariadb.local(r.socket) as replica,
    ):
        keeper = AccountKeeper(primary, False)
        keeper.bring([entry])

        def follow(password: str) -> None:
            replica.run("STOP SLAVE")
            replica.run(
                f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={p.port},"
                f" MASTER_USER='repl', MASTER_PASSWORD='{password}', MASTER_USE_GTID=slave_pos,"
                f" MASTER_SSL=1, MASTER_SSL_CA='{r.folder}/ca.crt',"
                " MASTER_SSL_VERIFY_SERVER_CERT=1, MASTER_CONNECT_RETRY=1"
            )
            replica.run("START SLAVE")

        def arrives(name: str) -> bool:
            primary.run(f"CREATE DATABASE {name}")
            until(lambda: replica.rows(f"SHOW DATABASES LIKE '{name}'"))
            status = replica.replica_status() or {}
            return bool(status["Slave_IO_Running"] == "Yes" and not status["Last_IO_Errno"])

        follow("old")
        assert arrives("a")
        # The hosts trust both; the primary's certificate is the new one's.
        put(r.folder, both)
        put(p.folder, both)
        wish = contents.Wish({}, [], fleet=["erp1"], trusting=["erp1"])
        with monkeypatch.context() as patch:
            patch.setattr(certificates, "now", lambda: later)
            new, _ = wish.applied(both)
        put(p.folder, new)
        assert mariadb.shows_another_certificate(f"{p.folder}/server.crt", p.socket)
        put(r.folder, new)
        for one in (primary, replica):
            one.reload_certificates()
        assert mariadb.shown_certificate(p.socket) == shown(new)
        assert arrives("b")
        assert p.signs_in("repl", "old", r.folder / "ca.crt")
        (r.folder / "former.crt").write_text(first["ca"]["certificate"])
        assert not p.signs_in("repl", "old", r.folder / "former.crt")
        # Both passwords are accepted, also by the replica, which may be primary tomorrow.
        keeper.bring([{**entry, "password": "old", "besides": "new"}])
        assert arrives("c")
        accepted = {
            one: p.signs_in("repl", one, r.folder / "ca.crt") for one in ("old", "new", "x")
        }
        assert accepted == {"old": True, "new": True, "x": False}
        assert [
            len(
                statements.parse_create_user(str(one.value("SHOW CREATE USER repl@127.0.0.1")))[
                    "hashes"
                ]
            )
            for one in (primary, replica)
        ] == [2, 2]
        # In the other order it is the same account.
        before = len(keeper.after)
        keeper.bring([{**entry, "password": "new", "besides": "old"}])
        assert len(keeper.after) == before
        follow("new")
        assert arrives("d")
        keeper.bring([{**entry, "password": "new"}])
        assert not p.signs_in("repl", "old", r.folder / "ca.crt")
        assert p.signs_in("repl", "new", r.folder / "ca.crt")
        # A reconnect, by the new CA alone.
        last, _ = contents.Wish({}, [], fleet=["erp1"], showing=["erp1"]).applied(new)
        put(r.folder, last)
        follow("new")
        assert arrives("e")


SETTINGS = {
    "listed": ["a.test"],
    "names": {},
    "hosts": ["10.0.0.2"],
    "passwords": {},
    "site_key": "k",
    "besides": {},
    "max_statement_time": 600.0,
    "max_user_connections": 50,
    "cli_dir": "/c",
}


@needs_mariadb
def test_site_gets_a_new_password_and_both_are_accepted_until_the_end(
    instance: Callable[[str], Instance], tmp_path: Path
):
    one = instance("primary")
    put(one.folder, made())
    folder = tmp_path / "bench/sites/a.test"
    folder.mkdir(parents=True)
    config = folder / "site_config.json"
    config.write_text(json.dumps({"db_name": "a", "db_password": "old", "other": [1]}))
    config.chmod(0o640)
    (tmp_path / "state").mkdir()
    settings: dict[str, Any] = {
        **SETTINGS,
        "bench": str(tmp_path / "bench"),
        "state_dir": str(tmp_path / "state"),
        "user": getpass.getuser(),
    }
    line = Line(settings)

    def password() -> str:
        return str(json.loads(config.read_text())["db_password"])

    with one.running(), mariadb.local(one.socket) as server:
        for statement in (
            "CREATE DATABASE a",
            "CREATE USER a@localhost IDENTIFIED BY 'old'",
            "CREATE USER a@127.0.0.1 IDENTIFIED BY 'old'",
            # Somebody else's, of the same name.
            "CREATE USER a@10.9.9.9 IDENTIFIED BY 'strange'",
            "GRANT ALL ON a.* TO a@localhost",
            "GRANT ALL ON a.* TO a@127.0.0.1",
            "CREATE DATABASE benchfleet",
            "CREATE TABLE benchfleet.account (user VARCHAR(80), host VARCHAR(255),"
            " PRIMARY KEY (user, host))",
        ):
            server.run(statement)

        def step(name: str) -> list[str]:
            passwords = site_passwords.Passwords(server, line)
            passwords.run(name)
            return passwords.changed

        line.accounts(server, line.look(server)[0])
        dry = site_passwords.Passwords(server, Line(settings, check_mode=True))
        dry.run("begin")
        assert dry.changed == ["a.test"]
        assert password() == "old"
        assert step("resume") == []

        # Killed before the file was written: nobody knows the second password.
        broken = site_passwords.Passwords(server, line)
        broken.write = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            broken.run("begin")
        assert one.signs_in("a", "old")

        assert step("begin") == ["a.test"]
        new = password()
        assert new != "old"
        assert json.loads(config.read_text())["other"] == [1]
        assert config.stat().st_mode & 0o777 == 0o640
        assert one.signs_in("a", "old")
        assert one.signs_in("a", new)
        assert step("begin") == step("resume") == []
        assert password() == new
        # What looks after the sites every 15 s meets the new password, and keeps the former one.
        settings["besides"] = {"passwords": {}, "site_key": "l"}
        line.accounts(server, line.look(server)[0])
        hashes = site_passwords.hashes_of(server, "a")
        assert [len(hashes[host]) for host in ("localhost", "10.0.0.2")] == [2, 2]
        reader = site_passwords.hashes_of(server, "a_ro")["10.0.0.2"]
        assert len(reader) == 2

        # Frappe, which was about to write another key, has written the former one back.
        config.write_text(config.read_text().replace(new, "old"))
        with pytest.raises(site_passwords.SiteError, match=re.escape(str(config))):
            step("end")
        assert step("resume") == ["a.test"]
        new = password()
        assert step("end") == ["a.test"]
        assert not one.signs_in("a", "old")
        assert one.signs_in("a", new)
        assert step("end") == []
        settings["besides"] = {}
        line.accounts(server, line.look(server)[0])
        assert len(site_passwords.hashes_of(server, "a_ro")["10.0.0.2"]) == 1
        assert site_passwords.hashes_of(server, "a")["10.9.9.9"] == [
            statements.password_hash("strange")
        ]


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt
