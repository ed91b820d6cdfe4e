"""The fleet's secrets: made once, extended, never changed otherwise."""

from __future__ import annotations

import datetime
import ipaddress
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from fleet.secrets import certificates, contents
from fleet.secrets import file as secrets_file

from filter_plugins.secrets import accepted_keys

ROOT = Path(__file__).parents[2]
HOSTS = {"erp1": "10.0.0.11", "rep1": "10.0.0.21"}
SITES = ["erp.example.com"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the secrets file is to be."""
    return tmp_path / "inventory/secrets/fleet.yml"


def ensure(path: Path, hosts=HOSTS, sites=SITES, **changes: Any) -> tuple[dict, list[str]]:
    """Call the module's function for a usual fleet."""
    how = {"decrypted": None, "check_mode": False}
    how |= {name: changes.pop(name) for name in how if name in changes}
    return secrets_file.ensure(path, contents.Wish(hosts, sites, **changes), **how)


def test_structure(path):
    content, _added = ensure(path)
    assert set(content) == {
        "fleet_id",
        "redis_admin_password",
        "mariadb_replication_password",
        "mariadb_probe_password",
        "ca",
        "sites",
        "hosts",
    }
    assert set(content["sites"]["erp.example.com"]) == {"admin_password"}
    assert set(content["hosts"]) == {"erp1", "rep1"}
    assert set(content["hosts"]["rep1"]) == {"certificate", "key", "redis_password", "ssh"}
    assert set(content["hosts"]["rep1"]["ssh"]) == {"seed", "sync", "code"}
    assert set(content["ca"]) == {"certificate", "key"}
    int(content["fleet_id"], 16)
    assert yaml.safe_load(path.read_text()) == content


def test_the_entry_of_a_host_that_left_is_removed_and_nothing_else(path):
    before, _added = ensure(path)
    would, gone = ensure(path, hosts={}, forget=["rep1"], check_mode=True)
    assert set(would["hosts"]) == {"erp1"}
    assert yaml.safe_load(path.read_text()) == before
    content, again = ensure(path, hosts={}, forget=["rep1"])
    assert gone == again == ["hosts/rep1: removed"]
    assert content == {**before, "hosts": {"erp1": before["hosts"]["erp1"]}}
    assert yaml.safe_load(path.read_text()) == content
    assert ensure(path, hosts={}, forget=["rep1"]) == (content, [])


def test_modes(path):
    ensure(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["fleet.yml"]


def test_passwords_are_all_different(path):
    content, _added = ensure(path, sites=["a.com", "b.com"])
    values = [content[n] for n in content if n.endswith("password")]
    values += [v for site in content["sites"].values() for v in site.values()]
    values += [host["redis_password"] for host in content["hosts"].values()]
    assert len(values) == len(set(values)) == 7
    assert all(len(v) >= 32 for v in values)


def test_second_run_changes_nothing(path):
    first, added = ensure(path)
    assert added
    before = (path.read_bytes(), path.stat().st_ino)
    second, added = ensure(path)
    assert added == []
    assert second == first
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_new_host_and_site_are_added_and_the_rest_stays(path):
    first, _added = ensure(path)
    second, added = ensure(path, hosts={**HOSTS, "rep2": "10.0.0.22"}, sites=[*SITES, "b.com"])
    assert added == [
        "sites/b.com/admin_password: new",
        "hosts/rep2/certificate: new",
        "hosts/rep2/redis_password: new",
        "hosts/rep2/ssh/seed: new",
        "hosts/rep2/ssh/sync: new",
        "hosts/rep2/ssh/code: new",
    ]
    del second["hosts"]["rep2"], second["sites"]["b.com"]
    assert second == first


def test_what_is_no_longer_asked_for_stays(path):
    first, _added = ensure(path)
    assert ensure(path, hosts={"erp1": "10.0.0.11"}, sites=[]) == (first, [])


def test_own_entries_in_the_file_stay(path):
    ensure(path)
    content = yaml.safe_load(path.read_text())
    content["note"] = "kept"
    content["redis_admin_password"] = "chosen by hand"
    path.write_text(yaml.safe_dump(content))
    second, _added = ensure(path, sites=[*SITES, "b.com"])
    assert second["note"] == "kept"
    assert second["redis_admin_password"] == "chosen by hand"


def verify(
    content: dict,
    host: str,
    tmp_path: Path,
    trusted: str | None = None,
    moment: datetime.datetime | None = None,
) -> subprocess.CompletedProcess:
    """Let openssl judge a host's certificate, by the CA in force or those that are trusted."""
    (tmp_path / "ca.crt").write_text(trusted or content["ca"]["certificate"])
    (tmp_path / "host.crt").write_text(content["hosts"][host]["certificate"])
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-verify_ip", HOSTS[host], "-verify_hostname", host]
    command += ["-attime", str(int((moment or certificates.now()).timestamp()))]
    command += ["-CAfile", str(tmp_path / "ca.crt"), str(tmp_path / "host.crt")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_certificates_hold_for_openssl(path, tmp_path):
    content, _added = ensure(path)
    for host in HOSTS:
        answer = verify(content, host, tmp_path)
        assert answer.returncode == 0, answer.stderr
    other, _added = ensure(tmp_path / "other/fleet.yml")
    content["ca"] = other["ca"]
    assert verify(content, "erp1", tmp_path).returncode != 0


def test_certificate_names_and_times(path):
    content, _added = ensure(path)
    certificate = x509.load_pem_x509_certificate(content["hosts"]["rep1"]["certificate"].encode())
    authority = x509.load_pem_x509_certificate(content["ca"]["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["rep1"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.0.0.21")]
    assert certificate.subject.rfc4514_string() == "CN=rep1"
    assert certificate.not_valid_after_utc <= authority.not_valid_after_utc
    assert certificate.not_valid_before_utc < certificates.now()
    assert authority.not_valid_after_utc - certificates.now() > datetime.timedelta(days=3600)


def test_certificate_is_issued_again_for_a_new_address_only(path):
    first, _added = ensure(path)
    second, added = ensure(path, hosts={**HOSTS, "rep1": "10.0.0.99"})
    assert added == ["hosts/rep1/certificate: address_changed"]
    assert second["hosts"]["erp1"] == first["hosts"]["erp1"]
    assert second["hosts"]["rep1"]["ssh"] == first["hosts"]["rep1"]["ssh"]
    assert second["hosts"]["rep1"]["certificate"] != first["hosts"]["rep1"]["certificate"]


def at(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Let so many days pass, and no time after them."""
    later = certificates.now() + datetime.timedelta(days=days)
    monkeypatch.setattr(certificates, "now", lambda: later)


def test_certificate_is_renewed_once_when_less_than_a_third_of_it_is_left(path, monkeypatch):
    first, _added = ensure(path)
    at(monkeypatch, 730 * 2 / 3 - 2)
    assert ensure(path)[1] == []
    at(monkeypatch, 2)
    # Also that of a host that is not in this run.
    content, added = ensure(path, hosts={"erp1": "10.0.0.11"})
    assert added == [
        "hosts/erp1/certificate: 242_days_left",
        "hosts/rep1/certificate: 242_days_left",
    ]
    assert content["ca"] == first["ca"]
    assert ensure(path)[1] == []


def days_left(content: dict[str, Any], host: str) -> int:
    """Days that are left of a host's certificate."""
    return (
        certificates.expiry(certificates.load(content["hosts"][host]["certificate"]))
        - certificates.now()
    ).days


def test_next_ca_signs_once_all_hosts_trust_it_and_the_former_one_goes(path, tmp_path, monkeypatch):
    at(monkeypatch, 0)
    first, _added = ensure(path)
    fleet = [*HOSTS, "never-reached"]
    key = contents.site_key(first)
    at(monkeypatch, 3650 - 730 + 1)
    content, added = ensure(path)
    assert added[0] == "next_ca: 728_days_left"
    assert ensure(path)[1] == []
    # Nothing is signed by it yet, and both are trusted.
    assert content["ca"] == first["ca"]
    both = certificates.trusted(content)
    assert both == first["ca"]["certificate"] + content["next_ca"]["certificate"]
    # A host is down, or left out by --limit: it would be cut off.
    assert ensure(path, fleet=fleet, trusting=["erp1"])[1] == []
    would, _added = ensure(path, fleet=fleet, trusting=list(HOSTS), check_mode=True)
    assert would["ca"] == content["next_ca"]
    followed, added = ensure(path, fleet=fleet, trusting=list(HOSTS))
    assert added == [
        "ca: replaced_by_next",
        "hosts/erp1/certificate: ca_replaced",
        "hosts/rep1/certificate: ca_replaced",
    ]
    assert days_left(followed, "rep1") == 729
    assert verify(followed, "rep1", tmp_path, both, certificates.now()).returncode == 0
    # Who has read only the former one's certificates still trusts what the others show.
    assert verify(content, "rep1", tmp_path, both, certificates.now()).returncode == 0
    assert first["ca"]["key"] not in path.read_text()
    assert contents.site_key(followed) == key
    assert ensure(path, fleet=fleet, showing=["rep1"])[1] == []
    last, added = ensure(path, fleet=fleet, showing=list(HOSTS))
    assert added == ["former_cas: removed"]
    assert certificates.trusted(last) == last["ca"]["certificate"]
    assert verify(last, "rep1", tmp_path, None, certificates.now()).returncode == 0
    assert ensure(path, fleet=fleet, trusting=list(HOSTS), showing=list(HOSTS)) == (last, [])


def test_fleet_whose_ca_ends_with_its_certificates_says_changed_once(path, monkeypatch):
    monkeypatch.setattr(certificates, "longest", certificates.expiry)
    ensure(path)
    monkeypatch.undo()
    at(monkeypatch, 3650 - 300)
    assert len(ensure(path)[1]) == 1
    # Its hosts cannot all be reached for a year: nothing can be renewed, and nothing is.
    for _ in range(30):
        at(monkeypatch, 10)
        assert ensure(path)[1] == []


def test_rotation_offers_takes_and_ends_and_goes_on_where_it_was_interrupted(path):
    sites = [*SITES, "old.com"]
    ensure(path, sites=sites)
    first = yaml.safe_load(path.read_text())
    first["sites"]["old.com"]["read_only_password"] = "by hand"
    first["hosts"]["rep1"]["redis_password"] = "of the node"
    path.write_text(secrets_file.to_yaml(first))
    key = contents.site_key(first)
    offered, added = ensure(path, rotation="begin")
    assert added == ["rotation: offered", "next_ca: rotation"]
    assert ensure(path, rotation="begin") == (offered, [])
    assert ensure(path, rotation="end") == (offered, [])
    besides = offered["rotation"]["besides"]
    assert {k: v for k, v in offered.items() if k not in ("rotation", "next_ca")} == first
    taken, added = ensure(path, rotation="take")
    assert added == ["rotation: taken"]
    assert ensure(path, rotation="take") == ensure(path, rotation="begin") == (taken, [])
    former = taken["rotation"]["besides"]
    for name in ("mariadb_replication_password", "mariadb_probe_password"):
        assert (taken[name], former[name]) == (besides[name], first[name])
    assert (taken["site_key"], former["site_key"]) == (besides["site_key"], key)
    assert former["sites"] == {"old.com": {"read_only_password": "by hand"}}
    assert former["hosts"]["rep1"]["redis_password"] == "of the node"
    for purpose in ("seed", "sync", "code"):
        new, old = (content["hosts"]["rep1"]["ssh"][purpose] for content in (taken, first))
        assert former["hosts"]["rep1"]["ssh"][purpose] == old
        assert new["private"] != old["private"]
        assert new["public"].split()[2] == old["public"].split()[2]
    # What is not rotated: users and the encryption of what is in the database hang on it.
    assert (
        taken["sites"]["old.com"]["admin_password"] == first["sites"]["old.com"]["admin_password"]
    )
    left, _gone = ensure(path, hosts={}, forget=["rep1"], check_mode=True)
    assert "rep1" not in {**left["hosts"], **left["rotation"]["besides"]["hosts"]}
    last, added = ensure(path, rotation="end")
    assert added == ["rotation: ended"]
    text = path.read_text()
    for old in (key, "by hand", "of the node", first["mariadb_replication_password"]):
        assert old not in text
    assert "rotation" not in last
    assert ensure(path, sites=sites) == (last, [])


def test_ssh_keys_are_openssh_keys(path, tmp_path):
    content, _added = ensure(path)
    pair = content["hosts"]["rep1"]["ssh"]["seed"]
    kind, _key, comment = pair["public"].split(" ")
    assert (kind, comment) == ("ssh-ed25519", "benchfleet-seed@rep1")
    file = tmp_path / "key"
    file.write_text(pair["private"])
    file.chmod(0o600)
    answer = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split()[:2] == pair["public"].split()[:2]


def test_check_mode_writes_nothing_and_makes_all(path):
    content, added = ensure(path, check_mode=True)
    assert added
    assert content["hosts"]["rep1"]["ssh"]["sync"]["private"].endswith("KEY-----\n")
    assert not path.parent.exists()
    first, _added = ensure(path)
    assert ensure(path, check_mode=True) == (first, [])


VAULT = "$ANSIBLE_VAULT;1.1;AES256\n61\n"


@pytest.mark.parametrize(
    ("text", "mode", "error", "named"),
    [
        ("fleet_id: f1\n", 0o644, secrets_file.OpenToOthersError, "0644.* 0600 /"),
        ("fleet_id: f1\n", 0o660, secrets_file.OpenToOthersError, "0660.* 0600 /"),
        ("fleet_id: 'hunter2\nx: {", 0o600, secrets_file.ContentError, "line 2"),
        ("", 0o600, secrets_file.ContentError, "`fleet_id`"),
        ("just text\n", 0o600, secrets_file.ContentError, "`fleet_id`"),
        (VAULT, 0o600, secrets_file.EncryptedError, "`--vault-password-file"),
        (VAULT, 0o644, secrets_file.EncryptedError, "`--vault-password-file"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_unusable_file_is_refused_and_left_alone(path, text, mode, error, named, check_mode):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(error, match=named) as caught:
        ensure(path, check_mode=check_mode)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert path.read_text() == text


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - fleet_secrets:
        path: "{path}"
        hosts: {{erp1: 10.0.0.11}}
        sites: {sites}
      vars:
        ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
        ansible_pipelining: true
      no_log: true
      register: made
    - debug:
        msg: "{{{{ made.added }}}} {{{{ made.secrets.site_key | hash('md5') }}}}"
"""


def test_encrypted_file_is_extended_and_stays_encrypted(path, tmp_path):
    content, _added = ensure(path, hosts={"erp1": "10.0.0.11"})
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"{name}\n")

    def play(sites: list[str], *words: str, password: str = "right") -> str:
        (tmp_path / "play.yml").write_text(PLAY.format(path=path, sites=json.dumps(sites)))
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,"]
        command += [tmp_path / "play.yml", "--vault-password-file", tmp_path / password, *words]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT
        )
        return done.stdout + done.stderr

    vault = VaultLib([("default", VaultSecret(b"right"))])
    path.write_bytes(vault.encrypt(path.read_bytes()))
    before = path.read_bytes()
    assert "changed=1" in play([*SITES, "b.com"], "--check")
    assert "changed=0" in play([*SITES, "b.com"], password="wrong")
    assert path.read_bytes() == before
    output = play([*SITES, "b.com"])
    assert "sites/b.com/admin_password" in output
    assert path.read_bytes().startswith(b"$ANSIBLE_VAULT;")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = yaml.safe_load(vault.decrypt(path.read_bytes()))
    assert kept["ca"] == content["ca"]
    assert set(kept["sites"]) == {*SITES, "b.com"}
    assert kept["sites"]["b.com"]["admin_password"] not in output
    assert "changed=0" in play([*SITES, "b.com"])


def test_failed_write_leaves_the_old_file(path, monkeypatch):
    ensure(path)
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(secrets_file.os, "fsync", full)
    with pytest.raises(secrets_file.SecretsError, match="No space left on device"):
        ensure(path, sites=[*SITES, "b.com"])
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["fleet.yml"]


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(secrets_file.FolderError, match=str(tmp_path / "file/secrets")):
        ensure(tmp_path / "file/secrets/fleet.yml")


def run_at_once(path: Path, site: str) -> None:
    """One of several runs over the same file."""
    ensure(path, sites=[site])


def test_runs_at_once_lose_nothing(path):
    sites = [f"s{number}.com" for number in range(6)]
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=run_at_once, args=(path, site)) for site in sites]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0] * len(runs)
    content, added = ensure(path, sites=sites)
    assert added == []
    assert set(content["sites"]) == set(sites)


def test_the_site_key_is_derived_and_stays(path):
    content, _added = ensure(path)
    key = contents.site_key(content)
    assert len(key) == 64
    assert key == contents.site_key(yaml.safe_load(path.read_text()))
    assert key not in path.read_text()
    # As a file that was encrypted gives it back.
    again, _added = ensure(path, decrypted=yaml.safe_load(path.read_text()))
    assert contents.site_key(again) == key
    other = {"ca": {"key": "another"}}
    assert contents.site_key(other) != key


def test_servers_accept_the_keys_in_force_and_in_a_rotation_the_others(path):
    ensure(path)
    offered, _added = ensure(path, rotation="begin")
    besides = offered["rotation"]["besides"]
    own = offered["hosts"]["rep1"]["ssh"]
    assert accepted_keys("rep1", offered, {}) == [own]
    assert accepted_keys("rep1", offered, besides) == [own, besides["hosts"]["rep1"]["ssh"]]
    # A node that joined meanwhile.
    later, _added = ensure(path, hosts={"rep2": "10.0.0.22"})
    assert accepted_keys("rep2", later, besides) == [later["hosts"]["rep2"]["ssh"]]
