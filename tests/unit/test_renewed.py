"""Certificates that changed on the primary reach the standby's router, a real nginx, and only them.

ssh and sudo are stand-ins: they run what the key's line and the sudo rule name. nginx, the two
programs and the shell between them are real.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet import channel
from fleet.channel import AwayError, ChannelError, answer
from fleet.files import FileError
from fleet.http import shown_certificate
from fleet.nginx import files
from fleet.nginx.files import digest
from fleet.nginx.renewed import Renewal, sent
from fleet.nginx.standby import BROUGHT
from fleet.nginx.syntax import NginxError

from filter_plugins.programs import with_imports
from tests.nginx import free_port, wait_for
from tests.unit.test_mariadb_seed import ROOT, script

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not NGINX or not shutil.which("openssl"),
    reason="root only; nginx or openssl is not installed",
)
NAME = "erp.example.com"
SSH = """#!/bin/sh
# The other host's side of a connection: options end at user@address.
while [ "$1" = -F ] || [ "$1" = -p ] || [ "$1" = -o ] || [ "$1" = -T ]; do
    [ "$1" = -T ] || shift; shift
done
[ -e {root}/away ] && {{ echo "connect: No route to host" >&2; exit 255; }}
SSH_ORIGINAL_COMMAND="$2" exec sh -c "$(cat {root}/forced)"
"""
SUDO = '#!/bin/sh\n[ "$1" = -n ] && [ $# = 2 ] && exec "$2"\nexit 97\n'
CONF = """
pid {root}/nginx.pid; error_log {root}/error.log; worker_processes 1;
events {{}}
http {{
    access_log off;
    server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {key}; }}
    server {{ listen 127.0.0.1:{other} ssl;
             ssl_certificate {live}/fullchain.pem; ssl_certificate_key {live}/privkey.pem; }}
    include {root}/own.d/*.conf;
}}
"""


def made(folder: Path, *, name: str = NAME) -> tuple[str, str]:
    """A new certificate and its key."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj"
    paths = [str(folder / name) for name in ("made.pem", "made.key")]
    command = ["openssl", *words.split(), f"/CN={name}", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return Path(paths[0]).read_text(), Path(paths[1]).read_text()


def put(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


class Hosts:
    """A primary and its standby, each a folder; what the primary's files are, on the standby."""

    def __init__(self, root: Path) -> None:
        self.root, self.state = root, root / "state"
        self.pem, self.key = root / "ssl/erp.pem", root / "ssl/erp.key"
        self.certbot = root / "letsencrypt"
        self.live = self.certbot / "live" / NAME
        self.loaded = self.state / "loaded"
        self.ports = free_port(), free_port()
        self.refuses_reload = False
        self.state.mkdir()
        (self.state / "forward").write_text("erp1 10.0.0.11 8003\n")
        pair, asked = made(root), made(root)
        put(self.pem, pair[0])
        put(self.key, pair[1], 0o600)
        for kind, text in zip(("fullchain", "privkey", "cert", "chain"), asked * 2, strict=True):
            put(self.certbot / "archive" / NAME / f"{kind}1.pem", text, 0o600)
            self.live.mkdir(parents=True, exist_ok=True)
            (self.live / f"{kind}.pem").symlink_to(f"../../archive/{NAME}/{kind}1.pem")
        put(
            root / "nginx.conf",
            CONF.format(
                root=root,
                pem=self.pem,
                key=self.key,
                live=self.live,
                port=self.ports[0],
                other=self.ports[1],
            ),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Of the program on the standby."""
        return {
            "primary": {"address": "10.0.0.11", "port": 22, "user": "u"},
            "state_dir": str(self.state),
            "loaded_file": str(self.loaded),
            "names": {"crm.test": [], NAME: []},
            "certificates": [{"site": "crm.test", "certificate": self.pem, "key": self.key}],
            "acme": {"email": "ops@b.test"},
        }

    def nginx(self, *words: str) -> tuple[int, str, str]:
        """Run it with this host's configuration."""
        command = [str(NGINX), "-p", str(self.root), "-c", str(self.root / "nginx.conf"), *words]
        return files.run_here(command)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """nginx -t, and systemctl for nginx's unit."""
        if command[0] == "systemctl":
            if command[1] == "is-active":
                return 0, "", ""
            return (1, "", "broken") if self.refuses_reload else self.nginx("-s", "reload")
        return self.nginx(*command[1:])

    def renewal(self) -> Renewal:
        settings = json.loads(json.dumps(self.settings, default=str))
        return Renewal(settings, self.run, str(self.certbot))

    def texts(self, pair: tuple[str, str], asked: tuple[str, str]) -> dict[str, str]:
        """What a primary sends that has these two certificates."""
        names = ("fullchain", "privkey", "cert", "chain")
        live = {str(self.live / f"{n}.pem"): t for n, t in zip(names, asked * 2, strict=True)}
        return {str(self.pem): pair[0], str(self.key): pair[1], **live}

    def shown(self, at: int = 0) -> bytes:
        return shown_certificate("127.0.0.1", self.ports[at], NAME)

    def content(self) -> dict[str, Any]:
        """All files, with their modes, but what nginx and this test write for themselves."""
        found = {}
        for folder in (self.root / "ssl", self.certbot, self.state):
            for path in folder.rglob("*"):
                if path.is_symlink():
                    found[str(path)] = os.readlink(path)
                elif path.is_file() and path.name != "sites.lock":
                    found[str(path)] = (path.read_text(), path.stat().st_mode)
        return found


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """A standby whose nginx shows certificates that the primary has, too."""
    made_hosts = Hosts(tmp_path)
    used = [made_hosts.pem, made_hosts.key]
    used += [made_hosts.live / "fullchain.pem", made_hosts.live / "privkey.pem"]
    made_hosts.loaded.write_bytes(digest({path: path.read_bytes() for path in used}))
    code, _, error = made_hosts.nginx()
    assert code == 0, error
    yield made_hosts
    os.kill(int((tmp_path / "nginx.pid").read_text()), signal.SIGQUIT)
    wait_for(lambda: not (tmp_path / "nginx.pid").exists())


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem)


def test_what_changed_on_the_primary_is_shown(hosts: Hosts, tmp_path: Path) -> None:
    links = {path: os.readlink(path) for path in hosts.live.iterdir()}
    pair, asked = made(tmp_path), made(tmp_path)
    renewal = hosts.renewal()
    renewal.bring(hosts.texts(pair, asked))
    assert renewal.refused == []
    assert sorted(renewal.changed) == sorted(hosts.texts(pair, asked))
    wait_for(lambda: (hosts.shown(0), hosts.shown(1)) == (der(pair[0]), der(asked[0])))
    assert {path: os.readlink(path) for path in hosts.live.iterdir()} == links
    assert (hosts.live / "cert.pem").read_text() == asked[0]
    assert [p.stat().st_mode & 0o777 for p in (hosts.pem, hosts.key)] == [0o644, 0o600]
    assert (hosts.live / "privkey.pem").stat().st_mode & 0o777 == 0o600
    assert str(hosts.key) in (hosts.state / BROUGHT).read_text().splitlines()
    before = hosts.content()
    again = hosts.renewal()
    again.bring(hosts.texts(pair, asked))
    assert (again.changed, hosts.content()) == ([], before)


def test_a_reload_that_was_missed_is_done(hosts: Hosts, tmp_path: Path) -> None:
    """The run was killed after the files, and before nginx."""
    pair = made(tmp_path)
    hosts.pem.write_text(pair[0])
    hosts.key.write_text(pair[1])
    renewal = hosts.renewal()
    renewal.bring({str(hosts.pem): pair[0], str(hosts.key): pair[1]})
    assert renewal.changed == []
    wait_for(lambda: hosts.shown() == der(pair[0]))


@pytest.mark.parametrize("why", ["reload", "configuration"])
def test_old_files_are_back_when_nginx_refuses(hosts: Hosts, tmp_path: Path, why: str) -> None:
    before, old = hosts.content(), hosts.shown()
    hosts.refuses_reload = why == "reload"
    if why == "configuration":
        put(tmp_path / "own.d/a.conf", "nonsense;")
    texts = hosts.texts(made(tmp_path), made(tmp_path))
    with pytest.raises(NginxError):
        hosts.renewal().bring(texts)
    assert {path for path, was in hosts.content().items() if before.get(path) != was} <= {
        str(hosts.state / BROUGHT)
    }
    assert (hosts.state / BROUGHT).read_text() == ""
    assert hosts.shown() == old


def test_a_key_of_another_certificate_stays_away(hosts: Hosts, tmp_path: Path) -> None:
    """The primary's was read between the two steps of a renewal; the other name is served."""
    old, asked = hosts.shown(), made(tmp_path)
    renewal = hosts.renewal()
    torn = (made(tmp_path)[0], made(tmp_path)[1])
    renewal.bring(hosts.texts(torn, asked))
    assert len(renewal.refused) == 1
    assert str(hosts.pem) in renewal.refused[0]
    assert "PRIVATE KEY" not in renewal.refused[0]
    wait_for(lambda: hosts.shown(1) == der(asked[0]))
    assert hosts.shown(0) == old


@pytest.mark.parametrize("more", ["certificate without key", "foreign", "new name", "no text"])
def test_a_primary_can_write_nothing_else(hosts: Hosts, tmp_path: Path, more: str) -> None:
    before = hosts.content()
    pair = made(tmp_path)
    new = hosts.certbot / "live/new.example.com"
    texts: dict[str, Any] = {
        "certificate without key": {str(hosts.pem): pair[0]},
        "foreign": {
            str(tmp_path / "own.d/a.conf"): "worker_processes 9;",
            str(hosts.certbot / f"renewal/{NAME}.conf"): "renew_hook = touch /x",
            f"{hosts.pem.parent}/../ssl/erp.key": pair[1],
        },
        "new name": {str(new / "fullchain.pem"): pair[0], str(new / "privkey.pem"): pair[1]},
        "no text": {str(hosts.pem): ["a"], str(hosts.key): {}},
    }[more]
    hosts.renewal().bring(texts)
    assert hosts.content() == before
    assert not (tmp_path / "own.d").exists()
    with pytest.raises(TypeError):
        hosts.renewal().bring([])  # type: ignore[arg-type]


def test_an_accounts_link_leads_no_certificate_elsewhere(hosts: Hosts, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    secret = tmp_path / "root-only"
    put(secret, "x", 0o600)
    os.chown(hosts.pem.parent, 65534, 65534)
    hosts.pem.unlink()
    hosts.pem.symlink_to(secret)
    os.chown(hosts.pem, 65534, 65534, follow_symlinks=False)
    os.chown(hosts.key, 65534, 65534)
    pair = made(tmp_path)
    with pytest.raises(FileError):
        hosts.renewal().bring({str(hosts.pem): pair[0], str(hosts.key): pair[1]})
    assert secret.read_text() == "x"


def test_a_host_that_serves_takes_none(hosts: Hosts, tmp_path: Path) -> None:
    (hosts.state / "forward").unlink()
    before = hosts.content()
    renewal = hosts.renewal()
    renewal.bring(hosts.texts(made(tmp_path), made(tmp_path)))
    assert (renewal.changed, hosts.content()) == ([], before)


def forced(root: Path, standby: bool) -> str:
    """The command of a key's line, as the role writes it."""
    known = yaml.safe_load((ROOT / "roles/mariadb_seed_source/vars/main.yml").read_text())
    own = "__mariadb_seed_source_command"
    text = known[f"{own}s" if standby else own]
    while found := re.search(r"\{\{ (\w+) \}\}", text):
        value = f"{root}/lib" if found[1] == "fleet_lib_dir" else known[found[1]]
        text = text.replace(found[0], value)
    return text


@pytest.fixture
def programs(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The standby's program as a module, and the primary's installed, at the end of the key."""
    root = hosts.root
    lib = root / "lib"
    send = (ROOT / "roles/mariadb_seed_source/files/certificates_send.py").read_text()
    entry = {"path": f"{lib}/certificates-send", "content": send}
    for one in with_imports([entry], f"{lib}/python"):
        if "content" in one:
            put(Path(one["path"]), one["content"], 0o755)
    put(lib / "mariadb-seed-send", "#!/bin/sh\necho a copy of the data\n", 0o755)
    folders = {"config": str(root / "config"), "state": str(hosts.state)}
    put(lib / "folders.json", json.dumps(folders))
    nginx = {key: hosts.settings[key] for key in ("certificates", "acme")}
    # certbot's folder is /etc/letsencrypt to the programs.
    nginx["acme"] = {"email": ""}
    primary = {"state_dir": str(root / "primary"), "names": {"crm.test": []}, "nginx": nginx}
    put(root / "config/sites.json", json.dumps(primary, default=str))
    put(
        root / "config/standby-certificates.json",
        json.dumps({**hosts.settings, "acme": {"email": ""}}, default=str),
    )
    put(root / "bin/ssh", SSH.format(root=root), 0o755)
    put(root / "bin/sudo", SUDO, 0o755)
    put(root / "forced", forced(root, standby=True))
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(channel, "folder", lambda kind: Path(folders[kind]))
    fetch = script("roles/router/files/standby_certificates.py")
    monkeypatch.setattr(fetch, "folder", lambda kind: Path(folders[kind]))
    monkeypatch.setattr(fetch, "run_here", hosts.run)
    return fetch


def primary_has(hosts: Hosts, pair: tuple[str, str], paths: dict[str, str]) -> None:
    """The primary is the same folder here, so its certificate is at other paths."""
    folder = hosts.root / "at-the-primary"
    put(folder / "erp.pem", pair[0])
    put(folder / "erp.key", pair[1], 0o600)
    paths |= {str(folder / name): str(hosts.pem.parent / name) for name in ("erp.pem", "erp.key")}


def test_a_certificate_goes_through_both_programs(
    hosts: Hosts, programs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = made(tmp_path)
    paths: dict[str, str] = {}
    primary_has(hosts, pair, paths)
    settings = json.loads((tmp_path / "config/sites.json").read_text())
    theirs = {path.rpartition("/")[2]: path for path in paths}
    settings["nginx"]["certificates"] = [
        {"site": "crm.test", "certificate": theirs["erp.pem"], "key": theirs["erp.key"]}
    ]
    put(tmp_path / "config/sites.json", json.dumps(settings))
    real = programs.answer
    # On two hosts the paths are the same.
    programs.answer = lambda *asked: json.dumps(
        {paths[path]: text for path, text in json.loads(real(*asked)).items()}
    ).encode()
    assert programs.main() == 0
    said = capsys.readouterr().out
    assert "PRIVATE KEY" not in said
    assert len(said.splitlines()) == 2
    wait_for(lambda: hosts.shown() == der(pair[0]))
    assert programs.main() == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("case", "status", "lines"),
    [
        ("away", 0, 1),
        ("not the primary", 1, 1),
        ("another key", 1, 1),
        ("nothing here", 0, 0),
    ],
)
def test_how_a_run_ends(
    hosts: Hosts,
    programs: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    case: str,
    status: int,
    lines: int,
) -> None:
    before = hosts.content()
    if case == "away":
        (tmp_path / "away").touch()
    elif case == "not the primary":
        (tmp_path / "config/sites.json").unlink()
    elif case == "another key":
        put(tmp_path / "forced", forced(tmp_path, standby=False))
    else:
        put(
            tmp_path / "config/standby-certificates.json",
            json.dumps({**hosts.settings, "certificates": [], "acme": {"email": ""}}, default=str),
        )
    assert programs.main() == status
    said = capsys.readouterr().out
    assert len(said.splitlines()) == lines, said
    assert "PRIVATE KEY" not in said
    assert hosts.content() == before


@pytest.mark.parametrize("standby", [True, False])
@pytest.mark.parametrize("asked", ["seed", "", "id", "certificates; id", "certificates x", "$(id)"])
def test_any_other_word_gets_what_every_key_gets(
    programs: Any, tmp_path: Path, asked: str, standby: bool
) -> None:
    put(tmp_path / "forced", forced(tmp_path, standby))
    assert answer(["ssh", "u@h", asked], 1000, 10) == b"a copy of the data\n"


def test_an_answer_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ChannelError):
        answer(["cat", "/dev/zero"], 1000, 30)
    with pytest.raises(ChannelError):
        answer(["sh", "-c", "echo {}; exec cat /dev/zero"], 1000, 30)
    with pytest.raises(ChannelError):
        answer(["printf", "{}\\nmore"], 1000, 30)
    with pytest.raises(AwayError):
        answer(["sleep", "60"], 1000, 1)
    with pytest.raises(ChannelError, match="lost"):
        answer(["sh", "-c", "echo lost >&2; exit 3"], 1000, 10)
    assert answer(["printf", "%01000d", "0"], 1000, 10) == b"0" * 1000


def test_the_primary_is_asked_at_its_own_ssh_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "folder", lambda kind: Path("/f") / kind)
    command = channel.command("10.0.0.1", 2222, "u", "seed")
    assert command[command.index("-p") + 1] == "2222"
    assert "IdentityFile=/f/config/ssh/seed" in command
    # An alias would be looked up in known_hosts without the port.
    assert not [word for word in command if "HostKeyAlias" in word]


def test_the_primary_sends_what_its_router_uses(hosts: Hosts) -> None:
    put(hosts.certbot / "renewal" / f"{NAME}.conf", "server = x\n")
    settings = {
        "state_dir": str(hosts.state),
        "names": {"crm.test": [], NAME: ["other.example.com"]},
        "nginx": json.loads(
            json.dumps({key: hosts.settings[key] for key in ("certificates", "acme")}, default=str)
        ),
    }
    found = sent(settings, str(hosts.certbot))
    names = ("fullchain", "privkey", "cert", "chain")
    assert set(found) == {
        str(hosts.pem),
        str(hosts.key),
        *(str(hosts.live / f"{name}.pem") for name in names),
    }
    assert found[str(hosts.key)] == hosts.key.read_text()
