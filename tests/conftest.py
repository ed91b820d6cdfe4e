"""Make our module_utils importable under the name that modules use."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
import pytest

ansible.module_utils.__path__.append(str(Path(__file__).parents[1] / "module_utils"))

from ansible.module_utils import bench  # noqa: E402 -- found through the path above


@pytest.fixture(autouse=True)
def outputs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where failed commands leave their output, instead of the system's own folder."""
    folder = tmp_path_factory.mktemp("outputs")
    monkeypatch.setattr(bench, "LOG_DIR", str(folder))
    return folder
