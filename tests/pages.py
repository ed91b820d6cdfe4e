"""The commands in README.md and the pages of docs/.

Commands are fenced blocks of the language sh. A comment before a block says where it is run, or why
it is not:
    <!-- on erp1 as root -->
    <!-- on erp1 as root, at the end -->
    <!-- at the end -->
    <!-- not run: the reason -->
Without one it is run on the controller, in the project's folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)$")
MARK = re.compile(
    r"^ *<!-- (?:not run: (?P<reason>.+)"
    r"|(?P<last>at the end)|on (?P<host>\S+) as (?P<user>\w+)(?P<end>, at the end)?) -->$"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    place: page and line. text: its lines, without the page's indentation. reason: why it is not
    run, "" where it is; host, user: where it is, "" for the controller. last: whether it is run
    after all others.
    """

    place: str
    language: str
    text: str
    reason: str = ""
    host: str = ""
    user: str = ""
    last: bool = False


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    found, lines = [], page.read_text().splitlines()
    opened, mark = None, None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened = (number, fence)
        elif opened and fence:
            since, opening = opened
            place = f"{page.relative_to(ROOT)}:{since}"
            indent = len(opening["indent"])
            text = "\n".join(inner[indent:] for inner in lines[since : number - 1])
            told = mark.groupdict(default="") if mark else {}
            last = any([told.pop("end", ""), told.pop("last", "")])
            found.append(Block(place, opening["language"], text, last=last, **told))
            opened = mark = None
        elif line.strip() and opened is None:
            mark = MARK.match(line)
    return found


def commands() -> list[Block]:
    """Return every block of commands of all pages, in the order in which they are run."""
    found = [block for page in PAGES for block in blocks(page) if block.language == "sh"]
    return [b for b in found if not b.last] + [b for b in found if b.last]
