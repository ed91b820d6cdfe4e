"""The command line, and what it asks of a lab."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchfleet import cli, inventories
from benchfleet.lab import framework, state
from benchfleet.shell import USAGE, FleetError
from benchfleet.verbs import VERBS

# What a verb needs besides its name.
NEEDED = dict.fromkeys(("add", "remove", "drain", "undrain", "logs"), ("rep1",))
NEEDED |= {"remove-app": ("shop",), "end-query": ("rep1", "5071")}


@pytest.fixture(autouse=True)
def no_labs(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LABS", tmp_path / "labs")
    monkeypatch.delenv("BENCHFLEET_LAB", raising=False)


def wanted(*words, name="lab"):
    return cli.wanted_lab(cli.parse(["lab", "up", *words]), name)


def test_lab_up_by_default():
    lab = wanted()
    assert (lab.subnet, lab.release, lab.nodes) == ("10.203.0.0/24", "bookworm", 1)
    assert (lab.frappe_repo, lab.frappe_branch, lab.build_assets) == (
        framework.IN_HOST,
        "main",
        True,
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "benchfleet", "--help"]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, env=buffered)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_an_error():
    program = """
import runpy
from benchfleet import cli
def main():
    raise BrokenPipeError("a connection")
cli.main = main
runpy.run_module("benchfleet", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 1
    assert b"BrokenPipeError: a connection" in done.stderr


def test_options_left_out_stay_as_they_were():
    former = wanted("--nodes", "3", "--release", "trixie", "--subnet", "10.9.0.0/24")
    former.save()
    again = wanted()
    assert (again.nodes, again.release, again.subnet) == (3, "trixie", "10.9.0.0/24")


def test_a_repository_s_address_is_passed_on():
    url = "https://git.example.com/frappe.git"
    lab = wanted("--frappe-repo", url, "--frappe-branch", "version-15")
    assert (lab.frappe_repo, lab.frappe_branch, lab.build_assets) == (url, "version-15", False)
    lab.save()
    again = wanted()
    assert (again.frappe_repo, again.frappe_branch, again.build_assets) == (
        url,
        "version-15",
        False,
    )


def test_a_plain_folder_becomes_a_repository_in_the_primary(tmp_path):
    lab = wanted("--frappe-repo", str(tmp_path))
    assert (lab.frappe_repo, lab.frappe_branch) == (framework.IN_HOST, "main")
    assert lab.frappe_source == str(tmp_path)


def test_python_and_preparation_stay_as_they_were(tmp_path):
    (tmp_path / "prepare").write_text("true\n")
    lab = wanted("--python", "/usr/bin/python3.12", "--prepare", str(tmp_path / "prepare"))
    assert (lab.python, lab.prepare) == ("/usr/bin/python3.12", str(tmp_path / "prepare"))
    lab.save()
    again = wanted()
    assert (again.python, again.prepare) == (lab.python, lab.prepare)
    assert (wanted(name="other").python, wanted(name="other").prepare) == (None, None)


def test_the_inventory_has_what_a_user_sets(monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    hosts = runpy.run_path(str(cli.LAB_INVENTORY / "hosts.py"))

    def variables(*words):
        return hosts["inventory"](wanted(*words))["all"]["vars"]

    plain = variables()
    # Nothing is true of the lab alone but what it needs for itself: its keys and places, the
    # framework, and that its hosts share one machine's memory.
    shared = yaml.safe_load((cli.LAB_INVENTORY / "group_vars/all.yml").read_text())
    assert sorted(key for key in {**plain, **shared} if not key.startswith("ansible_")) == [
        "bench_apps",
        "bench_frappe_branch",
        "bench_frappe_repo",
        "fleet_memory_mb",
        "fleet_secrets_dir",
        "fleet_sites",
    ]
    assert plain["bench_apps"] == []
    assert plain["fleet_sites"] == [{"name": state.SITE, "names": ["10.203.0.11"], "apps": []}]
    url = "https://git.example.com/shop"
    found = variables("--app", f"shop={url}#next", "--app", f"hr={url}", "--python", "/python")
    assert found["bench_apps"] == [
        {"name": "shop", "repo": url, "branch": "next"},
        {"name": "hr", "repo": url},
    ]
    assert [site["apps"] for site in found["fleet_sites"]] == [["shop", "hr"]]
    assert found["bench_python"] == "/python"


@pytest.mark.parametrize(
    "words",
    [
        ("--nodes", "-1"),
        ("--python", "python3.12"),
        ("--prepare", "/no/such/script"),
        ("--app", "shop"),
        ("--nodes", "51"),
        ("--subnet", "10.0.0.0/8"),
        ("--frappe-branch", "version-14"),
        ("--frappe-repo", "https://git.example.com/frappe.git"),
        ("--frappe-repo", "/no/such/folder"),
    ],
)
def test_unfit_options_are_named(words):
    with pytest.raises(FleetError, match=f"^`{words[0]}") as error:
        wanted(*words)
    # The value, but where it is another option that is missing.
    assert words[0] == "--frappe-repo" or words[1] in str(error.value)


def test_the_remote_command_is_left_alone():
    options = cli.parse(["lab", "ssh", "erp1", "--name", "x", "--", "ls", "--name", "--", "y"])
    assert (options.host, options.name) == ("erp1", "x")
    assert options.remote == ["ls", "--name", "--", "y"]
    assert cli.parse(["lab", "ssh", "erp1"]).remote == []


@pytest.mark.parametrize("words", [[], ["lab"], ["lab", "fly"], ["test", "--nothing"]])
def test_unknown_commands_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        cli.parse(words)
    assert capsys.readouterr().out == ""


def test_an_error_goes_to_standard_error(capsys):
    assert cli.main(["lab", "status"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "`./fleet lab up --name lab`" in captured.err


@pytest.mark.parametrize("verb", list(VERBS.values()), ids=list(VERBS))
def test_a_lab_is_never_guessed(verb, capsys, monkeypatch):
    monkeypatch.delenv(inventories.VARIABLE, raising=False)
    wanted().save()
    assert cli.main([verb.name, *NEEDED.get(verb.name, ())]) == USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert inventories.VARIABLE in told.err
    # The only lab of this machine is offered.
    assert (
        f"`./fleet {' '.join([verb.name, *NEEDED.get(verb.name, ())])} -i inventory/lab`"
        in told.err
    )
    wanted(name="other").save()
    assert cli.main([verb.name, *NEEDED.get(verb.name, ())]) == USAGE
    assert "-i inventory/lab" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", list(VERBS.values()), ids=list(VERBS))
def test_the_inventory_stands_before_or_after_the_verb(verb):
    words = [verb.name, *NEEDED.get(verb.name, ())]
    before, after = cli.parse(["-i", "a", *words]), cli.parse([*words, "-i", "a"])
    assert before.inventory == after.inventory == Path("a")
    assert cli.parse(words).inventory is None
    assert before.command == verb.name


@pytest.mark.parametrize("verb", list(VERBS.values()), ids=list(VERBS))
def test_a_verb_takes_what_makes_sense_for_it(verb, capsys):
    words = [verb.name, *NEEDED.get(verb.name, ())]
    fits = {f"--{option}": option in verb.takes for option in ("check", "diff")}
    fits |= {"--limit=rep1": "limit" in verb.takes, "--yes": bool(verb.does)}
    fits |= {"--confirm=x": bool(verb.confirm), "--json": bool(verb.show), "--tags=x": False}
    fits |= {"-K": True, "-vvv": True, "--vault-id=a@b": True, "-ea=b": True, "--raw": True}
    for option, fit in fits.items():
        if fit:
            cli.parse([*words, option])
            continue
        with pytest.raises(SystemExit) as ended:
            cli.parse([*words, option])
        assert ended.value.code == USAGE, option
    capsys.readouterr()
    assert (cli.parse([*words, "-vv"]).verbose, cli.parse(words).verbose) == (2, 0)


@pytest.mark.parametrize("verb", list(VERBS.values()), ids=list(VERBS))
def test_a_verb_s_playbook_is_there(verb):
    assert (cli.runner.ROOT / verb.playbook).is_file()


def test_help_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words in ([], *([name] for name in VERBS)):
        with pytest.raises(SystemExit) as ended:
            cli.parse([*words, "--help"])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= 80, said
        assert words or [name for name in VERBS if f"\n  {name} " not in said] == []


@pytest.mark.parametrize("command", ["lab", "test"])
def test_lab_and_tests_take_no_inventory(command):
    with pytest.raises(SystemExit) as ended:
        cli.parse(["-i", "inventory/mine", command, *(["status"] if command == "lab" else [])])
    assert ended.value.code == USAGE


@pytest.mark.parametrize("where", ["option", "environment"])
def test_an_inventory_that_is_not_there_is_wrong_usage(where, capsys, monkeypatch, tmp_path):
    place = str(tmp_path / "nowhere")
    monkeypatch.setenv(inventories.VARIABLE, place if where == "environment" else "")
    assert cli.main(["status", *(["-i", place] if where == "option" else [])]) == USAGE
    assert place in capsys.readouterr().err


@pytest.mark.parametrize("place", ["inventory/lab", str(cli.LAB_INVENTORY)])
def test_the_lab_that_is_taken_is_named(place, capsys, monkeypatch):
    entered = []
    monkeypatch.setattr(inventories.network, "enter", entered.append)
    monkeypatch.setenv("BENCHFLEET_LAB", "")
    monkeypatch.chdir(cli.runner.ROOT)
    wanted(name="trial").save()
    assert inventories.chosen(Path(place), "") == Path(place)
    assert "'trial'" in capsys.readouterr().err
    assert entered == ["trial"]
    wanted(name="other").save()
    monkeypatch.setenv("BENCHFLEET_LAB", "")
    with pytest.raises(FleetError, match="other, trial"):
        inventories.chosen(Path(place), "")


def test_the_inventory_of_labs_names_the_one_that_it_takes(capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    hosts = runpy.run_path(str(cli.LAB_INVENTORY / "hosts.py"))
    wanted(name="trial").save()
    assert hosts["main"]() == 0
    told = capsys.readouterr()
    assert "'trial'" in told.err
    assert "erp1" in told.out
    wanted(name="other").save()
    assert hosts["main"]() == 1
    told = capsys.readouterr()
    assert (told.out, "BENCHFLEET_LAB=" in told.err) == ("", True)
