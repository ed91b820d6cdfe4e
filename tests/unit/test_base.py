"""What a base image is made from: this machine's archive and settings."""

import pytest

from benchfleet.lab import base
from benchfleet.shell import FleetError

MIRROR = "http://mirror.example.com/debian"


def test_archive_of_deb822_and_of_one_line_sources():
    lines = [
        f"{MIRROR}/|bookworm|main",
        f"{MIRROR}/|bookworm|contrib",
        f"{MIRROR}/|bookworm-updates|main",
        "https://security.example.com/debian-security/|bookworm-security|main",
        "https://other.example.com/|bookworm-tools|main",
    ]
    archive = base.parse_targets(lines, "bookworm")
    assert archive.main == f"{MIRROR}/"
    assert archive.security == "https://security.example.com/debian-security/"
    assert archive.updates
    assert base.sources_list(archive, "trixie").count("trixie") == 3


def test_archive_without_security_or_updates():
    archive = base.parse_targets([f"{MIRROR}|stable|main"], "bookworm")
    assert archive == base.Archive(f"{MIRROR}/", None, False)
    assert base.sources_list(archive, "trixie").splitlines() == [
        f"deb [signed-by={base.KEYRING}] {MIRROR}/ trixie main"
    ]


def test_no_archive_is_an_error_with_a_remedy():
    with pytest.raises(FleetError, match=r"bookworm.*`/etc/apt/sources\.list\.d`"):
        base.parse_targets(["https://other.example.com/|nodistro|main"], "bookworm")


def test_a_mirror_list_becomes_its_first_mirror(tmp_path):
    listing = tmp_path / "mirrors.list"
    listing.write_text(f"# ours\n\n{MIRROR} priority:1\nhttp://second.example.com/debian\n")
    assert base.real_uri(f"mirror+file://{listing}/") == f"{MIRROR}/"


@pytest.mark.parametrize("uri", ["file:/srv/mirror", "cdrom://disc/", "copy:/srv/mirror"])
def test_an_archive_on_this_machine_cannot_serve_hosts(uri):
    with pytest.raises(FleetError, match=rf"'{uri}.*`/etc/apt/sources\.list\.d`"):
        base.real_uri(uri)


def test_only_settings_that_reach_the_archive_are_copied():
    dump = [
        'Acquire "";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http "";',
        'Acquire::http::Proxy "http://proxy.example.com:3128";',
        'Acquire::https::Proxy "http://127.0.0.1:3128";',
        'Acquire::Retries "3";',
        'Acquire::GzipIndexes "true";',
        'DPkg::Post-Invoke:: "rm -f /x";',
    ]
    assert base.apt_settings(dump).splitlines() == [
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy.example.com:3128";',
        'Acquire::Retries "3";',
    ]
    assert base.apt_settings([]) == ""


def test_the_recipe_decides_the_place():
    one = base.Recipe("bookworm", "deb x", "", ())
    assert one.path == base.Recipe("bookworm", "deb x", "", ()).path
    assert one.path != base.Recipe("bookworm", "deb y", "", ()).path
    assert one.path.parent == base.BASES / "bookworm"
