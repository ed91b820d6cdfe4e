"""Logs of a host: the end of each, also where the bench's account puts traps."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet import logs

from benchfleet import logs as screen
from benchfleet.runner import Outcome

ACCOUNT = "nobody"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A bench of an account, beside a folder of root's; supervisor's logs are in the bench."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place.chmod(0o755)
    (place / "root").mkdir(mode=0o700)
    (place / "root/shadow").write_text("root:of-root:1\n")
    (place / "bench/logs").mkdir(parents=True)
    for path in (place / "bench", place / "bench/logs"):
        own(path)
    monkeypatch.setattr(logs, "LOGS", str(place / "none"))
    monkeypatch.setattr(logs, "UNITS", {})
    yield place / "bench"
    shutil.rmtree(place)


def own(path: Path) -> None:
    """Give a path to the account, if we may."""
    if os.getuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def texts(found: dict[str, Any]) -> list[str]:
    """All lines of a result."""
    return [line["text"] for log in found["logs"] for line in log["lines"]]


def test_the_last_lines_in_their_order(bench: Path) -> None:
    (bench / "logs/rsync.log").write_text("".join(f"line {n}\n" for n in range(100)))
    found = logs.read("copies", str(bench), 3, troubles=False)
    assert texts(found) == ["line 97", "line 98", "line 99"]
    assert found["logs"][0]["source"] == f"{bench}/logs/rsync.log"


def test_a_summary_has_troubles_alone_with_their_time(bench: Path) -> None:
    (bench / "logs/rsync.log").write_text(
        "2026-11-30 07:00:00 fine\n"
        "2026-11-30 07:00:01 rsync error: lost\n"
        "ConnectionRefusedError: [Errno 111]\n"
        "2026/11/30 07:00:02 [notice] failed over\n"
        "2026-11-30 07:00:03 0 errors\n"
    )
    (found,) = logs.read("copies", str(bench), 5, troubles=True)["logs"]
    assert [(line["at"], line["text"].split()[0]) for line in found["lines"]] == [
        ("2026-11-30 07:00:01", "2026-11-30"),
        ("2026-11-30 07:00:01", "ConnectionRefusedError:"),
    ]


@pytest.mark.parametrize("target", ["root/shadow", "bench/logs/other.log"])
def test_no_link_is_followed(bench: Path, target: str) -> None:
    link = bench / "logs/web.error.log"
    link.symlink_to(bench.parent / target)
    (bench / "logs/other.log").write_text("other\n")
    (found,) = logs.read("web", str(bench), 40, troubles=False)["logs"]
    assert (found["lines"], bool(found["trouble"])) == ([], True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as somebody else")
def test_a_folder_that_is_a_link_leads_no_further_than_the_account(bench: Path) -> None:
    (bench.parent / "root/web.error.log").write_text("of-root\n")
    (bench / "logs").rmdir()
    (bench / "logs").symlink_to(bench.parent / "root")
    own(bench / "logs")
    found = logs.read("web", str(bench), 40, troubles=False)
    assert "of-root" not in json.dumps(found)


def test_a_pipe_does_not_block(bench: Path) -> None:
    os.mkfifo(bench / "logs/web.error.log")
    own(bench / "logs/web.error.log")
    since = time.monotonic()
    (found,) = logs.read("web", str(bench), 40, troubles=False)["logs"]
    assert found["trouble"]
    assert time.monotonic() - since < 5


def test_only_the_end_of_a_huge_file_is_read(bench: Path) -> None:
    with (bench / "logs/web.error.log").open("wb") as out:
        out.truncate(5 * 1024**3)
        out.seek(0, os.SEEK_END)
        out.write(b"\nthe last line\n")
    since = time.monotonic()
    found = logs.read("web", str(bench), 40, troubles=False)
    assert texts(found)[-1] == "the last line"
    assert len(json.dumps(found)) < 10 * logs.LONGEST
    assert time.monotonic() - since < 5


@pytest.mark.parametrize("trap", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\r", "\u202e", "\b"])
def test_nothing_moves_the_cursor(bench: Path, trap: str) -> None:
    (bench / "logs/rsync.log").write_text(f"before{trap}after\n", newline="")
    (text,) = texts(logs.read("copies", str(bench), 1, troubles=False))
    assert text.isprintable()
    assert text.startswith("before")
    assert text.endswith("after")


@pytest.mark.parametrize(
    "line",
    [
        "redis://bench:hunter2@10.0.0.1:11000",
        "password=hunter2 user=x",
        '{"db_password": "hunter2", "n": 1}',
        "CREATE USER a IDENTIFIED BY 'hunter2'",
        "CREATE USER a IDENTIFIED BY PASSWORD 'hunter2'",
        "Authorization: token hunter2",
        "mariadb --password=hunter2 -e x",
        "api_secret: hunter2",
        "Cookie: sid=hunter2; x",
        'password="open hunter2',
        'password="a\\"b hunter2" c',
        "password = 'a''b hunter2' c",
        "token: Bearer hunter2",
        "SET PASSWORD FOR 'x' = PASSWORD('hunter2')",
        "mysql -u root -phunter2 erp",
    ],
)
def test_no_password_is_shown(line: str) -> None:
    assert "hunter2" not in logs.shown(line)


@pytest.mark.parametrize("line", ["the token was refused", "password is wrong", "sidebar: open"])
def test_other_words_stay(line: str) -> None:
    assert logs.shown(line) == line


@pytest.mark.parametrize("part", ["-", "--a", "password=", "mysql ", "'", "://"])
def test_no_line_takes_long(part: str) -> None:
    # The bench's account may write 256 KiB of such lines into each of its logs.
    line = part * (4 * logs.LONGEST // len(part))
    since = time.process_time()
    for _ in range(10):
        logs.shown(line)
        logs.is_trouble(line)
    assert time.process_time() - since < 0.5


def test_a_long_line_is_cut() -> None:
    assert len(logs.shown("x" * 10**6)) == logs.LONGEST + 1


def outcome(*results: dict[str, Any], ok: bool = True) -> Outcome:
    """How a playbook's run ended."""
    return Outcome(ok, 1.0, Path("/dev/null"), list(results), {})


READ = {
    "known": list(logs.WHAT),
    "summary": True,
    "logs": [
        {
            "host": "rep1",
            "what": "web",
            "logs": [
                {
                    "source": "/x/web.log",
                    "trouble": "",
                    "lines": [{"at": "07:00:00", "text": f"error {'x' * 100}"}],
                }
            ],
        },
        {"host": "rep1", "what": "nginx", "logs": []},
    ],
}


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ([READ], 0),
        ([], 3),
        ([{"refused": True, "msg": "no such log", "known": ["web"]}], 2),
        ([{"logs": [{"host": "a", "what": "web", "logs": [
            {"source": "/x", "lines": [], "trouble": "is a link"}]}]}], 1),
    ],
)  # fmt: skip
def test_the_exit_status_says_what_was_read(
    results: list[dict[str, Any]], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen.show(outcome(*results), as_json=False, wide=False) == status
    capsys.readouterr()
    assert screen.show(outcome(*results), as_json=True, wide=False) == status
    assert json.loads(capsys.readouterr().out)["ok"] == (status == 0)


def test_a_summary_fits_80_columns_and_json_is_one_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen.show(outcome(READ), as_json=False, wide=False)
    said = capsys.readouterr().out.splitlines()
    assert max(map(len, said)) == 80
    assert any("nginx" in line for line in said)
    screen.show(outcome(READ), as_json=False, wide=True)
    assert max(map(len, capsys.readouterr().out.splitlines())) > 80
    screen.show(outcome(READ), as_json=True, wide=False)
    assert json.loads(capsys.readouterr().out)["logs"] == READ["logs"]


@pytest.mark.skipif(not shutil.which("journalctl"), reason="no journal on this machine")
def test_a_unit_that_does_not_exist_has_no_lines() -> None:
    assert logs.journal("benchfleet-no-such-unit.service", 5) == []


def test_a_line_of_the_journal_has_its_time_and_program() -> None:
    line = "2026-11-30T07:04:40+0000 erp1 mariadbd[2027]: create_uring failed: libaio"
    short = logs.ENTRY.sub(r"\1 \2 \3: ", line)
    assert short == "2026-11-30 07:04:40 mariadbd: create_uring failed: libaio"
