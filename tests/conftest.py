"""Make our module_utils importable under the name that modules use, and leave the machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

ansible.module_utils.__path__.append(str(Path(__file__).parents[1] / "module_utils"))

from ansible.module_utils import bench  # noqa: E402 -- found through the path above

import module_utils.bench  # noqa: E402 -- the same file under the name that tests use

# Repositories without sample hooks: those were most of the files that the tests made and removed.
GIT_CONFIG = """
[user]
    name = Tests
    email = tests@example.com
[init]
    templateDir =
[gc]
    auto = 0
[maintenance]
    auto = false
"""


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders and settings of the tests' own in place of the system's and the user's."""
    folder = tmp_path_factory.mktemp("surroundings")
    (folder / "gitconfig").write_text(GIT_CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(folder / "gitconfig"))
        # Where failed commands leave their output.
        for module in (bench, module_utils.bench):
            patch.setattr(module, "LOG_DIR", str(folder / "outputs"))
        yield
