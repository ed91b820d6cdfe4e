"""Make module_utils/fleet one package under both of its names, and leave the machine alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from fleet.bench import output

MODULES_NAME = "ansible.module_utils.fleet"


class OnePackage:
    """Finds the package under the name that modules use: the same objects, so a patch holds."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Know the names of our package alone."""
        ours = f"{name}.".startswith(f"{MODULES_NAME}.")
        return ModuleSpec(name, self) if ours else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that is there, or will be, under the package's own name."""
        module = importlib.import_module(spec.name.removeprefix("ansible.module_utils."))
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is: it keeps its own specification."""
        module.__spec__ = self.spec


sys.meta_path.insert(0, OnePackage())  # type: ignore[arg-type]

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
        patch.setattr(output, "LOG_DIR", str(folder / "outputs"))
        yield
