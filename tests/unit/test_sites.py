"""Sites made and dropped by hand: what is found in a folder, and what is made of it."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet.mariadb.accounts import LOCKED
from fleet.mariadb.statements import password_hash
from fleet.sites import accounts, credentials, nginx, private_paths, reconcile
from fleet.sites import folders as sites
from fleet.sites.folders import Folders, Site, SiteError
from fleet.status import host as node_status
from fleet.survey import benches
from fleet.verify.host import Host

CONFIG = {"db_name": "_d", "db_password": "p", "encryption_key": "k"}


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A bench without sites."""
    (tmp_path / "sites/assets").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    return Folders(f"{tmp_path}/sites", f"{tmp_path}/state")


@pytest.fixture
def put(folders: Folders) -> Callable[..., Path]:
    """Make a site's folder."""

    def make(name: str, content: Any = None) -> Path:
        folder = Path(folders.sites, name)
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content or CONFIG)
        (folder / "site_config.json").write_text(text)
        return folder

    return make


@pytest.mark.parametrize("length", [1, 64, 76, 77, 80])
def test_a_reading_account_fits_a_user_name(length: int) -> None:
    name = credentials.read_only_user("d" * length)
    assert name.endswith("_ro")
    assert len(name) <= credentials.USER_LIMIT


def test_a_password_is_the_keys_and_the_databases() -> None:
    assert credentials.read_only_password("k", "d") == credentials.read_only_password("k", "d")
    assert credentials.read_only_password("k", "d") != credentials.read_only_password("k", "e")
    assert credentials.read_only_password("k", "d") != credentials.read_only_password("l", "d")
    assert len(credentials.read_only_password("k", "d")) == 48


def test_a_password_in_the_secrets_wins_for_the_whole_database() -> None:
    found = {name: Site(name, "d", "d", "p", True) for name in ("a.test", "b.test")}
    found["c.test"] = Site("c.test", "e", "e", "p", True)
    passwords = credentials.passwords_by_database(found, {"b.test": "own"}, "k")
    assert passwords == {"d": "own", "e": credentials.read_only_password("k", "e")}


def test_folders_with_a_configuration_are_sites_and_links_are_not(
    folders: Folders, put: Callable[..., Path]
) -> None:
    put("a.test")
    Path(folders.sites, "b.test").symlink_to("a.test")
    Path(folders.sites, "empty.test").mkdir()
    assert folders.names() == ["a.test"]
    assert list(folders.look([], {})[0]) == ["a.test"]


def test_further_names_are_those_of_the_configuration_and_of_links(
    folders: Folders, put: Callable[..., Path]
) -> None:
    domains = ["Shop.test", {"domain": "b2b.test", "ssl_certificate": "/c"}, 7, {}, "no name;"]
    put("a.test", CONFIG | {"domains": domains, "host_name": "https://www.a.test:8443/desk"})
    Path(folders.sites, "old.test").symlink_to("a.test")
    Path(folders.sites, "elsewhere.test").symlink_to("/etc")
    (site,) = folders.look([], {})[0].values()
    assert site.names == ("shop.test", "b2b.test", "www.a.test", "old.test")


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("https://user:p@www.a.test:8443/x", ("www.a.test",)),
        ("HTTPS://WWW.a.test", ("www.a.test",)),
        ("//www.a.test/", ("www.a.test",)),
        ("www.a.test:8000", ("www.a.test",)),
        ("http://[::1", ()),
        ("", ()),
        (7, ()),
    ],
)
def test_a_host_name_is_read_as_an_address(address: object, names: tuple[str, ...]) -> None:
    assert sites.further_names({"host_name": address}) == names


def test_a_name_that_two_sites_claim_is_not_served_and_a_sites_own_name_is() -> None:
    one = Site("a.test", "a", "a", "p", True, ("b.test", "both.test", "a2.test"))
    other = Site("b.test", "b", "b", "p", True, ("both.test",))
    found, (doubt,) = sites.further_and_doubtful([other, one], {})
    assert found == {"a.test": ["a2.test"]}
    assert doubt.startswith("both.test ")
    assert all(name in doubt for name in ("a.test", "b.test"))


@pytest.mark.parametrize("name", ["x;y", "a b", '"', "-a", "ä.test", "a."])
def test_a_name_that_nginx_could_misread_is_passed_over(
    folders: Folders, put: Callable[..., Path], name: str
) -> None:
    put(name)
    found, _, passed = folders.look([], {})
    assert (list(found), list(passed)) == ([], [name])


def test_a_site_that_is_being_made_is_passed_over(
    folders: Folders, put: Callable[..., Path]
) -> None:
    lock = put("a.test") / "locks/installing.lock"
    lock.touch()
    assert folders.look([], {})[0] == {}
    # Not one that was served before: its lock was left behind.
    assert "a.test" in folders.look([], {"a.test": "_d"})[0]
    lock.unlink()
    assert "a.test" in folders.look([], {})[0]
    # Frappe 15 and later leave their file there.
    with (lock.parent / "bench_new_site.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert folders.look([], {})[0] == {}
    assert "a.test" in folders.look([], {})[0]
    Path(sites.making_note(folders.state_dir, "a.test")).touch()
    assert folders.look([], {})[0] == {}


@pytest.mark.parametrize("text", ['{"db_name": "x"}', "{", "[]", '{"db_name": 3}'])
def test_an_incomplete_configuration_keeps_a_site_served(
    folders: Folders, put: Callable[..., Path], text: str
) -> None:
    put("a.test", text)
    put("b.test")
    found, torn, passed = folders.look([], {})
    assert (list(found), torn, list(passed)) == (["b.test"], {}, ["a.test"])
    found, torn, passed = folders.look(["a.test"], {"a.test": "_d"})
    assert (list(found), list(torn), passed) == (["b.test"], ["a.test"], {})
    with pytest.raises(SiteError, match=r"a\.test/site_config\.json"):
        folders.look(["a.test"], {})


def test_the_fingerprint_tells_every_change(folders: Folders, put: Callable[..., Path]) -> None:
    settings = Path(folders.state_dir, "settings")
    seen = [folders.fingerprint(str(settings))]

    def changed() -> bool:
        seen.append(folders.fingerprint(str(settings)))
        return seen[-1] != seen[-2]

    assert not changed()
    folder = put("a.test")
    assert changed()
    assert not changed()
    (folder / "locks/installing.lock").touch()
    assert changed()
    put("a.test", CONFIG | {"db_name": "_longer"})
    assert changed()
    settings.write_text("x")
    assert changed()
    folder.rename(folder.parent.parent / "archived")
    assert changed()


def served(names: dict[str, list[str]], **certified: str) -> list[str]:
    """The servers of sites; certified: name (dots as _) to the name of its certificate."""
    template = (
        f"server_name @names@; set $s @site@;\n{nginx.SECURE}"
        "server_name @names@; set $s @site@; use @certificate@ @key@;\n"
    )

    def certificate(site: str, name: str) -> tuple[str, str] | None:
        of = certified.get(name.replace(".", "_"))
        return (of, f"{site}.key") if of else None

    head, *lines = nginx.render_servers(template, names, certificate).splitlines()
    assert head == nginx.HEADER
    return lines


def test_servers_are_one_for_each_site() -> None:
    assert served({"b.test": [], "a.test": ["c.test"]}) == [
        "server_name a.test c.test; set $s a.test;",
        "server_name b.test; set $s b.test;",
    ]


def test_a_name_of_any_length_is_taken_by_nginx() -> None:
    site = ".".join(["long-name" * 6, "x" * 63, "test"])
    pattern = site.replace(".", r"\.").replace("-", r"\-")
    assert served({site: ["a.test"]}) == [f'server_name "~^{pattern}$" a.test; set $s {site};']


def test_names_are_served_with_their_certificates_and_others_by_http() -> None:
    names = {"a.test": ["aa.test", "10.0.0.1"], "b.test": []}
    assert served(names, a_test="one", aa_test="one", b_test="two") == [
        "server_name a.test aa.test; set $s a.test; use one a.test.key;",
        "server_name 10.0.0.1; set $s a.test;",
        "server_name b.test; set $s b.test; use two b.test.key;",
    ]


def test_names_of_the_inventory_are_not_given_to_other_sites() -> None:
    ours = [
        sites.Site("a.test", "a", "a", "p", True, ("mine", "b.test")),
        sites.Site("b.test", "b", "b", "p", True, ("mine", "other")),
    ]
    given = {"b.test": ["mine", "Given.test"], "gone.test": ["x"]}
    found, doubtful = sites.further_and_doubtful(ours, given)
    assert found == {"b.test": ["given.test", "mine", "other"]}
    assert doubtful == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sites": ["../x"]}', '{"sites": [1]}'])
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SiteError):
        sites.parse_list(text)


def test_a_list_is_read_as_it_was_written() -> None:
    assert sites.parse_list(sites.render_list(["b", "a"])) == ["a", "b"]


def test_accounts_that_asked_for_tls_once_go_on_doing_so(line: Any, put: Any) -> None:
    """The timer does not know what site.yml has seen; the accounts that are there do."""
    put("a.test", CONFIG | {"db_name": "a"})
    server = FakeServer({"a", "b"}, {("b", "b")})
    assert ["REQUIRE NONE" in sql for sql in made_by(line, server)] == [True] * 2
    line.require_tls = True
    assert ["REQUIRE SSL" in sql for sql in made_by(line, server)] == [True] * 2
    line.require_tls, server.tls = False, True
    put("b.test", CONFIG | {"db_name": "b"})
    made = made_by(line, server)
    assert ["REQUIRE SSL" in sql for sql in made] == [True] * 4
    assert len([sql for sql in made if "b_ro" in sql]) == 1
    # Which site.yml is told, so that it need not ask for it again.
    assert line.require_tls


def made_by(line: Any, server: Any) -> list[str]:
    """Statements of one look."""
    server.ran.clear()
    line.bring(server)
    return [sql for sql in server.ran if sql.startswith(("CREATE", "ALTER"))]


def test_accounts_are_two_per_host() -> None:
    site = Site("a.test", "_d", "_u", "p", True)
    made = accounts.wanted_accounts(site, ["10.0.0.2", "10.0.0.3"], "q", 600, 50)
    assert [(one["name"], one["host"]) for one in made] == [
        ("_u", "10.0.0.2"),
        ("_d_ro", "10.0.0.2"),
        ("_u", "10.0.0.3"),
        ("_d_ro", "10.0.0.3"),
    ]
    assert "INSERT" not in str(made[1]["grants"])


class FakeServer:
    """A primary with databases, accounts with rights on them, and a registry."""

    def __init__(self, databases: set[str], owners: set[tuple[str, str]]) -> None:
        self.databases = databases
        # Who made the inventory's site gave its account its database.
        self.owners = owners | {("a", "a")}
        self.definers: list[str] = []
        self.locked = self.tls = False
        self.registry: list[tuple[str, str]] = []
        self.ran: list[str] = []
        # Of accounts whose password is another one than that of CONFIG.
        self.passwords: dict[str, str] = {}

    def lets_in(self, user: str, password: str, database: str) -> tuple[str, str] | None:
        known = password == self.passwords.get(user, CONFIG["db_password"])
        return (user, "127.0.0.1") if known and (user, database) in self.owners else None

    def value(self, sql: str, args: tuple[Any, ...] = ()) -> Any:
        if "SCHEMATA" in sql:
            return args[0] in self.databases
        if "mysql.db" in sql:
            return any((args[0], database) in self.owners for database in args[1:])
        if "global_priv" in sql:
            return args in self.registry or args[1] == "127.0.0.1"
        if sql.startswith("SHOW CREATE USER"):
            shown = "CREATE USER x IDENTIFIED BY PASSWORD '*" + "0" * 40 + "'"
            return shown + " REQUIRE SSL" * self.tls + " ACCOUNT LOCK" * self.locked
        return 0

    def rows(self, sql: str, args: Any = None) -> list[dict[str, Any]]:
        if "DEFINER" in sql:
            return [{"who": who} for who in self.definers]
        if "benchfleet" in sql:
            return [{"user": user, "host": host} for user, host in self.registry]
        user = sql.split("`")[1].removesuffix("_ro")
        if sql.endswith("@`127.0.0.1`"):
            owned = [database for owner, database in self.owners if owner == user]
            return [{"g": f"GRANT ALL PRIVILEGES ON `{name}`.* TO `x`@`y`"} for name in owned]
        return [{"g": f"GRANT SELECT ON `{user}`.* TO `x`@`y`"}]

    def run(self, sql: str, args: tuple[str, str] = ("", "")) -> None:
        self.ran.append(sql)
        if sql.startswith("INSERT"):
            self.registry.append(args)
        if sql.startswith("DELETE"):
            self.registry.remove(args)


@pytest.fixture
def line(folders: Folders) -> Any:
    """What the timer does, on a bench whose inventory names a.test."""
    return reconcile.Line(
        {
            "bench": str(Path(folders.sites).parent),
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "cli_dir": "/c",
            "state_dir": folders.state_dir,
            "listed": ["a.test"],
            "hosts": ["10.0.0.2"],
            "passwords": {"a.test": "own"},
            "site_key": "k",
            "besides": {},
            "max_statement_time": 600.0,
            "max_user_connections": 50,
            "nginx": {
                "template": "/none",
                "target": "/none",
                "loaded_file": "/none",
                "certificates": [],
                "acme": {"email": ""},
            },
            "names": {},
        }
    )


def listed(line: Any) -> list[str]:
    return sites.parse_list(Path(line.list_file).read_text())


def drops(server: FakeServer) -> list[str]:
    return [sql for sql in server.ran if sql.startswith("DROP USER")]


def open_paths(outcome: Any) -> list[str]:
    """Paths that an outcome reports as open to every account."""
    end = f" {private_paths.OPEN_TO_ALL}"
    return sorted(text.removesuffix(end) for text in outcome.before if text.endswith(end))


def test_a_sites_secrets_are_closed_to_other_accounts(
    line: Any, put: Callable[..., Path], tmp_path: Path
) -> None:
    folder = put("a.test", CONFIG | {"db_name": "a"})
    for name in ("private/backups", "private/files", "public/files"):
        (folder / name).mkdir(parents=True)
        (folder / name / "f").write_text("x")
    elsewhere = put("b.test", CONFIG | {"db_name": "b"}) / "private"
    (tmp_path / "volume").mkdir()
    elsewhere.symlink_to(tmp_path / "volume")
    for path in (tmp_path / "volume", *Path(line.folders.sites).rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    server = FakeServer({"a", "b"}, {("b", "b")})
    line.check_mode = True
    would = open_paths(line.bring(server))
    line.check_mode = False
    assert would == open_paths(line.bring(server))
    assert would == [
        "a.test/private",
        "a.test/private/backups",
        "a.test/private/files",
        "a.test/site_config.json",
        "b.test/site_config.json",
    ]
    # The web server passes through to a file that it was told to send.
    modes = {"site_config.json": 0o640, "private": 0o751, "private/files": 0o751}
    modes |= {
        "private/backups": 0o750,
        "private/files/f": 0o644,
        "public/files/f": 0o644,
        ".": 0o755,
    }
    for name, mode in modes.items():
        assert (folder / name).stat().st_mode & 0o777 == mode, name
    assert (tmp_path / "volume").stat().st_mode & 0o777 == 0o755
    assert open_paths(line.bring(server)) == []


def test_a_site_made_by_hand_is_served_and_a_dropped_one_is_gone(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    folder = put("b.test", CONFIG | {"db_name": "b"})
    server = FakeServer({"a", "b"}, {("b", "b")})
    line.bring(server)
    note = Path(sites.made_note(line.settings["state_dir"], "b.test"))
    note.touch()
    assert listed(line) == ["a.test", "b.test"]
    assert ("b_ro", "10.0.0.2") in server.registry
    assert sites.served(sites.read_state(line.settings["state_dir"])) == ["a.test", "b.test"]
    folder.rename(folder.parent.parent / "archived")
    server.databases.remove("b")
    outcome = line.bring(server)
    assert listed(line) == ["a.test"]
    assert drops(server) == [
        "DROP USER IF EXISTS `b`@`10.0.0.2`",
        "DROP USER IF EXISTS `b_ro`@`10.0.0.2`",
    ]
    assert outcome.notes == []
    assert not note.exists()
    assert ("a_ro", "10.0.0.2") in server.registry


def test_an_account_that_a_trigger_runs_as_is_locked_until_it_is_not(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    server = FakeServer({"a"}, set())
    line.bring(server)
    line.settings["hosts"] = []
    server.definers, server.ran = ["a@10.0.0.2"], []
    after = line.bring(server).after
    assert [sql for sql in server.ran if "LOCK" in sql] == [
        "ALTER USER `a`@`10.0.0.2` ACCOUNT LOCK"
    ]
    assert drops(server) == ["DROP USER IF EXISTS `a_ro`@`10.0.0.2`"]
    assert f"a@10.0.0.2; {LOCKED}" in after
    assert server.registry == [("a", "10.0.0.2")]
    server.locked = True
    again = line.bring(server)
    assert again.before == again.after
    server.definers = []
    line.bring(server)
    assert drops(server)[-1] == "DROP USER IF EXISTS `a`@`10.0.0.2`"
    assert server.registry == []


def test_a_folder_that_is_gone_without_its_database_loses_no_more(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    folder = put("b.test", CONFIG | {"db_name": "b"})
    server = FakeServer({"a", "b"}, {("b", "b")})
    line.bring(server)
    folder.rename(folder.parent.parent / "mistake")
    outcome = line.bring(server)
    assert outcome.lost == ["b.test"]
    assert outcome.notes[0].startswith("b.test ")
    # The reporting hosts keep their copies, and nginx sends no calls.
    assert listed(line) == ["a.test", "b.test"]
    assert sites.served(sites.read_state(line.settings["state_dir"])) == ["a.test"]
    assert drops(server) == []
    folder.parent.parent.joinpath("mistake").rename(folder)
    assert line.bring(server).lost == []
    assert sites.served(sites.read_state(line.settings["state_dir"])) == ["a.test", "b.test"]


def test_a_dropped_site_of_the_inventory_is_lost(line: Any, put: Callable[..., Path]) -> None:
    folder = put("a.test", CONFIG | {"db_name": "a"})
    put("b.test", CONFIG | {"db_name": "b"})
    server = FakeServer({"a", "b"}, {("b", "b")})
    line.bring(server)
    folder.rename(folder.parent.parent / "archived")
    server.databases.remove("a")
    assert line.bring(server).lost == ["a.test"]
    assert listed(line) == ["a.test", "b.test"]


@pytest.mark.parametrize(
    "config",
    [
        {"db_name": "mysql", "db_user": "b"},
        {"db_name": "benchfleet", "db_user": "fleet_probe"},
        {"db_name": "b", "db_user": "repl"},
        {"db_name": "a", "db_user": "b"},
    ],
)
def test_a_folder_gives_access_only_to_its_own_database(
    line: Any, put: Callable[..., Path], config: dict[str, str]
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    put("b.test", CONFIG | config)
    owners = {("b", "b"), ("b", "mysql"), ("fleet_probe", "benchfleet")}
    server = FakeServer({"a", "b", "mysql"}, owners)
    outcome = line.bring(server)
    assert list(outcome.passed) == ["b.test"]
    assert listed(line) == ["a.test"]
    assert {user for user, _ in server.registry} == {"a", "a_ro"}


def test_a_site_without_its_accounts_password_gets_no_accounts(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    put("z.test", CONFIG | {"db_name": "wordpress", "db_password": "mine"})
    server = FakeServer({"a", "wordpress"}, {("wordpress", "wordpress")})
    server.passwords["wordpress"] = "theirs"
    outcome = line.bring(server)
    refused = Site("z.test", "wordpress", "wordpress", "mine", True)
    assert outcome.passed == {"z.test": accounts.not_let_in(refused)}
    assert {user for user, _ in server.registry} == {"a", "a_ro"}
    assert password_hash("mine") not in "".join(server.ran)


def test_a_site_whose_password_is_being_changed_is_served_as_before(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    put("b.test", CONFIG | {"db_name": "b"})
    server = FakeServer({"a", "b"}, {("b", "b")})
    line.bring(server)
    server.passwords["b"] = "new"
    assert line.bring(server).torn.keys() == {"b.test"}
    assert listed(line) == ["a.test", "b.test"]
    assert sites.served(sites.read_state(line.settings["state_dir"])) == ["a.test", "b.test"]
    assert drops(server) == []


def test_accounts_for_other_hosts_have_the_rights_of_the_sites_own(
    line: Any, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    server = FakeServer({"a"}, set())
    asked = server.rows
    monkeypatch.setattr(
        server,
        "rows",
        lambda sql, args=None: [
            {"g": row["g"].replace("ALL PRIVILEGES", "INSERT, SELECT")} if "g" in row else row
            for row in asked(sql, args)
        ],
    )
    line.bring(server)
    assert [sql for sql in server.ran if "TO `a`@`10.0.0.2`" in sql] == [
        # The server of this test gives each account SELECT.
        "GRANT INSERT ON `a`.* TO `a`@`10.0.0.2`"
    ]


def test_a_site_of_the_inventory_gives_away_no_more_than_others(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "mysql", "db_user": "a"})
    server = FakeServer({"a", "mysql"}, {("a", "mysql")})
    with pytest.raises(SiteError, match=r"a\.test .* mysql\b.*/a\.test/site_config\.json"):
        line.bring(server)
    assert server.registry == []


def test_keys_that_break_a_site_are_reported(line: Any, put: Callable[..., Path]) -> None:
    put("a.test", CONFIG | {"db_name": "a", "use_rq_auth": 1, "redis_queue": "redis://:hush@h"})
    put("b.test", CONFIG | {"db_name": "b", "db_type": "postgres"})
    outcome = line.bring(FakeServer({"a", "b"}, {("a", "a"), ("b", "b")}))
    assert listed(line) == ["a.test"]
    other, keys = outcome.notes
    assert other.startswith("b.test ")
    assert "postgres" in other
    assert "a.test/site_config.json " in keys
    assert " redis_queue, use_rq_auth" in keys
    assert "hush" not in keys


def test_an_old_copy_of_a_folder_does_not_change_a_sites_password(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "a", "db_password": "new"})
    put("0-copy.test", CONFIG | {"db_name": "a", "db_password": "old"})
    server = FakeServer({"a"}, {("a", "a")})
    server.passwords["a"] = "new"
    line.bring(server)
    made = "".join(server.ran)
    assert password_hash("new") in made
    assert password_hash("old") not in made


def test_accounts_of_hosts_that_left_are_dropped_and_local_ones_never(
    line: Any, put: Callable[..., Path]
) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    server = FakeServer({"a"}, set())
    server.registry = [("a_ro", "10.0.0.9"), ("a", "127.0.0.1")]
    line.bring(server)
    assert drops(server) == ["DROP USER IF EXISTS `a_ro`@`10.0.0.9`"]


def test_a_dry_run_writes_nothing(line: Any, put: Callable[..., Path]) -> None:
    put("a.test", CONFIG | {"db_name": "a"})
    line.check_mode = True
    server = FakeServer({"a"}, set())
    outcome = line.bring(server)
    assert outcome.before != outcome.after
    assert server.ran == []
    assert not Path(line.list_file).exists()
    assert not line.state_file.exists()


def test_a_new_site_has_its_key_before_it_is_copied(
    line: Any, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.test", {"db_name": "a", "db_password": "p"})
    said: list[str] = []

    def frappe(_bench: str, _user: str, _environment: Any, words: list[str], _what: str) -> None:
        assert not Path(line.list_file).exists()
        said.append(" ".join(words[:4]))

    monkeypatch.setattr(reconcile, "frappe_command", frappe)
    common = put("a.test", {"db_name": "a", "db_password": "p"}).parent
    line.bring(FakeServer({"a"}, set()))
    assert said == ["--site a.test set-config encryption_key"]
    # A common key for all sites counts: with another one, encrypted data could not be read.
    (common / "common_site_config.json").write_text('{"encryption_key": "k"}')
    Path(line.list_file).unlink()
    line.bring(FakeServer({"a"}, set()))
    assert len(said) == 1


def test_sites_that_were_made_and_are_gone_are_found(
    folders: Folders, put: Callable[..., Path]
) -> None:
    put("a.test")
    for name in ("a.test", "b.test"):
        Path(sites.made_note(folders.state_dir, name)).touch()
    bench = str(Path(folders.sites).parent)
    assert benches.gone_sites(bench, folders.state_dir) == ["b.test"]


def test_status_shows_which_sites_are_served(line: Any, put: Callable[..., Path]) -> None:
    assert node_status.sites(line.settings["state_dir"]) == {"sites": [], "sites_not_served": []}
    put("a.test", CONFIG | {"db_name": "a"})
    put("b;c", CONFIG | {"db_name": "b"})
    line.bring(FakeServer({"a"}, set()))
    shown = node_status.sites(line.settings["state_dir"])
    assert shown["sites"] == ["a.test"]
    assert shown["sites_not_served"] == [f"b;c is not served: {sites.NO_HOST_NAME}"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"sites": ["a.test", "b.test"]}', ["a.test", "b.test"]),
        ('{"sites": ["b.test"]}', ["a.test", "b.test"]),
        (None, ["a.test"]),
        ("{", ["a.test"]),
    ],
)
def test_verify_looks_at_the_sites_of_the_bench_too(
    folders: Folders, text: str | None, names: list[str]
) -> None:
    if text is not None:
        Path(folders.sites, sites.LIST).write_text(text)
    bench = str(Path(folders.sites).parent)
    about = {"host": "rep1", "bench": bench, "sites": ["a.test"], "ports": {}}
    assert Host({"about": about, "calls": {}}).all_sites == names
