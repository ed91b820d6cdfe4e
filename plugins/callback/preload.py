"""Loads, once and before the first worker is forked, what every worker would load again.

Ansible forks a worker for each task on each host, and loads plugins where they are first used: in
the workers, from scratch each time. What this process has loaded, they inherit.

Ansible also packs each module with all that it imports, and forgets the packages at the end of a
run. They are kept for the next one here, as long as neither the modules nor Ansible change. What is
kept also has the modules' bytecode: a host whose Python is of the controller's version does not
compile them again at each task, which is half of what starting a module costs.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import os
import pickle
import py_compile
import shutil
import stat
import sys
import tempfile
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import ansible
from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import (
    action_loader,
    become_loader,
    connection_loader,
    filter_loader,
    lookup_loader,
    shell_loader,
    test_loader,
)

DOCUMENTATION = """
name: preload
type: aggregate
short_description: loads plugins before workers are forked
description: Saves the controller work; prints nothing.
"""
USED = (
    (
        action_loader,
        ("normal", "command", "include_vars", "set_fact", "assert", "debug", "template"),
    ),
    (become_loader, ("sudo",)),
    (connection_loader, ("ssh", "local")),
    (lookup_loader, ("vars", "file", "env", "first_found")),
    (shell_loader, ("sh",)),
)


ROOT = Path(__file__).resolve().parents[2]
# Begin the names of packages: Ansible's own modules, and those of a folder `library`.
BUILTIN, OURS = "ansible.modules.", "ansible.legacy."
FOLDERS_KEPT = 3


def kept_packages() -> Path:
    """Return the folder of the packed modules that fit this code and this Ansible."""
    digest = hashlib.sha256()
    paths = [constants.config.get_config_value(f"DEFAULT_MODULE{p}_PATH") for p in ("", "_UTILS")]
    digest.update(repr((ansible.__version__, ansible.__file__, sys.version, paths)).encode())
    for folder in ("library", "module_utils"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(repr((str(path), path.read_bytes())).encode())
    home = Path(constants.config.get_config_value("ANSIBLE_HOME"))
    return home / "benchfleet-modules" / digest.hexdigest()[:16]


def is_own(path: Path) -> bool:
    """Return whether only this account can have written a file or folder: Ansible unpickles it."""
    info = path.lstat()
    plain = stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)
    return plain and info.st_uid == os.geteuid() and not info.st_mode & 0o022


@cache
def bytecode(name: str, source: bytes) -> bytes:
    """Return the bytecode of a Python file, which is read without a look at the source.

    name: what tracebacks call it. Raises PyCompileError.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source")
        path.write_bytes(source)
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), f"{path}c", name, doraise=True, invalidation_mode=mode)
        return Path(f"{path}c").read_bytes()


def with_bytecode(archive: bytes) -> bytes:
    """Return a zip archive in which each Python file has its bytecode beside it.

    A Python of another version reads the source, as it finds another magic number.
    """
    out = io.BytesIO()
    options: dict[str, Any] = {"mode": "w", "compression": zipfile.ZIP_DEFLATED}
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(out, **options) as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content)
            if name.endswith(".py"):
                after.writestr(f"{name}c", bytecode(name, content))
    return out.getvalue()


def compiled(package: bytes) -> bytes:
    """Return one of Ansible's packed modules with its bytecode; as it is if it has another form."""
    try:
        packed = pickle.loads(package)
        archive = base64.b64decode(packed.zip_data)
        both = base64.b64encode(with_bytecode(archive))
        return pickle.dumps(dataclasses.replace(packed, zip_data=both))
    except (AttributeError, TypeError, ValueError, zipfile.BadZipFile, py_compile.PyCompileError):
        return package


def bring(source: Path, target: Path, *, compile_them: bool = False) -> None:
    """Copy packed modules that the target lacks to it, each in one rename."""
    for folder in (target.parent, target):
        folder.mkdir(exist_ok=True, mode=0o700)
    ours = {f"{OURS}{path.stem}" for path in (ROOT / "library").glob("*.py")}
    for path in source.iterdir():
        module = path.name.partition("-")[0]
        known = module.startswith(BUILTIN) or module in ours
        if known and not path.name.endswith((".lock", "-part")) and is_own(path):
            there = target / path.name
            if not there.exists():
                part = there.with_name(f"{there.name}.{os.getpid()}-part")
                package = path.read_bytes()
                part.touch(0o600)
                part.write_bytes(compiled(package) if compile_them else package)
                part.replace(there)


class CallbackModule(CallbackBase):
    """Called when a playbook begins and when it ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "preload"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Load all filters and tests, and the plugins that nearly every task uses."""
        for loader in (filter_loader, test_loader):
            list(loader.all())
        for loader, names in USED:
            for name in names:
                loader.get(name, class_only=True)
        self.kept = kept_packages()
        # Where this run reads and writes them.
        self.used = Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
        with suppress(OSError):
            if is_own(self.kept):
                bring(self.kept, self.used)

    def v2_playbook_on_stats(self, _stats: Any) -> None:
        """Keep what this run packed; of other code's folders, only the newest stay."""
        # A fault of the folder must not fail the run.
        with suppress(OSError):
            bring(self.used, self.kept, compile_them=True)
            os.utime(self.kept)
            others = sorted(self.kept.parent.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in others[:-FOLDERS_KEPT]:
                shutil.rmtree(old, ignore_errors=True)
