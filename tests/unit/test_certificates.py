"""The certificate for each name, and when it is requested from a CA."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from fleet.nginx import certificates
from fleet.nginx.certificates import Asking, Certificates, is_public, read_asked, reason

SERVER = "https://ca.test/dir"
SITES = {"a.test": ["also.test", "10.0.0.1", "intranet"], "b.test": []}
# In place of certbot: says no for a name that is in `refused`, else gives what lies in `given`.
PROGRAM = """#!/bin/sh
cd {folder}
echo "$@" >> asked
while [ $# -gt 1 ]; do [ "$1" = -d ] && name=$2; shift; done
if grep -qx "$name" refused; then
    echo "Certbot failed to authenticate some domains (authenticator: webroot)."
    echo "  Detail: 10.0.0.9: Connection refused"
    exit 1
fi
mkdir -p "live/$name" renewal
cp given.crt "live/$name/fullchain.pem"; cp given.key "live/$name/privkey.pem"
echo "server = {server}" > "renewal/$name.conf"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """certbot's folder, with a program in certbot's place."""
    program = tmp_path / "certbot"
    program.write_text(PROGRAM.format(folder=tmp_path, server=SERVER))
    program.chmod(0o755)
    (tmp_path / "refused").touch()
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
    )
    subprocess.run(
        [*command.split(), "-keyout", "given.key", "-out", "given.crt"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    monkeypatch.setattr(certificates, "CERTBOT", str(program))
    return tmp_path


def asking(folder: Path, *named: dict[str, str], server: str = SERVER) -> Asking:
    acme = {"email": "ops@test", "server": server, "webroot": "/w", "environment": {}}
    return Asking({"certificates": list(named), "acme": acme}, str(folder), str(folder))


def asked(folder: Path) -> int:
    file = folder / "asked"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_names_that_a_ca_can_see_are_asked_for() -> None:
    names = ("a.test", "intranet", "10.0.0.1", "x.y.z")
    assert [name for name in names if is_public(name)] == ["a.test", "x.y.z"]


def test_the_inventorys_certificates_count_first(folder: Path) -> None:
    own = {"site": "a.test", "certificate": "/a", "key": "/a.key"}
    every = {"site": "", "certificate": "/all", "key": "/all.key"}
    table = Certificates([own, every], acme=False)
    assert table.of("a.test", "also.test") == ("/a", "/a.key")
    assert table.of("b.test", "b.test") == ("/all", "/all.key")
    assert table.files(SITES) == ["/a", "/a.key", "/all", "/all.key"]
    mixed = Certificates([own], acme=True, folder=str(folder))
    assert mixed.wanted(SITES) == ["b.test"]
    assert mixed.of("b.test", "b.test") is None
    assert mixed.files(SITES)[2:] == list(mixed.asked("b.test"))
    assert Certificates([], acme=False).of("a.test", "a.test") is None


def test_each_name_gets_its_own_certificate(folder: Path) -> None:
    one = asking(folder)
    assert one.due(SITES)
    one.ask(SITES, now=False)
    assert (one.made, one.failed) == (["a.test", "also.test", "b.test"], {})
    assert one.certificates.of("a.test", "ALSO.test") == one.certificates.asked("also.test")
    assert one.certificates.of("a.test", "10.0.0.1") is None
    again = asking(folder)
    assert not again.due(SITES)
    again.ask(SITES, now=True)
    assert asked(folder) == 3


def test_a_name_that_fails_holds_up_no_other(folder: Path) -> None:
    (folder / "refused").write_text("also.test\n")
    one = asking(folder)
    one.ask(SITES, now=False)
    assert one.made == ["a.test", "b.test"]
    assert one.failed == {"also.test": "10.0.0.9: Connection refused"}
    assert not asking(folder).due(SITES)


@pytest.mark.parametrize(("tries", "wait"), [(0, 3600), (1, 7200), (4, 57600), (5, 86400)])
def test_a_name_that_fails_waits_longer_each_time(folder: Path, tries: int, wait: int) -> None:
    (folder / "refused").write_text("b.test\n")
    failed = {"b.test": {"why": "", "tries": tries, "again": 0}}
    (folder / "certificates.json").write_text(json.dumps({"failed": failed, "again": 0}))
    assert asking(folder).due({"b.test": []})
    asking(folder).ask({"b.test": []}, now=False)
    assert round(read_asked(str(folder))["again"] - time.time(), -1) == wait
    assert not asking(folder).due({"b.test": []})


def test_who_runs_site_yml_does_not_wait(folder: Path) -> None:
    (folder / "refused").write_text("b.test\n")
    asking(folder).ask(SITES, now=False)
    (folder / "refused").write_text("")
    one = asking(folder)
    one.ask(SITES, now=False)
    assert one.made == []
    one.ask(SITES, now=True)
    assert one.made == ["b.test"]


def test_another_ca_is_asked_anew(folder: Path) -> None:
    asking(folder).ask(SITES, now=False)
    assert asking(folder, server="https://other.test/dir").missing(SITES) == [
        "a.test",
        "also.test",
        "b.test",
    ]


def test_a_broken_file_is_served_to_nobody(folder: Path) -> None:
    one = asking(folder)
    one.ask(SITES, now=False)
    Path(one.certificates.asked("b.test")[1]).write_text("no key")
    assert one.certificates.of("b.test", "b.test") is None
    assert one.missing(SITES) == ["b.test"]


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("Saving debug log\n  Detail: DNS problem: NXDOMAIN\nHint: x", "DNS problem: NXDOMAIN"),
        (
            "Saving debug log\nAn unexpected error occurred:\nError creating new order :: rate",
            "An unexpected error occurred: Error creating new order :: rate",
        ),
        ("", "certbot wrote nothing"),
    ],
)
def test_the_reason_in_certbots_output_is_one_line(output: str, why: Any) -> None:
    assert reason(output) == why
