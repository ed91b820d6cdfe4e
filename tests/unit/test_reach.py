"""Why a host could not be looked at, from the very words of ssh, sudo and ansible-core 2.19."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fleet.preflight import connection, reach

from plugins.action import ask_host

SSH = (
    'Data could not be sent to remote host "10.0.0.21". Make sure this host can be reached over'
    " ssh: "
)
NO_ANSWER = "Module result deserialization failed: No start of json char found\n"
OLD_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIIZ7gkGmVtIqCVWKHkLdRdrIRtP2lbmv5WIWL4NGHfEM"
OLD = "SHA256:QeiJHnxdUs/Sjo+opGrVa8DDrKLRh0eGjIwb3BpKdK0"
NEW = "SHA256:tCezXLAevTMxeEf+iax50bxY9koFw/33XpU646CoYaI"
CHANGED = (
    SSH + "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n"
    "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
    "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n"
    "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
    "Someone could be eavesdropping on you right now (man-in-the-middle attack)!\r\n"
    "It is also possible that a host key has just been changed.\r\n"
    "The fingerprint for the ED25519 key sent by the remote host is\n"
    f"{NEW}.\r\nPlease contact your system administrator.\r\n"
    "Add correct host key in KNOWN to get rid of this message.\r\n"
    "Offending ED25519 key in KNOWN:2\r\n"
    '  remove with:\r\n  ssh-keygen -f "KNOWN" -R "10.0.0.21"\r\n'
    "Host key for 10.0.0.21 has changed and you have requested strict checking.\r\n"
    "Host key verification failed."
)


def a_host(trouble: str, name: str = "rep1", group: str = "reporting", **target: Any) -> dict:
    """A host that could not be looked at."""
    known = {
        "host": "10.0.0.21",
        "port": "22",
        "user": "ops",
        "keys": ["/home/me/.ssh/id_ed25519"],
        "known_hosts": "/home/me/.ssh/known_hosts",
        "proxy": "",
        **target,
    }
    groups = [group]
    found = {"name": name, "groups": groups, "survey": None, "trouble": trouble, "away": False}
    return {**found, "target": known}


# Words, and what the cause and the remedy say; whether such a host is merely off.
REASONS = [
    (SSH + "Host key verification failed.", "host key of 10.0.0.21 port 22 is not", "ssh-keyscan"),
    (
        SSH + "ops@10.0.0.21: Permission denied (publickey,password).",
        "does not let ops in (it accepts publickey,password; keys that were tried: /home/me/.ssh",
        "try `ssh -i /home/me/.ssh/id_ed25519 ops@10.0.0.21`",
    ),
    (
        SSH + "no such identity: /none/id: No such file or directory\r\n"
        "ops@10.0.0.21: Permission denied (publickey,password).",
        "the ssh key /none/id does not exist",
        "ansible_ssh_private_key_file",
    ),
    (
        SSH + "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\r\n"
        "Permissions 0644 for '/tmp/loose' are too open.\r\n"
        "It is required that your private key files are NOT accessible by others.\r\n"
        "This private key will be ignored.\r\n"
        'Load key "/tmp/loose": bad permissions\r\n'
        "ops@10.0.0.21: Permission denied (publickey,password).",
        "ssh does not use the key /tmp/loose",
        "chmod 0600 /tmp/loose",
    ),
    (
        SSH + "ssh: Could not resolve hostname rep1.nowhere.invalid: Name or service not known",
        "the name rep1.nowhere.invalid cannot be resolved",
        "ansible_host",
    ),
    ("Missing sudo password", "sudo asks for a password, and none was given", "-K"),
    ("Incorrect sudo password", "does not accept the password", "ANSIBLE_BECOME_PASSWORD_FILE"),
    (
        NO_ANSWER + "ops is not in the sudoers file.\n",
        "ops may not run everything as root",
        "adduser ops sudo",
    ),
    (NO_ANSWER.strip(), "ops may not run everything as root", "sudo -l -U ops"),
    (
        NO_ANSWER + "sudo: sorry, you must have a tty to run sudo\n",
        "requiretty",
        "Defaults:ops !requiretty",
    ),
    (NO_ANSWER + "/bin/sh: 1: sudo: not found\n", "sudo is not installed", "apt-get install sudo"),
    (
        NO_ANSWER + "This account is currently not available.\n",
        "ops has no login shell",
        "usermod -s /bin/bash ops",
    ),
    (
        "The module interpreter '/usr/bin/python3' was not found.\n"
        "/bin/sh: 1: /usr/bin/python3: not found\n",
        "python3 is not installed",
        "apt-get install python3",
    ),
    (
        "Task failed: Error processing keyword 'become_pass': Error rendering template: Attempt to"
        " use undecryptable variable: Attempting to decrypt but no vault secrets found.",
        "the encrypted value for become_pass cannot be read: no vault password was given",
        "--ask-vault-pass",
    ),
    (
        "Timeout (12s) waiting for privilege escalation prompt: ",
        "sudo neither asked for a password nor went on",
        "sudo -v",
    ),
    ("something new", "it could not be looked at: something new", "ansible.builtin.ping"),
]
OFF = [
    (SSH + "ssh: connect to host 10.0.0.21 port 22: Connection refused", "refuses the connection"),
    (
        SSH + "ssh: connect to host 10.0.0.21 port 22: No route to host",
        "10.0.0.21 port 22 does not answer (no route to host)",
    ),
    (
        SSH + "ssh: connect to host 10.0.0.21 port 22: Connection timed out",
        "10.0.0.21 port 22 does not answer (connection timed out)",
    ),
    (
        SSH + "kex_exchange_identification: Connection closed by remote host\r\n"
        "Connection closed by 10.0.0.21 port 22",
        "cuts the connection off",
    ),
]


@pytest.mark.parametrize(("words", "cause", "remedy"), REASONS)
def test_each_reason_has_its_own_remedy(words, cause, remedy):
    why = connection.reason(a_host(words))
    assert cause in why.cause
    assert remedy in why.remedy
    assert "rep1" in why.place or "on the controller" in why.place
    assert not why.off


@pytest.mark.parametrize(("words", "cause"), OFF)
def test_a_host_that_gives_no_answer_is_off(words, cause):
    why = connection.reason(a_host(words))
    assert cause in why.cause
    assert why.off


def test_an_unknown_key_is_fetched_from_the_port_in_use():
    why = connection.reason(a_host(SSH + "Host key verification failed.", port="2222"))
    assert why.remedy.startswith(
        "ssh-keyscan -p 2222 -t ed25519 10.0.0.21 >> /home/me/.ssh/known_hosts, then compare"
        " `ssh-keygen -lF '[10.0.0.21]:2222' -f /home/me/.ssh/known_hosts`"
    )
    host = a_host(SSH + "Host key verification failed.", proxy="gate.example.com")
    behind = connection.reason(host)
    assert "ssh-keyscan" not in behind.remedy
    assert "-J gate.example.com ops@10.0.0.21`" in behind.remedy


def test_a_changed_key_shows_both_fingerprints_and_is_never_fetched(tmp_path: Path):
    known = tmp_path / "known_hosts"
    known.write_text(f"10.0.0.11 ssh-ed25519 AAAA\n10.0.0.21 ssh-ed25519 {OLD_KEY}\n")
    words = CHANGED.replace("KNOWN", str(known))
    why = connection.reason(a_host(words, port="2222"))
    assert f"it shows {NEW} (ED25519), known is {OLD}" in why.cause
    assert why.place == f"line 2 of {known} on the controller"
    assert f"ssh-keygen -R '[10.0.0.21]:2222' -f {known}" in why.remedy
    assert "ssh-keyscan" not in why.remedy
    assert not why.off
    known.unlink()
    assert "known is unknown" in connection.reason(a_host(words)).cause


# --- the list ----------------------------------------------------------------------------------

SETTINGS = {"updating": False, "taking_back": False, "primary": {}}
REFUSED = OFF[0][0]
SUDO = "Missing sudo password"


def whats(hosts: list[dict], others: list = (), **settings: Any) -> list[str]:
    found = reach.reach_problems(hosts, {**SETTINGS, **settings}, list(others))
    return [problem["what"] for problem in found]


def test_hosts_with_the_same_reason_share_a_problem():
    hosts = [a_host(SUDO, "erp1", "primary"), a_host(SUDO)]
    found = reach.reach_problems(hosts, SETTINGS, [])
    assert [problem["what"] for problem in found] == [
        "erp1, rep1: sudo asks for a password, and none was given"
    ]
    assert found[0]["place"] == "sudo of ops on erp1; sudo of ops on rep1"


def test_a_reporting_host_that_is_off_stops_nobody_and_is_named_with_other_problems():
    seen = {**a_host("", "erp1", "primary"), "survey": {"x": 1}}
    off = a_host(REFUSED)
    named = ["rep1: 10.0.0.21 port 22 refuses the connection: no sshd listens there"]
    assert whats([seen, off]) == []
    assert whats([seen, off], others=[{"what": "x"}]) == named
    assert whats([seen, off, a_host(SUDO, "rep2")]) == [
        *named,
        "rep2: sudo asks for a password, and none was given",
    ]
    # It has the old code: not left out of an update, but of the way back to that code.
    assert whats([seen, off], updating=True) == named
    assert whats([seen, off], updating=True, taking_back=True) == []


@pytest.mark.parametrize("words", [CHANGED, *[words for words, _, _ in REASONS[:2]]])
def test_a_reporting_host_that_answers_and_is_not_used_stops_the_run(words):
    assert len(whats([{**a_host(words), "away": True}])) == 1


def test_the_primary_stops_the_run_also_where_limit_leaves_it_out():
    primary = a_host(REFUSED, "erp1", "primary")
    assert whats([primary])[0].startswith("erp1: ")
    assert whats([], primary=primary)[0].startswith("erp1: ")


def test_a_host_that_is_left_out_is_told_why():
    words = reach.left_out(a_host(REFUSED))
    assert words.startswith("rep1: 10.0.0.21 port 22 refuses the connection")
    assert "the others are served. Remedy: start sshd" in words


def test_verify_and_status_say_why_they_could_not_ask():
    lost = {"what": "the secrets file does not exist", "place": "fleet.yml", "remedy": "give -i"}
    found = reach.unasked([a_host(SUDO), {**a_host("", "rep2"), "problem": lost}])
    assert found["causes"] == {
        "rep1": "sudo asks for a password, and none was given",
        "rep2": "the secrets file does not exist",
    }
    assert found["text"].startswith("rep1, rep2 could not be asked.\n\n1. rep1: sudo asks")
    assert "2. rep2: the secrets file does not exist\n   place:  fleet.yml" in found["text"]
    # What ails the host itself is said first.
    both = reach.unasked([{**a_host(SUDO), "problem": lost}])
    assert both["problems"][0]["what"].startswith("rep1: sudo asks")
    assert reach.unasked([]) == {"problems": [], "text": "", "causes": {}}


def test_a_host_of_another_connection_has_no_target():
    assert "rep1 port 22" in connection.reason({**a_host(REFUSED), "target": {}}).cause


def test_ssh_s_own_answer_is_read(tmp_path: Path):
    key = tmp_path / "id"
    key.write_text("")
    answer = f"""user ops
hostname 10.0.0.21
port 2222
identityfile {key}
identityfile {tmp_path}/gone
userknownhostsfile /home/me/.ssh/known_hosts /home/me/.ssh/known_hosts2
proxyjump gate
"""
    assert ask_host.parse(answer) == {
        "host": "10.0.0.21",
        "port": "2222",
        "user": "ops",
        "keys": [str(key)],
        "known_hosts": "/home/me/.ssh/known_hosts",
        "proxy": "gate",
    }
