"""The pages of docs/ that are made from the code are as the code is now."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest
from fleet.preflight.problems import Kind

from benchfleet import references
from benchfleet.references import ROOT

PRODUCT = ("benchfleet", "filter_plugins", "library", "module_utils", "plugins", "roles")


def test_the_pages_are_as_the_code_is() -> None:
    stale = [
        name
        for name, made in references.PAGES.items()
        if (ROOT / name).read_text(encoding="utf-8") != made()
    ]
    assert stale == [], f"run: .venv/bin/{references.COMMAND}"


def calls_of_kind() -> list[str]:
    """Where the product makes a kind of problem."""
    files = [path for folder in PRODUCT for path in sorted((ROOT / folder).rglob("*.py"))]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, text in texts.items()
        if "Kind(" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Kind"
    ]


def test_every_kind_of_problem_is_on_the_page() -> None:
    found = [kind.id for of_module in references.kinds().values() for kind in of_module]
    # A kind that is no constant of a module would be missing.
    assert len(found) >= len(calls_of_kind())
    page = references.problems_page().splitlines()
    assert [line.removeprefix("### id: ") for line in page if line.startswith("### ")] == found
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) for name in found)


def test_an_id_that_two_kinds_have_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Kind("same", "a", "b", "c"), Kind("same", "a", "b", "d")
    module = ModuleType("made_up")
    (tmp_path / "made_up.py").write_text("ONE = 1\nMORE = 2\n")
    module.__file__ = str(tmp_path / "made_up.py")
    monkeypatch.setattr(references, "modules_with_kinds", lambda: [module])
    vars(module).update(ONE=one, MORE={"x": [one, Kind("else", "a", "b", "c")]})
    assert [kind.id for kind in references.kinds()[module]] == ["same", "else"]
    vars(module).update(MORE=other)
    with pytest.raises(ValueError, match="same"):
        references.kinds()


def test_facts_are_shown_in_capitals() -> None:
    assert references.readable("port {port:d} of {host[name]}: {{a}}") == "port PORT of HOST: {a}"
    assert references.readable("fleet_*_port, `a * b`") == "fleet_\\*_port, `a * b`"


def test_a_sentence_begins_with_a_capital_letter_unless_it_begins_with_a_name() -> None:
    texts = ("port 1 is taken", "ssh has no key", "fleet_sites is empty", "apps/frappe is a link")
    assert [references.sentence(text)[:4] for text in texts] == ["Port", "ssh ", "flee", "apps"]
    assert references.sentence("so it is.") == "So it is."


def test_every_variable_is_on_the_page_once() -> None:
    names = [
        name
        for role in references.roles()
        for name in references.yaml_of(ROOT / f"roles/{role}/meta/argument_specs.yml")[
            "argument_specs"
        ]["variables"]["options"]
    ]
    lines = references.variables_page().splitlines()
    shown = [found[1] for line in lines if (found := re.match(r"- `(\w+)` \(", line))]
    assert len(shown) > 80
    assert sorted(shown) == sorted(set(names))
    # A new role gets its place in the order.
    assert set(references.roles()) == set(references.ORDER)


def test_every_check_and_row_is_on_the_page() -> None:
    page = references.verify_page()
    for name, check in references.CATALOGUE.items():
        assert page.count(f"### id: {name}\n") == 1
        assert check.row in references.ROWS
    for name in references.OF_STATUS:
        assert page.count(f"### id: {name}\n") == 1
    rows_of_checks = {check.row for check in references.CATALOGUE.values()}
    assert rows_of_checks | references.WITHOUT_CHECKS.keys() == references.ROWS.keys()
    assert not rows_of_checks & references.WITHOUT_CHECKS.keys()
