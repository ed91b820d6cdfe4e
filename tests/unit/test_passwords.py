"""What ansible-playbook would ask for is asked by us."""

import os
import stat

import pytest

from benchfleet import passwords
from benchfleet.shell import FleetError


@pytest.mark.parametrize(
    ("arguments", "wanted", "labels", "rest"),
    [
        (["--limit", "rep1"], [], [], ["--limit", "rep1"]),
        (["-K", "-v"], ["-K"], [], ["-v"]),
        (["-vK"], ["-K"], [], ["-v"]),
        (["-kK"], ["-k", "-K"], [], []),
        (["--ask-become-pass", "--check"], ["-K"], [], ["--check"]),
        (["-J"], [], ["default"], []),
        (["--ask-vault-pass", "--ask-vault-password"], [], ["default"], []),
        (["--vault-id", "mine@prompt"], [], ["mine"], []),
        (["--vault-id=prompt"], [], ["default"], []),
        (["--vault-id", "a@b@/x/file"], [], [], ["--vault-id", "a@b@/x/file"]),
        (["--vault-password-file", "x"], [], [], ["--vault-password-file", "x"]),
        (["-e", "a=-K"], [], [], ["-e", "a=-K"]),
        (["-vvv", "-D"], [], [], ["-vvv", "-D"]),
    ],
)
def test_options_are_taken_apart(arguments, wanted, labels, rest):
    assert passwords.split(arguments) == (wanted, labels, rest)


def test_files_are_private_and_named_to_ansible(tmp_path):
    given = passwords.Secrets({"-K": "a", "-k": "b"}, {"default": "c", "mine": "d"})
    environment, arguments = given.give(tmp_path)
    assert set(environment) == {"ANSIBLE_BECOME_PASSWORD_FILE", "ANSIBLE_CONNECTION_PASSWORD_FILE"}
    assert [word.split("@")[0] for word in arguments[1::2]] == ["default", "mine"]
    files = list(tmp_path.iterdir())
    assert {file.read_text() for file in files} == {"a\n", "b\n", "c\n", "d\n"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_without_a_terminal_the_file_s_variable_is_named():
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setsid()
            passwords.ask(["-K"])
        except FleetError as error:
            status = 0 if "ANSIBLE_BECOME_PASSWORD_FILE" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
