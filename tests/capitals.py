"""The capital-letter trial: with all prose of the product in capitals, unit tests still pass.

A test should hold what is true (an id, a name, a number), not how it is said. The trial imports
the product with the prose of its messages in capitals, runs the unit tests and lists those that
fail. Docstrings, names in braces, values and what stands in backquotes stay as they are.

    .venv/bin/python -m tests.capitals [ARGUMENTS OF PYTEST]

Exit status 1 where MOST or more tests fail.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("benchfleet", "filter_plugins", "library", "module_utils", "plugins", "roles")
MOST = 20
# A sentence has one of these; a command, a pattern or a statement of SQL seldom has.
LITTLE_WORDS = re.compile(
    r"\b(a|an|and|are|as|at|be|but|by|for|from|has|have|in|is|it|its|no|none|not|of|on|or|so|than|that"
    r"|the|there|they|this|to|was|were|where|which|while|with)\b"
)
WORDS = 4
# Not said to anybody: names of fields, of arguments of % and what is run as it stands.
KEPT = re.compile(r"\{[^{}]*\}|%\(\w+\)[a-z]|%[a-z]|`[^`]*`|<[^>]*>|https?://\S+")
BY_PROGRAMS = ("DOCUMENTATION", "EXAMPLES", "RETURN")


def is_prose(text: str) -> bool:
    """Whether a string is said to people; a program in a text of several lines is not."""
    if text.startswith("\n") and text.count("\n") > 2:
        return False
    sentence = len(text.split()) >= WORDS and "\\" not in text
    return sentence and LITTLE_WORDS.search(text) is not None


def in_capitals(text: str) -> str:
    """The text in capitals, but for what is no prose in it."""
    kept = [match.span() for match in KEPT.finditer(text)]
    edges = [0, *(edge for span in kept for edge in span), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(edges)]
    return "".join(part if at % 2 else part.upper() for at, part in enumerate(parts))


class Shouting(ast.NodeTransformer):
    """Puts prose in capitals."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """A string that stands alone is a docstring."""
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """Documentation of modules is read by programs."""
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return node if set(names) & set(BY_PROGRAMS) else self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """An f-string is judged as a whole; its values are looked at, too."""
        texts = [part for part in node.values if isinstance(part, ast.Constant)]
        prose = is_prose("VALUE".join(str(part.value) for part in texts))
        for part in node.values:
            if isinstance(part, ast.Constant):
                part.value = in_capitals(str(part.value)) if prose else part.value
            elif isinstance(part, ast.FormattedValue):
                part.value = self.visit(part.value)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A plain string."""
        if isinstance(node.value, str) and is_prose(node.value):
            node.value = in_capitals(node.value)
        return node


def is_product(path: str) -> bool:
    """Whether a source is the product's."""
    inside = Path(path).resolve()
    return any(inside.is_relative_to(ROOT / folder) for folder in PRODUCT)


class Trial:
    """What pytest is given along: it counts the tests that fail."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a failure, once for each test."""
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)


@contextlib.contextmanager
def shouting() -> Iterator[None]:
    """Meanwhile each source of the product is imported with its prose in capitals."""
    plain = SourceFileLoader.source_to_code

    def source_to_code(self: SourceFileLoader, data: Any, path: Any, **other: Any) -> Any:
        if is_product(str(path)) and isinstance(data, bytes):
            data = ast.fix_missing_locations(Shouting().visit(ast.parse(data)))
        return plain(self, data, path, **other)

    with tempfile.TemporaryDirectory() as cache:
        # Nothing that was compiled before is taken, and nothing of this is left to be taken.
        before, sys.pycache_prefix = sys.pycache_prefix, cache
        SourceFileLoader.source_to_code = source_to_code  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            SourceFileLoader.source_to_code = plain  # type: ignore[method-assign]
            sys.pycache_prefix = before


def main(arguments: list[str]) -> int:
    """Run the trial and say what it found."""
    trial = Trial()
    with shouting(), contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(["-q", "--tb=short", *(arguments or ["tests/unit"])], [trial])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        print(output.getvalue()[-5000:])
        return 2
    print("\n".join([*trial.failed, f"{len(trial.failed)} tests hold how something is said"]))
    return int(len(trial.failed) >= MOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
