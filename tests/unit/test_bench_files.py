"""A bench's own files are read as Frappe, redis-py and Redis read them; the programs are asked."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from fleet.bench import files

from filter_plugins import bench

ROOT = Path(__file__).parents[2]

# --- keys ---------------------------------------------------------------------------------------


def documented() -> dict[str, tuple[str, str]]:
    """The table of keys in docs/adopt.md."""
    page = (ROOT / "docs/adopt.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    found: dict[str, tuple[str, str]] = {}
    for keys, _read_by, common, site in (row for row in rows if len(row) == 4):
        for key in re.findall(r"`(\w+)`", keys):
            assert key not in found, f"{key} stands in the table twice"
            found[key] = (common.strip(), site.strip())
    return found


def test_the_page_says_of_each_key_what_the_code_does():
    table = documented()
    assert set(files.KEYS) <= set(table)
    pairs = {
        pair
        for key, both in table.items()
        for pair in zip(files.KEYS.get(key, (files.KEPT,) * 2), both, strict=True)
    }
    # The page says the same of all keys of which the same becomes, and of no others.
    assert len({kind for kind, _ in pairs}) == len({text for _, text in pairs}) == len(pairs)
    # Those that are kept need no code; the page names the usual ones.
    kept = set(table) - set(files.KEYS)
    assert {"http_timeout", "encryption_key", "rate_limit", "monitor", "host_name"} <= kept


def test_the_roles_set_and_take_out_what_the_table_says():
    role = ROOT / "roles/bench_primary/vars/main.yml"
    values = yaml.safe_load(role.read_text(encoding="utf-8"))
    fleet = yaml.safe_load((ROOT / "roles/fleet/vars/main.yml").read_text(encoding="utf-8"))
    ours = {*values["__bench_primary_config"], *fleet["fleet_redis_urls"], "chromium_path"}
    assert set(files.keys_that_are(files.SET, files.OWN, files.SHARED)) == ours
    node = yaml.safe_load(
        (ROOT / "roles/bench_reporting/vars/main.yml").read_text(encoding="utf-8")
    )["__bench_reporting_config"]
    node = {*node, *fleet["fleet_redis_urls"]}
    assert node | {"chromium_path"} == set(files.keys_that_are(files.OWN, files.NODE))
    assert not set(bench.config_keys("absent")) & {*ours, *node}
    assert set(bench.config_keys("back")) == ours - {"workers"} | set(bench.config_keys("out"))


def test_halves_of_pairs_go_from_a_node_in_either_file():
    common = {"use_rq_auth": True, "rq_password": "x", "db_socket": "/run/x", "http_timeout": 600}
    absent = {*bench.config_keys("out"), *bench.config_keys("absent")}
    assert set(common) - absent == {"http_timeout"}
    site = {"db_name": "a", "pause_scheduler": 0, "replica_host": "x", "root_password": "x"}
    assert files.for_node(common | site) == {"db_name": "a", "http_timeout": 600}


@pytest.mark.parametrize(
    ("config", "site", "keys"),
    [
        ({"use_rq_auth": True, "rq_username": "x"}, True, ["rq_username", "use_rq_auth"]),
        ({"use_rq_auth": True, "rq_username": "x"}, False, []),
        ({"redis_cache": "redis://127.0.0.1:13000"}, True, ["redis_cache"]),
        ({"read_from_replica": 0, "db_ssl_ca": "", "bench_id": None}, True, []),
        ({"read_from_replica": 1, "db_name": "a"}, False, ["db_name", "read_from_replica"]),
        ({"db_type": "postgres"}, False, []),
    ],
)
def test_what_no_fleet_can_live_with(config: dict, site: bool, keys: list[str]):
    assert files.refused_keys(config, site) == keys


def test_a_database_of_another_kind():
    assert files.other_database({}, {}) == ""
    assert files.other_database({"db_type": ""}, {"db_type": "mariadb"}) == ""
    assert files.other_database({}, {"db_type": "postgres"}) == "postgres"
    assert files.other_database({"db_type": "sqlite"}, {"db_type": "mariadb"}) == "sqlite"
    assert files.other_database({"db_type": "mariadb"}, {"db_type": "postgres"}) == ""


def test_secrets_are_recognised_by_name_or_address():
    secret = {"rq_password": "x", "Mail_Token": "x", "stripe_secret": "x", "encryption_key": "x"}
    secret |= {"a": "redis://:p@h", "b": "redis://:p/q@h", "c": "redis://h?password=x"}
    public = {"host_name": "https://erp.example.com", "http_timeout": 600}
    assert bench.secret_part(secret | public) == secret


# --- URLs ---------------------------------------------------------------------------------------

UNREAD: tuple[Any, ...] = ("", "", 0, 0)
# As redis-py 4.5.5 and 7.4.1 take them: scheme, host, port, database.
URLS: dict[str, tuple[Any, ...]] = {
    "redis://127.0.0.1": ("redis", "127.0.0.1", 6379, 0),
    "redis://localhost:11000/1": ("redis", "localhost", 11000, 1),
    "redis://": ("redis", "localhost", 6379, 0),
    "redis://:p@h:1": ("redis", "h", 1, 0),
    "redis://u:p%40x%2F@h:1/2": ("redis", "h", 1, 2),
    "redis://:pa@ss@h:7000": ("redis", "h", 7000, 0),
    "redis://[::1]:11000": ("redis", "::1", 11000, 0),
    "redis://[fe80::1]/3": ("redis", "fe80::1", 6379, 3),
    "rediss://h": ("rediss", "h", 6379, 0),
    "redis://?host=10.0.0.5&port=7": ("redis", "10.0.0.5", 7, 0),
    "redis://h:1/4?db=5": ("redis", "h", 1, 5),
    "redis://h:1/abc": ("redis", "h", 1, 0),
    "redis://h:1/ 2": ("redis", "h", 1, 2),
    "redis://%6c:1": ("redis", "l", 1, 0),
    "redis://H.LAN:1": ("redis", "h.lan", 1, 0),
    "redis://h:0": ("redis", "h", 6379, 0),
    "unix://": ("unix", "", 0, 0),
    "unix:///run/redis.sock": ("unix", "", 0, 0),
    "unix://u:p@/run/redis.sock?db=2": ("unix", "", 0, 2),
    "redis://:pa/ss@h:7000": UNREAD,
    "redis://[::1": UNREAD,
    "redis://h:x": UNREAD,
    "redis://h:99999": UNREAD,
    "redis://h:1?db=x": UNREAD,
    "REDIS://h:1": UNREAD,
    "redis:h": UNREAD,
    " redis://h": UNREAD,
    "": UNREAD,
}


@pytest.mark.parametrize("url", URLS)
def test_urls_are_read_as_redis_py_reads_them(url: str):
    found = files.redis_address(url)
    told = UNREAD if found["trouble"] else tuple(found[k] for k in ("scheme", "host", "port", "db"))
    assert told == URLS[url]
    assert not {"p", "u", "ss", "pa"} & {word for value in found.values() for word in [value]}


@pytest.mark.parametrize("url", URLS)
def test_redis_py_reads_them_so(url: str):
    try:
        pool = redis.ConnectionPool.from_url(url)
    except ValueError:
        assert URLS[url] == UNREAD
        return
    known = pool.connection_kwargs
    name = pool.connection_class.__name__
    scheme = "unix" if "Unix" in name else "rediss" if "SSL" in name else "redis"
    place = (
        ("", 0) if scheme == "unix" else (known.get("host", "localhost"), known.get("port", 6379))
    )
    assert (scheme, place[0], int(place[1]), int(known.get("db", 0))) == URLS[url]


def test_what_is_no_url_is_reported_without_quoting_it():
    for url in (11000, None, ["redis://h"], "redis://:pa/ss@h", "http://:pa/ss@h"):
        trouble = files.redis_address(url)["trouble"]
        assert trouble
        assert "ss@" not in trouble


def test_hosts_that_are_this_one():
    here = ("", None, "localhost", "LocalHost", "127.0.1.1", "[::1]", "ip6-localhost", "0.0.0.0")
    assert all(map(files.is_local, here))
    assert not any(map(files.is_local, ("10.0.0.1", "db.lan", "localhost.lan", "::2")))


# --- apps.txt -----------------------------------------------------------------------------------


# As get_file_items of Frappe 15 and 17 read it.
@pytest.mark.parametrize(
    ("text", "apps"),
    [
        ("frappe\nerpnext\n", ["frappe", "erpnext"]),
        ("\n\nfrappe\r\n\r\n  erpnext\t\r\n", ["frappe", "erpnext"]),
        ("\ufefffrappe\nerpnext\u200b", ["frappe", "erpnext"]),
        ("# ours\nfrappe\n#hrms\n #odd\n", ["frappe", "#odd"]),
        ("frappe\rerpnext\x0chrms", ["frappe", "erpnext", "hrms"]),
        ("frappe\nmy app\n", ["frappe", "my app"]),
        (" \n", []),
    ],
)
def test_apps_are_read_as_frappe_reads_them(text: str, apps: list[str]):
    assert files.apps_in(text) == apps


# --- Redis' files -------------------------------------------------------------------------------

needs_redis = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="redis-server is not installed"
)
# A line, and the setting that it is to Redis; None where Redis refuses the file.
LINES: list[tuple[str, tuple[str, str] | None]] = [
    ("maxmemory 2mb", ("maxmemory", "2mb")),
    ("MaxMemory\t2MB", ("maxmemory", "2MB")),
    ("  maxmemory   3mb  \r", ("maxmemory", "3mb")),
    ("maxmemory 2mb\nmaxmemory 4mb", ("maxmemory", "4mb")),
    ("# maxmemory 9mb", ("maxmemory", "0")),
    ('requirepass "a b"', ("requirepass", "a b")),
    ("requirepass 'a \"b'", ("requirepass", 'a "b')),
    (r"requirepass 'it\'s'", ("requirepass", "it's")),
    (r'requirepass "a\"\x41\t."', ("requirepass", 'a"A\t.')),
    ('requirepass a"b c"', ("requirepass", "ab c")),
    (r"requirepass a\b", ("requirepass", r"a\b")),
    ("requirepass a#b", ("requirepass", "a#b")),
    ('"requirepass" x', ("requirepass", "x")),
    ("requirepass x # note", None),
    ("requirepass x\x0by", ("requirepass", "x\x0by")),
    ('requirepass "x"\x0b', ("requirepass", "x")),
    ('requirepass "x', None),
    ('requirepass "x"y', None),
    ("requirepass 'x'y", None),
    ('requirepass ""', ("requirepass", "")),
    ("requirepass x\x85", ("requirepass", "x\x85")),
    ("DBFILENAME 'q 1.rdb'", ("dbfilename", "q 1.rdb")),
]


class Server:
    """A Redis of the test's own, reached by its socket alone."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        (folder / "redis.conf").write_text(text, newline="")
        options = ["--unixsocket", str(folder / "s"), "--bind", "127.0.0.1", "--dir", str(folder)]
        words = ["redis-server", str(folder / "redis.conf"), *options, "--save", ""]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ask(self, *words: str, password: str = "") -> str:
        """What Redis answers; "" while it does not."""
        command = ["redis-cli", "-s", str(self.folder / "s"), "--no-auth-warning"]
        command += ["-a", password] if password else []
        return subprocess.run(
            [*command, *words], capture_output=True, text=True, check=False
        ).stdout.removesuffix("\n")

    def runs(self) -> bool:
        """Whether it has taken its file."""
        while self.process.poll() is None:
            if self.ask("PING"):
                return True
            time.sleep(0.01)
        return False

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()


@needs_redis
@pytest.mark.parametrize(("lines", "told"), LINES)
def test_redis_files_are_read_as_redis_reads_them(
    tmp_path: Path, lines: str, told: tuple[str, str] | None
):
    with Server(tmp_path, f"port 0\n{lines}\n") as server:
        runs = server.runs()
        assert runs == (told is not None)
        if told is None:
            # How many words a setting takes, Redis alone knows: what it refuses runs nowhere.
            words = files.redis_words(lines)
            assert words is None or len(words) != 2
            return
        name, value = told
        ours = files.redis_settings(lines)
        assert ours.get(name, "0") == value
        password = ours.get("requirepass", "")
        theirs = server.ask("CONFIG", "GET", name, password=password).removeprefix(f"{name}\n")
        number = re.fullmatch(r"(\d+)mb", value, re.IGNORECASE)
        assert theirs == (str(int(number[1]) * 1024**2) if number else value)


@needs_redis
@pytest.mark.parametrize(
    "own",
    [
        "",
        "user default on nopass ~* &* +@all\nuser erp on >x ~* +@all\n",
        "USER default on nopass ~* &* +@all\n",
        "aclfile {folder}/queue.acl\n",
        "AclFile '{folder}/queue.acl'\n",
        '"aclfile" "{folder}/queue.acl"\n',
        "requirepass one\nRequirePass 'two'\n",
        "daemonize yes\n",
        "unixsocketperm 700\nmaxmemory '2gb'\nAPPENDFSYNC Always\n",
    ],
)
def test_our_users_hold_whatever_the_operators_file_says(tmp_path: Path, own: str):
    (tmp_path / "queue.acl").write_text("user default on nopass ~* &* +@all\n")
    text = f"port 1\n{own}".format(folder=tmp_path)
    (tmp_path / "ours.acl").write_text("user default on >s3cret ~* &* +@all\n")
    ours = bench.redis_config(text, ["127.0.0.1"], f"{tmp_path}/ours.acl", 128, queue=True)
    with Server(tmp_path, ours.replace("port 1\n", "port 0\n")) as server:
        assert server.runs()
        assert "NOAUTH" in server.ask("PING")
        assert server.ask("PING", password="s3cret") == "PONG"
        assert server.ask("ACL", "USERS", password="s3cret") == "default"
        wanted = {"maxmemory": str(2 * 1024**3), "appendfsync": "always"}
        if "2gb" not in own:
            wanted = {"maxmemory": str(128 * 1024**2), "appendfsync": "everysec"}
        for name, value in wanted.items():
            told = server.ask("CONFIG", "GET", name, password="s3cret")
            assert told == f"{name}\n{value}"
        # As supervisor wants it.
        assert server.process.poll() is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port 1\ninclude /etc/redis/common.conf", "line 2, include"),
        ("port 1\n\nReplicaOf 10.0.0.1 6379", "line 3, replicaof"),
        ("port 1\nSLAVEOF 10.0.0.1 6379", "line 2, slaveof"),
        ("cluster-enabled yes\nport 1", "line 1, cluster-enabled"),
        ('port 1\nrename-command CONFIG ""', "line 2, rename-command"),
        ("port 0\nunixsocket /run/redis.sock", "`port`"),
        ('port 1\nrequirepass "x', " 2 "),
    ],
)
def test_unsupported_settings_are_reported_with_their_line(text: str, words: str):
    assert [words in told for told in files.redis_refused(text)] == [True]
    assert files.redis_refused("port 1\ncluster-enabled no\n# include x\n") == []


def test_removed_settings_are_reported_without_a_value():
    text = "port 1\naclfile /x\nUSER erp on >secret\nuser\n"
    assert files.redis_gone(text) == ["aclfile", "user erp", "user"]
