"""Which Benchfleet this is: told by one file, and by git where this is a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fleet import release

from benchfleet import cli
from benchfleet.runner import ROOT
from filter_plugins.release import release_version

PROJECT = '[project]\nname = "benchfleet"\nversion = "1.2.3"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a version, and no checkout."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    """The output of a command of git's."""
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_version_is_that_of_the_project_file(project: Path) -> None:
    assert release.version(project) == release_version(str(project)) == "1.2.3"
    assert release.title(project) == "benchfleet 1.2.3"


def test_the_commit_is_named_where_there_is_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(project, "init", "--quiet")
    assert release.commit(project) == ""
    git(project, "commit", "--quiet", "--allow-empty", "--message", "x")
    head = git(project, "rev-parse", "HEAD")
    # As in a hook of another repository.
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert release.title(project) == f"benchfleet 1.2.3 (commit {head[:7]})"


def test_without_git_there_is_no_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".git").mkdir()
    monkeypatch.setenv("PATH", str(project))
    assert release.commit(project) == ""


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.parse(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == release.title()


@pytest.mark.parametrize(("callback", "stream"), [("default", "stdout"), ("minimal", "stderr")])
def test_a_run_prints_it_once_and_apart_from_output_for_programs(
    tmp_path: Path, callback: str, stream: str
) -> None:
    play = tmp_path / "play.yml"
    play.write_text("[{hosts: localhost, gather_facts: false, tasks: []}]")
    words = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(play)]
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_STDOUT_CALLBACK": callback,
    }
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    output = {"stdout": done.stdout, "stderr": done.stderr}
    assert output.pop(stream).splitlines().count(release.title()) == 1
    assert all(release.title() not in other for other in output.values())


def test_hosts_get_the_version_and_not_the_commit() -> None:
    values = yaml.safe_load((ROOT / "roles/fleet/vars/main.yml").read_text())
    [mark] = [e for e in values["__fleet_common_files"] if e["path"].endswith("/fleet.json")]
    assert "'version': (role_path ~ '/../..') | release_version" in mark["content"]


def test_the_changelog_begins_with_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[([\d.]+)\]", changes, re.MULTILINE)[0] == release.version()
