"""Programs that are run for what they say."""

from __future__ import annotations

import pytest
from fleet.processes import run


def test_a_program_speaks_english_and_reads_what_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    done = run(["sh", "-c", "cat; echo $LC_ALL; echo no >&2; exit 3"], "word ")
    assert (done.returncode, done.stdout, done.stderr) == (3, "word C\n", "no\n")


def test_one_that_is_missing_or_hangs_has_failed() -> None:
    for words, why in ((["/nonexistent/program"], "No such file"), (["sleep", "9"], "timed out")):
        done = run(words, seconds=0.1)
        assert done.returncode == 1
        assert why in done.stderr


def test_bytes_that_are_no_text_are_no_error() -> None:
    assert run(["printf", r"a\377b"]).stdout == "a\ufffdb"
