"""Why a host could not be asked, from messages of ssh, sudo and ansible-core 2.19 as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fleet.preflight import connection, reach
from fleet.preflight.problems import Kind, Problem

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
    """A host that could not be asked."""
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


# Messages, the id of the problem, and facts of it; of a host that is not off.
REASONS: list[tuple[str, str, dict[str, Any]]] = [
    (
        SSH + "Host key verification failed.",
        "ssh_host_key_unknown",
        {"address": "10.0.0.21 port 22", "file": "/home/me/.ssh/known_hosts"},
    ),
    (
        SSH + "ops@10.0.0.21: Permission denied (publickey,password).",
        "ssh_login_refused",
        {
            "account": "ops",
            "methods": "publickey,password",
            "keys": ["/home/me/.ssh/id_ed25519"],
            "command": "ssh -i /home/me/.ssh/id_ed25519 ops@10.0.0.21",
        },
    ),
    (
        SSH + "Received disconnect from 10.0.0.21 port 22:2: Too many authentication failures",
        "ssh_login_refused",
        {"account": "ops"},
    ),
    (
        SSH + "no such identity: /none/id: No such file or directory\r\n"
        "ops@10.0.0.21: Permission denied (publickey,password).",
        "ssh_key_missing",
        {"key": "/none/id", "account": "ops"},
    ),
    (
        SSH + "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\r\n"
        "Permissions 0644 for '/tmp/loose' are too open.\r\n"
        "It is required that your private key files are NOT accessible by others.\r\n"
        "This private key will be ignored.\r\n"
        'Load key "/tmp/loose": bad permissions\r\n'
        "ops@10.0.0.21: Permission denied (publickey,password).",
        "ssh_key_readable",
        {"key": "/tmp/loose", "account": "ops"},
    ),
    (
        SSH + "ssh: Could not resolve hostname rep1.nowhere.invalid: Name or service not known",
        "host_name_unknown",
        {"unknown": "rep1.nowhere.invalid"},
    ),
    ("Missing sudo password", "sudo_password_missing", {"user": "ops"}),
    ("Incorrect sudo password", "sudo_password_wrong", {"user": "ops"}),
    (NO_ANSWER + "ops is not in the sudoers file.\n", "sudo_denied", {"user": "ops"}),
    (NO_ANSWER.strip(), "sudo_denied", {"user": "ops"}),
    (
        NO_ANSWER + "sudo: sorry, you must have a tty to run sudo\n",
        "sudo_wants_terminal",
        {"user": "ops"},
    ),
    (NO_ANSWER + "/bin/sh: 1: sudo: not found\n", "sudo_missing", {}),
    (
        NO_ANSWER + "This account is currently not available.\n",
        "login_shell_missing",
        {"user": "ops"},
    ),
    (
        "The module interpreter '/usr/bin/python3' was not found.\n"
        "/bin/sh: 1: /usr/bin/python3: not found\n",
        "python_missing",
        {},
    ),
    (
        "Task failed: Error processing keyword 'become_pass': Error rendering template: Attempt to"
        " use undecryptable variable: Attempting to decrypt but no vault secrets found.",
        "vault_password_missing",
        {},
    ),
    (
        "Task failed: Error processing keyword 'become_pass': Error rendering template: Attempt to"
        " use undecryptable variable: Decryption failed (no vault secrets were found that could"
        " decrypt).",
        "vault_password_wrong",
        {},
    ),
    ("Timeout (12s) waiting for privilege escalation prompt: ", "sudo_hangs", {}),
    ("something new", "host_not_asked", {"message": "something new"}),
]
# Those of a host that is off.
OFF: list[tuple[str, str, dict[str, Any]]] = [
    (
        SSH + "ssh: connect to host 10.0.0.21 port 22: Connection refused",
        "ssh_refused",
        {"address": "10.0.0.21 port 22"},
    ),
    (
        SSH + "ssh: connect to host 10.0.0.21 port 22: No route to host",
        "host_silent",
        {"address": "10.0.0.21 port 22", "seen": "No route to host"},
    ),
    (
        SSH + "ssh: connect to host 10.0.0.21 port 22: Connection timed out",
        "host_silent",
        {"address": "10.0.0.21 port 22", "seen": "Connection timed out"},
    ),
    (
        SSH + "kex_exchange_identification: Connection closed by remote host\r\n"
        "Connection closed by 10.0.0.21 port 22",
        "ssh_cut_off",
        {"address": "10.0.0.21 port 22"},
    ),
]


@pytest.mark.parametrize(("message", "problem", "facts"), REASONS + OFF)
def test_each_reason_has_its_own_problem(message: str, problem: str, facts: dict[str, Any]) -> None:
    why = connection.reason(a_host(message))
    found = why.problem
    assert found["id"] == problem
    assert found["facts"] == {**found["facts"], **facts, "host": "rep1"}
    for value in facts.values():
        shown = ", ".join(value) if isinstance(value, list) else value
        assert any(shown in found[part] for part in ("what", "place", "remedy"))
    assert why.off is (message in [row[0] for row in OFF])


def test_each_kind_of_problem_is_seen() -> None:
    kinds = {kind.id for kind in vars(connection).values() if isinstance(kind, Kind)}
    tried = {problem for _, problem, _ in REASONS + OFF}
    others = {"ssh_host_key_changed", "ssh_host_key_unknown_behind_jump_host"}
    assert tried | others == kinds


def test_an_unknown_key_is_fetched_from_the_port_in_use():
    unknown = SSH + "Host key verification failed."
    found = connection.reason(a_host(unknown, port="2222")).problem
    known = "/home/me/.ssh/known_hosts"
    assert found["facts"]["scan"] == f"ssh-keyscan -p 2222 -t ed25519 10.0.0.21 >> {known}"
    assert found["facts"]["find"] == f"ssh-keygen -lF '[10.0.0.21]:2222' -f {known}"
    for command in ("scan", "find"):
        assert f"`{found['facts'][command]}`" in found["remedy"]
    behind = connection.reason(a_host(unknown, proxy="gate.example.com")).problem
    assert behind["id"] == "ssh_host_key_unknown_behind_jump_host"
    assert "ssh-keyscan" not in behind["remedy"]
    assert "-J gate.example.com ops@10.0.0.21`" in behind["remedy"]


def test_a_changed_key_shows_both_fingerprints_and_is_never_fetched(tmp_path: Path):
    known = tmp_path / "known_hosts"
    known.write_text(f"10.0.0.11 ssh-ed25519 AAAA\n10.0.0.21 ssh-ed25519 {OLD_KEY}\n")
    message = CHANGED.replace("KNOWN", str(known))
    why = connection.reason(a_host(message, port="2222"))
    found = why.problem
    assert found["id"] == "ssh_host_key_changed"
    assert found["facts"]["shown"] == f"{NEW} (ED25519)"
    assert found["facts"]["known"] == OLD
    assert all(fingerprint in found["what"] for fingerprint in (NEW, OLD))
    assert found["facts"]["file"] == f"line 2 of {known}"
    assert f"ssh-keygen -R '[10.0.0.21]:2222' -f {known}" in found["remedy"]
    assert "ssh-keyscan" not in found["remedy"]
    assert not why.off
    known.unlink()
    assert connection.reason(a_host(message)).problem["facts"]["known"] == "unknown"


# --- the list ----------------------------------------------------------------------------------

SETTINGS = {"updating": False, "taking_back": False, "primary": {}}
REFUSED = OFF[0][0]
SUDO = "Missing sudo password"


def ids(hosts: list[dict], others: list = (), **settings: Any) -> list[tuple[str, list[str]]]:
    """The problems' ids, each with its hosts."""
    found = reach.reach_problems(hosts, {**SETTINGS, **settings}, list(others))
    return [(problem["id"], problem["facts"]["hosts"]) for problem in found]


def test_hosts_with_the_same_reason_share_a_problem():
    hosts = [a_host(SUDO, "erp1", "primary"), a_host(SUDO)]
    (found,) = reach.reach_problems(hosts, SETTINGS, [])
    assert found["id"] == "sudo_password_missing"
    # What is not the same of all is left out.
    facts = {name: found["facts"].get(name) for name in ("hosts", "host", "user")}
    assert facts == {"hosts": ["erp1", "rep1"], "host": None, "user": "ops"}
    assert found["what"].startswith("erp1, rep1: ")
    one, other = found["place"].split("; ")
    assert one.replace("erp1", "rep1") == other
    alone = [a_host(REASONS[1][0], "erp1", "primary"), a_host(SUDO)]
    assert len(reach.reach_problems(alone, SETTINGS, [])) == 2


def test_a_reporting_host_that_is_off_stops_nothing_and_is_named_with_other_problems():
    seen = {**a_host("", "erp1", "primary"), "survey": {"x": 1}}
    off = a_host(REFUSED)
    named = [("ssh_refused", ["rep1"])]
    assert ids([seen, off]) == []
    assert ids([seen, off], others=[{"what": "x"}]) == named
    assert ids([seen, off, a_host(SUDO, "rep2")]) == [
        *named,
        ("sudo_password_missing", ["rep2"]),
    ]
    # It has the old code: not left out of an update, but of the way back to that code.
    assert ids([seen, off], updating=True) == named
    assert ids([seen, off], updating=True, taking_back=True) == []


@pytest.mark.parametrize("message", [CHANGED, *[message for message, _, _ in REASONS[:2]]])
def test_a_reporting_host_that_answers_and_cannot_be_used_stops_the_run(message):
    assert len(ids([{**a_host(message), "away": True}])) == 1


def test_the_primary_stops_the_run_also_where_limit_leaves_it_out():
    primary = a_host(REFUSED, "erp1", "primary")
    assert ids([primary]) == [("ssh_refused", ["erp1"])]
    assert ids([], primary=primary) == [("ssh_refused", ["erp1"])]


def test_the_message_on_a_host_that_is_left_out_names_problem_and_remedy():
    host = a_host(REFUSED)
    found = connection.reason(host).problem
    message = reach.left_out(host)
    assert message.startswith(f"rep1: {found['what']}")
    assert found["id"] in message
    assert found["remedy"] in message


def test_verify_and_status_name_why_they_could_not_ask():
    lost: Problem = {
        "id": "secrets_lost",
        "what": "the secrets file does not exist",
        "place": "fleet.yml",
        "remedy": "give -i",
        "facts": {},
    }
    hosts = [a_host(SUDO), {**a_host("", "rep2"), "problem": lost}]
    found = reach.unasked(hosts)
    assert found["causes"] == {
        "rep1": connection.reason(hosts[0]).problem["what"],
        "rep2": "the secrets file does not exist",
    }
    assert [(one["id"], one["facts"]["hosts"]) for one in found["problems"]] == [
        ("sudo_password_missing", ["rep1"]),
        ("secrets_lost", ["rep2"]),
    ]
    for number, problem in enumerate(found["problems"], start=1):
        lines = [f"{number}. {problem['what']}", problem["place"], problem["remedy"], problem["id"]]
        assert all(line in found["text"] for line in lines)
    # What is wrong with the host itself comes first.
    both = reach.unasked([{**a_host(SUDO), "problem": lost}])
    assert both["problems"][0]["id"] == "sudo_password_missing"
    assert reach.unasked([]) == {"problems": [], "text": "", "causes": {}}


def test_a_host_of_another_connection_has_no_target():
    found = connection.reason({**a_host(REFUSED), "target": {}}).problem
    assert found["facts"]["address"] == "rep1 port 22"


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
