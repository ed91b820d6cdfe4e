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
# Documentation of modules, which programs read.
NO_PRODUCT = ROOT / "plugins/doc_fragments"
MOST = 20
# A sentence has one of these; a command, a pattern or a statement of SQL seldom has.
LITTLE_WORDS = re.compile(
    r"(?<![\w-])(a|an|and|are|as|at|be|but|by|for|from|has|have|in|is|it|its|no|none|not|of|on|or|so|than|that"
    r"|the|there|they|this|to|was|were|where|which|while|with)(?![\w-])"
)
WORDS = 4
# Not prose: names of fields, of arguments of %, and commands.
KEPT = re.compile(r"\{[^{}]*\}|%\(\w+\)[a-z]|%[a-z]|`[^`]*`|<[^>]*>|https?://\S+")
# Where a value of an f-string comes.
PLACEHOLDER = "{\0}"
BY_PROGRAMS = ("DOCUMENTATION", "EXAMPLES", "RETURN")


def is_prose(text: str) -> bool:
    """Whether a string is said to people; a program in a text of several lines is not."""
    if text.startswith("\n") and text.count("\n") > 2:
        return False
    sentence = len(text.split()) >= WORDS and "\\" not in text
    return sentence and LITTLE_WORDS.search(text) is not None


def in_capitals(text: str) -> str:
    """The text in capitals, except values and commands; configuration begins with a tab."""
    if text.startswith("\t"):
        return text
    kept = [match.span() for match in KEPT.finditer(text)]
    edges = [0, *(edge for span in kept for edge in span), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(edges)]
    return "".join(part if at % 2 else part.upper() for at, part in enumerate(parts))


# A line of a program in a string, which another interpreter runs.
PROGRAM = re.compile(r"^(#!|import \w|set -\w)", re.MULTILINE)


class Shouting(ast.NodeTransformer):
    """Puts prose in capitals."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """A string that stands alone is a docstring."""
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """Documentation of modules is read by programs."""
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return node if set(names) & set(BY_PROGRAMS) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A pattern, the first argument of re's functions, matches what other programs print."""
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "re":
            node.args[1:] = [self.visit(argument) for argument in node.args[1:]]
            return node
        return self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """An f-string is judged as a whole; its values are looked at, too."""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                part.value = self.visit(part.value)
        texts = [part for part in node.values if isinstance(part, ast.Constant)]
        if is_prose("VALUE".join(str(part.value) for part in texts)):
            # As one text: a command in backquotes may have values in it.
            whole = "".join(
                str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER
                for part in node.values
            )
            written = filter(None, in_capitals(whole).split(PLACEHOLDER))
            for part, text in zip(texts, written, strict=True):
                part.value = text
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A plain string."""
        text = node.value
        if isinstance(text, str) and is_prose(text) and not PROGRAM.search(text):
            node.value = in_capitals(text)
        return node


def is_product(path: str) -> bool:
    """Whether a source is the product's."""
    inside = Path(path).resolve()
    ours = any(inside.is_relative_to(ROOT / folder) for folder in PRODUCT)
    return ours and not inside.is_relative_to(NO_PRODUCT)


class Trial:
    """A plugin of pytest that collects the tests that fail."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a failure, once for each test."""
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)


@contextlib.contextmanager
def shouting() -> Iterator[None]:
    """While the block runs, sources of the product are imported with their prose in capitals."""
    plain = SourceFileLoader.source_to_code

    def source_to_code(self: SourceFileLoader, data: Any, path: Any, **other: Any) -> Any:
        if is_product(str(path)) and isinstance(data, bytes):
            data = ast.fix_missing_locations(Shouting().visit(ast.parse(data)))
        return plain(self, data, path, **other)

    with tempfile.TemporaryDirectory() as cache:
        # Neither reads what was compiled before, nor leaves what it compiles.
        before, sys.pycache_prefix = sys.pycache_prefix, cache
        SourceFileLoader.source_to_code = source_to_code  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            SourceFileLoader.source_to_code = plain  # type: ignore[method-assign]
            sys.pycache_prefix = before


def main(arguments: list[str]) -> int:
    """Run the trial and print the tests that fail."""
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
