"""What a router has beside templates is read on the primary and brought to the standby."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fleet.nginx.standby import BROUGHT, Copy, CopyError, brought, read
from fleet.sites.folders import SiteError

SITE = "erp.test"


class Host:
    """A host's files of the router, in a folder that both hosts have at the same place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state, self.own, self.certbot = root / "state", root / "own.d", root / "letsencrypt"
        self.loaded = self.state / "loaded"
        self.state.mkdir(parents=True)

    def put(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        return place

    def read(self, **settings: Any) -> dict[str, Any]:
        """As the primary."""
        asked = {"state_dir": str(self.state), "listed": {SITE: []}, "certificates": [], **settings}
        asked.setdefault("acme", {"email": ""})
        return read(asked, str(self.certbot), str(self.own))

    def bring(self, found: dict[str, Any], dry: bool = False) -> list[str]:
        """As the standby; the paths that changed, from the folder on."""
        asked = {**found, "state_dir": str(self.state), "host": "rep1"}
        asked["loaded_file"] = str(self.loaded)
        run = lambda _: (0, "", "")  # noqa: E731
        copy = Copy(asked, run, dry, str(self.own), str(self.certbot))
        return [os.path.relpath(path, self.root) for path in copy.bring()]


@pytest.fixture
def primary(tmp_path: Path) -> Host:
    """A primary with a pair of its own, one of certbot's, a rule and a drained node."""
    host = Host(tmp_path / "host")
    host.put("ssl/erp.pem", "CERTIFICATE")
    host.put("ssl/erp.key", "KEY", 0o600)
    host.put("own.d/staff.conf", "allow 10.0.0.0/8;")
    for kind in ("cert", "chain", "fullchain", "privkey"):
        host.put(f"letsencrypt/archive/{SITE}/{kind}1.pem", "old", 0o600)
        host.put(f"letsencrypt/archive/{SITE}/{kind}2.pem", kind, 0o600)
        link = host.root / f"letsencrypt/live/{SITE}/{kind}.pem"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../archive/{SITE}/{kind}2.pem")
    host.put(f"letsencrypt/renewal/{SITE}.conf", "server = x\n")
    host.put("letsencrypt/accounts/ca/1/regr.json", "{}", 0o600)
    host.put("state/drained/rep2", "")
    host.put("state/waiting/rep1", "")
    return host


PAIR = {"site": "crm.test", "certificate": "ssl/erp.pem", "key": "ssl/erp.key"}


def pairs(host: Host) -> list[dict[str, str]]:
    """The certificates of the inventory."""
    return [{**PAIR, **{key: str(host.root / PAIR[key]) for key in ("certificate", "key")}}]


def standby(primary: Host) -> Host:
    """Another host, with nothing; its files are at the same paths."""
    primary.root.rename(primary.root.with_name("primary"))
    return Host(primary.root)


def test_the_standby_has_what_the_primary_has(primary: Host) -> None:
    found = primary.read(certificates=pairs(primary), acme={"email": "a@b.test"})
    assert found["names"] == {SITE: []}
    host = standby(primary)
    there = primary.root.with_name("primary")
    changed = host.bring(found)
    assert not host.bring(found)
    assert len(changed) == len({*changed}) == 2 + 1 + 1 + 8 + 1 + 1
    # All but old certificates, and the mark of the standby itself.
    for path in there.rglob("*"):
        here = host.root / path.relative_to(there)
        if path.name.endswith("1.pem") or "waiting" in path.parts:
            assert not here.exists()
        elif path.is_symlink():
            assert here.readlink() == path.readlink()
        elif path.is_file():
            assert here.read_text() == path.read_text()
            assert here.stat().st_mode == path.stat().st_mode
    for name in ("live", "archive", "accounts"):
        assert (host.certbot / name).stat().st_mode & 0o777 == 0o700
    assert brought(str(host.state)) == {str(host.root / p) for p in changed if "state/" not in p}


def test_what_changes_on_the_primary_follows_and_rules_that_go_are_gone(primary: Host) -> None:
    first = primary.read(certificates=pairs(primary), acme={"email": "a@b.test"})
    host = standby(primary)
    host.bring(first)
    host.put("own.d/mine.conf", "# of this host")
    host.loaded.write_text("digest")
    old = primary.root.with_name("primary")
    # A renewal: a third certificate, to which the link leads.
    host.root.rename(host.root.with_name("standby"))
    old.rename(host.root)
    host.put(f"letsencrypt/archive/{SITE}/fullchain3.pem", "new", 0o600)
    link = host.root / f"letsencrypt/live/{SITE}/fullchain.pem"
    link.unlink()
    link.symlink_to(f"../../archive/{SITE}/fullchain3.pem")
    (host.own / "staff.conf").unlink()
    (host.state / "drained/rep2").unlink()
    second = primary.read(certificates=pairs(primary), acme={"email": "a@b.test"})
    host.root.rename(old)
    host.root.with_name("standby").rename(host.root)
    expected = [f"letsencrypt/archive/{SITE}/fullchain3.pem"]
    expected += [f"letsencrypt/live/{SITE}/fullchain.pem", "own.d/staff.conf", "state/drained/rep2"]
    assert sorted(host.bring(second, dry=True)) == sorted(expected)
    assert host.loaded.exists()
    assert sorted(host.bring(second)) == sorted(expected)
    assert link.read_text() == "new"
    assert not (host.own / "staff.conf").exists()
    assert (host.own / "mine.conf").exists()
    assert str(host.own / "staff.conf") not in (host.state / BROUGHT).read_text()
    # nginx did not load the rules: the next task has it do so.
    assert not host.loaded.exists()
    assert host.bring(second) == []


def test_links_of_the_standby_stay(primary: Host) -> None:
    """As on a host that was the primary, where another certbot keeps the pair."""
    found = primary.read(certificates=pairs(primary))
    host = standby(primary)
    real = host.put("elsewhere/erp7.pem", "older")
    (host.root / "ssl").mkdir()
    (host.root / "ssl/erp.pem").symlink_to(real)
    host.bring(found)
    assert (host.root / "ssl/erp.pem").is_symlink()
    assert real.read_text() == "CERTIFICATE"


def test_what_cannot_be_read_is_named(primary: Host, tmp_path: Path) -> None:
    (primary.root / "ssl/erp.key").unlink()
    with pytest.raises(CopyError, match=r"erp\.key"):
        primary.read(certificates=pairs(primary))
    primary.put("state/sites.json", "{")
    with pytest.raises(SiteError):
        primary.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="root only")
@pytest.mark.parametrize("through", [False, True])
def test_an_accounts_link_leads_no_file_elsewhere(primary: Host, through: bool) -> None:
    """The account that wrote the certificate on the primary has a link on the standby."""
    named = pairs(primary)
    if through:
        # The operator's own link, in a folder of root's.
        named[0]["certificate"] = str(primary.root / "etc/erp.pem")
        (primary.root / "etc").mkdir()
        (primary.root / "etc/erp.pem").symlink_to(primary.root / "ssl/erp.pem")
    found = primary.read(certificates=named)
    host = standby(primary)
    for folder in (host.root, *host.root.parents):
        if folder.stat().st_uid == 0 and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o055)
    (host.root / "cron.d").mkdir()
    place = host.put("ssl/erp.pem", "")
    place.unlink()
    place.symlink_to(host.root / "cron.d/job")
    os.chown(place.parent, 65534, 65534)
    os.chown(place, 65534, 65534, follow_symlinks=False)
    if through:
        (host.root / "etc").mkdir()
        (host.root / "etc/erp.pem").symlink_to(place)
    host.bring(found)
    assert not (host.root / "cron.d/job").exists()
    path = Path(named[0]["certificate"])
    assert path.read_text() == "CERTIFICATE"
    assert path.stat().st_uid == (0 if through else 65534)
