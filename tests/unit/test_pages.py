"""Commands in README.md and docs/ exist, in blocks that are run or say why not; so do links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchfleet import cli
from tests.pages import PAGES, ROOT, Block, blocks, commands

LINKED = [*PAGES, ROOT / "SECURITY.md"]

COMMAND = re.compile(r"^ *(?:\./fleet|\.venv/bin/|ansible-playbook) ?\S")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")
# In the text, between backquotes.
NAMED = re.compile(r"`(?:[A-Z_]+=\S+ )?(?:\./fleet|(?:\.venv/bin/)?ansible-playbook) [^`]+`")


def named() -> list[str]:
    """Every command of ours that a page names: in a block, or in its text."""
    found = [line for block in commands() for line in block.text.splitlines()]
    for page in PAGES:
        found += [" ".join(words.strip("`").split()) for words in NAMED.findall(page.read_text())]
    return found


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_commands_are_in_blocks_of_commands(page):
    fenced = "\n".join(block.text for block in blocks(page) if block.language == "sh")
    lines = [line.strip() for line in page.read_text().splitlines() if COMMAND.match(line)]
    assert [line for line in lines if line not in fenced] == []


def test_every_fleet_command_exists(capsys):
    shown = [line for line in named() if "./fleet " in line]
    assert len(shown) > 20
    for line in shown:
        words = shlex.split(line.split("./fleet ", 1)[1], comments=True)
        try:
            cli.parse([word for word in words if word not in (">/dev/null", "…")])
        except SystemExit:
            # The text names some without their arguments, and some with two choices in one.
            said = capsys.readouterr().err
            assert "unrecognized" not in said, line
            assert "invalid choice" not in said, line


def test_every_playbook_exists():
    books = [ROOT / "site.yml", *(ROOT / "playbooks").glob("*.yml")]
    heads = [line for book in books for line in book.read_text().splitlines() if line[:1] == "#"]
    shown = [line for line in [*named(), *heads] if "ansible-playbook" in line]
    files = [file for line in shown for file in re.findall(r"[\w/]+\.yml", line)]
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_a_mark_is_read(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    monkeypatch.setattr("tests.pages.ROOT", tmp_path)
    page.write_text(
        "Text.\n\n1. One:\n\n   ```sh\n   a \\\n     b\n   ```\n\n"
        "<!-- not run: a reason -->\n```sh\nc\n```\n\n"
        "<!-- on rep1 as frappe, at the end -->\n\n```sh\nd\n```\n```text\ne\n```\n"
    )
    assert blocks(page) == [
        Block("page.md:5", "sh", "a \\\n  b"),
        Block("page.md:11", "sh", "c", reason="a reason"),
        Block("page.md:17", "sh", "d", host="rep1", user="frappe", last=True),
        Block("page.md:20", "text", "e"),
    ]


def anchors(page: Path) -> set[str]:
    """The names by which links lead to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", LINKED, ids=[page.name for page in LINKED])
def test_links_lead_to_files_and_headings(page):
    wrong = []
    for name, heading in LINK.findall(page.read_text()):
        target = page.parent / name if name else page
        if not target.exists() or (heading and heading not in anchors(target)):
            wrong.append(f"{name}#{heading}")
    assert wrong == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_contributing_names_files_that_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    table = page.partition("## Where to look")[2].partition("## Tests")[0]
    named = re.findall(r"`((?:\w+/)+[\w./]*|test_\w+\.py)`", table)
    assert len(named) > 12
    parts = ("", "module_utils/fleet", "roles/router", "tests/unit")
    folders = [ROOT / part for part in parts]
    assert [n for n in named if not any((folder / n).exists() for folder in folders)] == []
    tree = page.partition("```text")[2].partition("```")[0]
    tops = re.findall(r"^([\w./]+)", tree, re.MULTILINE)
    inner = re.findall(r"^    ((?:[\w]+/ ?|[\w]+\.py ?)+)", tree, re.MULTILINE)
    inner = [f"module_utils/fleet/{name}" for line in inner for name in line.split()]
    assert [name for name in tops + inner if not (ROOT / name).exists()] == []
    assert len(inner) > 15
