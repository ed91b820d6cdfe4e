"""What a run of Ansible packed serves the next one, unless somebody else could have changed it."""

from __future__ import annotations

import base64
import importlib.util
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ping(tmp_path):
    """Plays `ping` on this machine; returns whether that went well."""

    def play() -> bool:
        words = ["localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.ping"]
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible")), *words, "-o"],
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_HOME": str(tmp_path / "home"),
                "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0

    return play


def test_what_was_packed_serves_the_next_run(ping, tmp_path):
    assert ping()
    [package] = (tmp_path / "home/benchfleet-modules").glob("*/ansible.modules.ping-*")
    assert package.stat().st_mode & 0o077 == 0
    package.write_bytes(b"nothing that can be unpacked")
    # Others could have written it: it is not looked at.
    package.chmod(0o666)
    assert ping()
    package.chmod(0o600)
    assert not ping()


def test_what_is_kept_needs_no_compiling(ping, tmp_path):
    assert ping()
    [package] = (tmp_path / "home/benchfleet-modules").glob("*/ansible.modules.ping-*")
    packed = pickle.loads(package.read_bytes())
    archive = tmp_path / "archive.zip"
    archive.write_bytes(base64.b64decode(packed.zip_data))
    names = zipfile.ZipFile(archive).namelist()
    sources = {name for name in names if name.endswith(".py")}
    assert sources
    assert set(names) - sources == {f"{name}c" for name in sources}

    def compiles(python_magic: bytes) -> int:
        """How many files are compiled by a Python that expects this magic number."""
        code = (
            "import importlib._bootstrap_external as b, sys, zipimport\n"
            f"b.MAGIC_NUMBER = {python_magic!r}\n"
            "done, real = [], zipimport._compile_source\n"
            "zipimport._compile_source = lambda path, text: done.append(path) or real(path, text)\n"
            f"sys.path.insert(0, {str(archive)!r})\n"
            "import ansible.modules.ping\n"
            "print(len(done))"
        )
        words = [sys.executable, "-c", code]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    assert compiles(importlib.util.MAGIC_NUMBER) == 0
    assert compiles(b"\x01\x02\r\n") > 20
