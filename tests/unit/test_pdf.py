"""What a bench prints PDFs with, and how verify tries it."""

import getpass
import json
import os
import select
import sys
from pathlib import Path

import pytest
from fleet.bench import pdf
from fleet.verify import bench as verify_bench
from fleet.verify.results import Gathering

# A framework's own pdf.py. Its Chromium is a process that stays, whose pid is in the folder.
FRAMEWORK = """
import subprocess

def get_pdf(html):
    if "Benchfleet" not in html:
        raise ValueError("another page")
    return {made!r}

def get_chrome_pdf(print_format, html, options, output, pdf_generator=None):
    child = subprocess.Popen(["sleep", "300"])
    open("chromium.pid", "w").write(str(child.pid))
    return b"%PDF-1.4 by chromium"
"""
STUB = """
def init(site, sites_path): pass
def connect(): pass
class db:
    rollback = staticmethod(lambda: None)
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder of commands, the only one that is searched."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(pdf, "PATH", str(folder))
    monkeypatch.setattr(pdf, "CHROMIUM_PATH", f"{folder}/{pdf.CHROMIUM}")
    return folder


@pytest.fixture
def bench(tmp_path):
    bench = tmp_path / "bench"
    (bench / "sites").mkdir(parents=True)
    return bench


def command(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return str(path)


def framework(bench: Path, chromium: bool = False, made: bytes = b"%PDF-1.4") -> None:
    utils = bench / "apps/frappe/frappe/utils"
    utils.mkdir(parents=True)
    (utils / "pdf.py").write_text(FRAMEWORK.format(made=made))
    (utils / "print_utils.py").write_text("get('chromium_path')" if chromium else "")


def test_a_framework_without_pdfs_needs_nothing(commands, bench):
    for place in (bench, bench / "not there"):
        found = pdf.printing(str(place))
        assert (found["real"], found["packages"], found["config"]) == (False, [], {})


def test_frappe_15_prints_with_wkhtmltopdf(commands, bench):
    framework(bench)
    found = pdf.printing(str(bench))
    assert found["packages"] == ["wkhtmltopdf"]
    assert found["tools"] == {"wkhtmltopdf": ""}
    own = command(commands / "wkhtmltopdf")
    found = pdf.printing(str(bench))
    assert (found["packages"], found["tools"]) == ([], {"wkhtmltopdf": own})


def test_a_framework_that_can_gets_chromium_too(commands, bench):
    framework(bench, chromium=True)
    found = pdf.printing(str(bench))
    assert found["packages"] == ["wkhtmltopdf", "chromium-headless-shell"]
    assert found["config"] == {"chromium_path": pdf.CHROMIUM_PATH}
    debian = command(Path(pdf.CHROMIUM_PATH))
    (bench / "sites/common_site_config.json").write_text(json.dumps({"chromium_path": debian}))
    again = pdf.printing(str(bench))
    assert again["packages"] == ["wkhtmltopdf"]
    assert again["config"] == found["config"]
    assert again["tools"]["chrome"] == debian


def test_a_chromium_that_the_bench_has_stays(commands, bench, tmp_path):
    framework(bench, chromium=True)
    fetched = command(bench / "chromium/chrome-linux/headless_shell")
    found = pdf.printing(str(bench))
    assert (found["tools"]["chrome"], found["config"]) == (fetched, {})
    named = command(tmp_path / "opt/chrome")
    (bench / "sites/common_site_config.json").write_text(json.dumps({"chromium_path": named}))
    found = pdf.printing(str(bench))
    assert (found["tools"]["chrome"], found["config"]) == (named, {"chromium_path": named})
    assert found["packages"] == ["wkhtmltopdf"]


@pytest.mark.parametrize("value", ["/no/such/chrome", "", 7, None, ["x"]])
def test_a_chromium_path_that_leads_nowhere_is_no_chromium(commands, bench, value):
    framework(bench, chromium=True)
    (bench / "sites/common_site_config.json").write_text(json.dumps({"chromium_path": value}))
    assert pdf.printing(str(bench))["config"] == {"chromium_path": pdf.CHROMIUM_PATH}
    (bench / "sites/common_site_config.json").write_text("{")
    assert pdf.printing(str(bench))["config"] == {"chromium_path": pdf.CHROMIUM_PATH}


def test_packages_without_a_candidate_are_not_offered():
    policy = (
        "wkhtmltopdf:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"
        "     0.12.6-2 -1\n        100 /var/lib/dpkg/status\n"
        "chromium-headless-shell:\n  Installed: (none)\n  Candidate: 150.0-1~deb13u1\n"
        "  Version table:\n     150.0-1~deb13u1 500\n"
    )
    assert pdf.candidates(policy) == ["chromium-headless-shell"]
    assert pdf.candidates("") == []
    assert pdf.offered([]) == []


def test_what_debian_has_not_is_not_asked_for(monkeypatch):
    monkeypatch.setattr(pdf, "offered", lambda names: [n for n in names if n != pdf.WKHTMLTOPDF])
    config = {"chromium_path": pdf.CHROMIUM_PATH}
    kit = {"real": True, "packages": [pdf.WKHTMLTOPDF, pdf.CHROMIUM], "config": config}
    assert pdf.available(kit) == {"real": True, "packages": [pdf.CHROMIUM], "config": config}
    monkeypatch.setattr(pdf, "offered", lambda names: [])
    assert pdf.available(kit) == {"real": True, "packages": [], "config": {}}


# verify


@pytest.fixture
def checks(bench, commands, monkeypatch):
    """A host's checks on a bench whose Python is ours and whose framework is the stub."""
    (bench / "env/bin").mkdir(parents=True)
    (bench / "env/bin/python").symlink_to(sys.executable)
    package = bench / "sites/frappe"
    package.mkdir()
    (package / "__init__.py").write_text(STUB)
    checks = object.__new__(verify_bench.BenchChecks)
    checks.bench, checks.sites = str(bench), ["erp.example.com"]
    checks.params = {"user_of_bench": getpass.getuser()}
    checks.gathering = Gathering("erp1")
    monkeypatch.setattr(verify_bench, "offered", list)
    monkeypatch.setattr(verify_bench, "resolves", lambda name: True)
    return checks


def printed(checks, **options):
    framework(Path(checks.bench), **options)
    (Path(checks.bench) / "sites/frappe/utils").symlink_to(
        Path(checks.bench) / "apps/frappe/frappe/utils"
    )
    checks.check_pdf()
    return checks.gathering.results[-1]


def test_the_demo_s_row_is_not_applicable(checks):
    checks.check_pdf()
    (found,) = checks.gathering.results
    assert (found["ok"], found["applicable"]) == (True, False)


def test_a_page_is_printed_by_each_generator_and_nothing_stays_behind(checks, commands):
    command(commands / "wkhtmltopdf")
    command(Path(pdf.CHROMIUM_PATH))
    found = printed(checks, chromium=True)
    assert found["ok"], found
    assert found["applicable"]
    assert "wkhtmltopdf: 8 bytes after" in found["saw"]
    assert "chrome: 20 bytes after" in found["saw"]
    pid = int((Path(checks.bench) / "sites/chromium.pid").read_text())
    assert has_ended(pid)


def has_ended(pid: int) -> bool:
    """Wait for the end of a process that need not be a child of ours; False if it stays."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 60)[0])
    finally:
        os.close(process)


def test_a_site_name_that_does_not_resolve_is_reported(checks, commands, monkeypatch):
    monkeypatch.setattr(verify_bench, "resolves", lambda name: False)
    command(commands / "wkhtmltopdf")
    found = printed(checks)
    assert found["ok"]
    assert "erp.example.com" in found["saw"]
    monkeypatch.setattr(verify_bench, "resolves", lambda name: True)
    checks.check_pdf()
    assert "erp.example.com" not in checks.gathering.results[-1]["saw"]


def test_what_is_no_pdf_is_red(checks, commands):
    command(commands / "wkhtmltopdf")
    found = printed(checks, made=b"<html>")
    assert not found["ok"]
    assert "no PDF but b'<html>'" in found["saw"]


def test_a_framework_that_fails_is_red_with_its_message(checks, commands):
    command(commands / "wkhtmltopdf")
    framework(Path(checks.bench))
    with pytest.raises(AssertionError, match=r"No module named 'frappe\.utils'"):
        checks.check_pdf()


def test_a_package_of_debian_that_is_not_installed_is_red(checks, commands):
    command(commands / "wkhtmltopdf")
    found = printed(checks, chromium=True)
    assert not found["ok"]
    assert "chromium-headless-shell is not installed" in found["saw"]
    assert "wkhtmltopdf: 8 bytes" in found["saw"]


def test_a_package_that_debian_lacks_is_reported(checks, commands, monkeypatch):
    monkeypatch.setattr(verify_bench, "offered", lambda names: [])
    command(Path(pdf.CHROMIUM_PATH))
    found = printed(checks, chromium=True)
    assert found["ok"]
    assert found["saw"].startswith("chrome: 20 bytes")
    assert " wkhtmltopdf " in found["saw"]
    os.unlink(pdf.CHROMIUM_PATH)
    checks.check_pdf()
    found = checks.gathering.results[-1]
    assert (found["ok"], found["applicable"]) == (True, False)
    assert "wkhtmltopdf or chrome" in found["saw"]
