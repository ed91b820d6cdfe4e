"""The fleet's secrets: made once, extended, never changed otherwise."""

from __future__ import annotations

import datetime
import ipaddress
import multiprocessing
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from library import fleet_secrets

HOSTS = {"erp1": "10.0.0.11", "rep1": "10.0.0.21"}
SITES = ["erp.example.com"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the secrets file is to be."""
    return tmp_path / "inventory/secrets/fleet.yml"


def ensure(path: Path, hosts=HOSTS, sites=SITES, **changes: Any) -> tuple[dict, list[str]]:
    """Call the module's function for a usual fleet."""
    arguments = {"decrypted": None, "check_mode": False, **changes}
    return fleet_secrets.ensure(path, hosts, sites, **arguments)


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
    assert gone == again == ["entry of rep1, removed"]
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
        "administrator's password of b.com",
        "certificate of rep2 (it is new)",
        "Redis password of rep2",
        "ssh key seed of rep2",
        "ssh key sync of rep2",
        "ssh key code of rep2",
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


def verify(content: dict, host: str, tmp_path: Path) -> subprocess.CompletedProcess:
    """Let openssl judge a host's certificate."""
    (tmp_path / "ca.crt").write_text(content["ca"]["certificate"])
    (tmp_path / "host.crt").write_text(content["hosts"][host]["certificate"])
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-verify_ip", HOSTS[host], "-verify_hostname", host]
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
    assert certificate.not_valid_before_utc < fleet_secrets.now()
    assert authority.not_valid_after_utc - fleet_secrets.now() > datetime.timedelta(days=3600)


def test_certificate_is_issued_again_for_a_new_address_only(path):
    first, _added = ensure(path)
    second, added = ensure(path, hosts={**HOSTS, "rep1": "10.0.0.99"})
    assert added == ["certificate of rep1 (its LAN address changed)"]
    assert second["hosts"]["erp1"] == first["hosts"]["erp1"]
    assert second["hosts"]["rep1"]["ssh"] == first["hosts"]["rep1"]["ssh"]
    assert second["hosts"]["rep1"]["certificate"] != first["hosts"]["rep1"]["certificate"]


def test_certificate_is_issued_again_in_its_last_year(path, monkeypatch):
    ensure(path)
    later = fleet_secrets.now() + datetime.timedelta(days=3650 - 366 - 2)
    monkeypatch.setattr(fleet_secrets, "now", lambda: later)
    assert ensure(path)[1] == []
    later += datetime.timedelta(days=3)
    assert ensure(path)[1] == [
        "certificate of erp1 (less than a year of it is left)",
        "certificate of rep1 (less than a year of it is left)",
    ]


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


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("fleet_id: f1\n", 0o644, "chmod 0600"),
        ("fleet_id: f1\n", 0o660, "mode 0660"),
        ("fleet_id: 'hunter2\nx: {", 0o600, "never overwritten"),
        ("", 0o600, "holds no fleet_id"),
        ("just text\n", 0o600, "holds no fleet_id"),
        ("$ANSIBLE_VAULT;1.1;AES256\n61\n", 0o600, "--vault-password-file"),
        ("$ANSIBLE_VAULT;1.1;AES256\n61\n", 0o644, "--vault-password-file"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_unusable_file_is_refused_and_left_alone(path, text, mode, words, check_mode):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(fleet_secrets.SecretsError, match=words) as caught:
        ensure(path, check_mode=check_mode)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert path.read_text() == text


def test_encrypted_file_is_used_but_not_extended(path):
    content, _added = ensure(path)
    path.write_text("$ANSIBLE_VAULT;1.1;AES256\n61\n")
    assert ensure(path, decrypted=content) == (content, [])
    with pytest.raises(fleet_secrets.SecretsError, match="ansible-vault decrypt") as caught:
        ensure(path, sites=[*SITES, "b.com"], decrypted=content)
    assert "administrator's password of b.com" in str(caught.value)
    assert content["redis_admin_password"] not in str(caught.value)
    assert ensure(path, sites=[*SITES, "b.com"], decrypted=content, check_mode=True)[1]
    assert path.read_text().startswith("$ANSIBLE_VAULT")


def test_failed_write_leaves_the_old_file(path, monkeypatch):
    ensure(path)
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fleet_secrets.os, "fsync", full)
    with pytest.raises(fleet_secrets.SecretsError, match="No space left on device"):
        ensure(path, sites=[*SITES, "b.com"])
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["fleet.yml"]


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(fleet_secrets.SecretsError, match="cannot be made"):
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
    key = fleet_secrets.site_key(content)
    assert len(key) == 64
    assert key == fleet_secrets.site_key(yaml.safe_load(path.read_text()))
    assert key not in path.read_text()
    # As a file that was encrypted, and cannot be extended, gives it back.
    again, _added = ensure(path, decrypted=yaml.safe_load(path.read_text()))
    assert fleet_secrets.site_key(again) == key
    other = {"ca": {"key": "another"}}
    assert fleet_secrets.site_key(other) != key
