"""What is told of a command that failed, from real outputs of bench 5.31.1, uv, pip, yarn, git."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from fleet.bench import account as bench
from fleet.bench import output as kept

OUTPUTS = Path(__file__).parent / "outputs"


def output(name: str) -> str:
    """What a command has said."""
    return (OUTPUTS / f"{name}.txt").read_text()


def failed(said: str) -> subprocess.CompletedProcess[str]:
    """A command that has failed and said so."""
    return subprocess.CompletedProcess([], 1, said)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        (
            "bench-init-package",
            "error: No solution found when resolving dependencies",
            "and you require frappe, we can conclude that your requirements are unsatisfiable.",
        ),
        (
            "bench-init-yarn",
            'error Couldn\'t find package "no-such-package-of-anybody-9" on the "npm" registry.',
            'error Couldn\'t find package "no-such-package-of-anybody-9" on the "npm" registry.',
        ),
        (
            "bench-init-branch",
            "InvalidRemoteException: Invalid branch or tag: nope for the remote /srv/frappe",
            "InvalidRemoteException: Invalid branch or tag: nope for the remote /srv/frappe",
        ),
        (
            "bench-init-address",
            "git.exc.GitCommandError: Cmd('git') failed due to: exit code(128)",
            "Invalid frappe path: https://127.0.0.1:9/me/frappe",
        ),
        ("get-app-address", "fatal: unable to access", "Couldn't connect to server"),
        ("uv-compiler", "error: Failed to build `brokenc", "no_such_header.h` for `file:///srv"),
        ("pip-compiler", "\u00d7 Building editable for brokenc", "╰─> brokenc"),
        ("yarn-registry", "error Error: connect ECONNREFUSED", "error Error: connect ECONNREFUSED"),
        ("yarn-script", "gyp ERR! not ok", "error Command failed with exit code 3."),
        ("git-commit", "fatal: git upload-pack: not our ref", "remote error: upload-pack: not our"),
        ("traceback", "frappe.exceptions.IncorrectSitePath: nope", "nope does not exist."),
    ],
)
def test_the_cause_is_shown_without_a_traceback(name: str, first: str, last: str):
    lines = kept.cause(output(name))
    assert first in lines[0]
    assert last in lines[-1]
    assert len(lines) <= 6
    assert not any("Traceback" in line or line.startswith("File ") for line in lines)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("uv-compiler", "src/brokenc.c:2:10: fatal error: no_such_header.h: No such file or"),
        ("pip-compiler", "src/brokenc.c:2:10: fatal error: no_such_header.h: No such file or"),
        ("bench-init-address", "Failed to connect to 127.0.0.1 port 9"),
    ],
)
def test_the_line_that_helps_is_among_them(name: str, line: str):
    assert any(line in told for told in kept.cause(output(name)))


def test_of_many_lines_the_first_and_the_last_are_shown():
    lines = kept.cause("".join(f"error: number {n}\n" for n in range(100)))
    assert (lines[0], lines[-1], len(lines)) == ("error: number 0", "error: number 99", 13)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where failed commands leave their output."""
    monkeypatch.setattr(kept, "LOG_DIR", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


def test_the_whole_output_is_kept_for_root_and_named(outputs: Path):
    said = output("get-app-address")
    with pytest.raises(bench.BenchError) as caught:
        bench.checked(failed(said), "bench get-app shop")
    kept = outputs / "bench-get-app-shop.log"
    first, cause, last = str(caught.value).splitlines()
    assert first.startswith("bench get-app shop ")
    assert first.endswith(" 1:")
    assert cause == (
        "fatal: unable to access 'https://127.0.0.1:9/me/shop/': Failed to connect to 127.0.0.1"
        " port 9 after 0 ms: Couldn't connect to server"
    )
    assert f" {kept} " in last
    assert kept.stat().st_mode & 0o777 == 0o640
    assert "bench/app.py" in kept.read_text()
    # The command that bench repeats held a password.
    assert "me:hush@" in said
    assert "hush" not in kept.read_text()
    with pytest.raises(bench.BenchError):
        bench.checked(failed("other"), "bench get-app shop")
    assert kept.read_text().endswith("bench get-app shop\nother")


def test_a_link_in_the_folder_leads_nowhere(outputs: Path, tmp_path: Path):
    outputs.mkdir()
    (outputs / "bench-build.log").symlink_to(tmp_path / "elsewhere")
    assert kept.keep_output("words", "bench build") == ""
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_known_cause_the_end_of_the_output_is_shown(monkeypatch: pytest.MonkeyPatch):
    said = "".join(f"line {n}\n" for n in range(100))
    with pytest.raises(bench.BenchError, match=r" 1:\nline 60\n(.|\n)*line 99\n.*\.log") as caught:
        bench.checked(failed(said), "bench build")
    # The output, a line before and a line after it.
    assert len(str(caught.value).splitlines()) == 42
    # A file that could not be written is not named, and the message has to do.
    monkeypatch.setattr(kept, "LOG_DIR", "/proc/none")
    with pytest.raises(bench.BenchError, match=r"error: x\nline 61\n(.|\n)*error: x$"):
        bench.checked(failed(f"{said}error: x\n"), "bench build")


def test_outputs_of_failed_commands_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LOG_DIR", str(tmp_path))
    monkeypatch.setattr(kept, "KEEP_LOGS", {"number": 2, "days": 90})
    for number in range(4):
        path = Path(kept.keep_output("words", f"reading frappe at {number}"))
        os.utime(path, (time.time() + number - 10,) * 2)
    assert kept.keep_output("words", "bench build") == f"{tmp_path}/bench-build.log"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["bench-build.log", "reading-frappe-at-3.log"]
