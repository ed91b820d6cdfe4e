"""What ansible-doc shows of a module is what the module takes, with an example of its use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible import context
from ansible.cli.doc import DocCLI
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from fleet.module import FleetModule

ROOT = Path(__file__).parents[2]
fragment_loader.add_directory(str(ROOT / "plugins/doc_fragments"))
# They are on their way out.
MODULES = sorted((ROOT / "library").glob("*.py"))
# What an option of a module has in its documentation as in its argument spec, and what both mean
# where they are silent.
ALIKE: dict[str, Any] = {
    "type": "str",
    "elements": None,
    "required": False,
    "default": None,
    "choices": None,
    "aliases": [],
}


class StoppedError(Exception):
    """Instead of what a module does once its options are there."""


def argument_spec(module: Path) -> dict[str, Any]:
    """The options that a module takes."""
    code = importlib.import_module(f"library.{module.stem}")
    made = mock.patch.object(FleetModule, "__init__", side_effect=StoppedError)
    with made as call, pytest.raises(StoppedError):
        code.main()
    spec: dict[str, Any] = call.call_args.kwargs["argument_spec"]
    return spec


def differences(spec: dict[str, Any], told: dict[str, Any], where: str = "") -> Iterator[str]:
    """Where the documentation of options is not what the spec says."""
    for name in spec.keys() ^ told.keys():
        yield f"{where}{name}: only in the {'spec' if name in spec else 'documentation'}"
    for name in spec.keys() & told.keys():
        place = f"{where}{name}"
        if not told[name].get("description"):
            yield f"{place}: no description"
        for key, silent in ALIKE.items():
            taken, shown = (option.get(key, silent) for option in (spec[name], told[name]))
            if taken != shown:
                yield f"{place}: {key} is {taken!r}, documented as {shown!r}"
        inner, shown = spec[name].get("options") or {}, told[name].get("suboptions") or {}
        yield from differences(inner, shown, f"{place}.")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_ansible_doc_shows_what_a_module_takes(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc, *others = get_docstring(str(module), fragment_loader, plugin_type="module")
    spec = argument_spec(module)
    assert doc["module"] == module.stem
    assert list(differences(spec, doc.get("options") or {})) == []
    required = {name for name, option in spec.items() if option.get("required")}
    for task in yaml.safe_load(others[0]):
        used = task[module.stem] or {}
        assert task["name"]
        assert required <= used.keys() <= spec.keys()
    monkeypatch.setattr(context, "CLIARGS", {"type": "module"})
    doc |= {"filename": str(module), "collection": "", "plugin_name": module.stem}
    assert DocCLI.format_plugin_doc(module.stem, "module", doc, *others)
