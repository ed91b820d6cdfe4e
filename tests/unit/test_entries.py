"""A node's entry is put into hosts.yml and taken out, and nothing else changes."""

from __future__ import annotations

import pytest
import yaml

from benchfleet import entries
from benchfleet.runner import ROOT

EXAMPLE = (ROOT / "inventory/example/hosts.yml").read_text()
ADDED = """    rep2:
      ansible_host: 10.0.0.22
      lan_ip: 10.0.0.22
"""


def added(text, name="rep2", address="10.0.0.22"):
    return entries.with_entry(text, name, address)


def test_the_example_gets_an_entry_and_loses_it():
    after = added(EXAMPLE)
    assert after == EXAMPLE.replace(
        "      lan_ip: 10.0.0.21\n", f"      lan_ip: 10.0.0.21\n{ADDED}"
    )
    assert entries.without_entry(after, "rep2") == EXAMPLE


@pytest.mark.parametrize(
    "text",
    [
        "primary:\n  hosts:\n    erp1:\n",
        "primary:\n  hosts:\n    erp1:\nreporting:\n",
        "primary:\n  hosts:\n    erp1:\nreporting: {}  # none yet\n",
        "primary:\n  hosts:\n    erp1:\nreporting:\n  hosts:\n",
        "primary:\n  hosts:\n    erp1:\nreporting:\n  hosts: {}  # none yet\n  vars:\n    a: 1\n",
        "reporting:\n  vars:\n    a: 1\nprimary:\n  hosts:\n    erp1:\n",
        "reporting:\n  hosts:\n    rep1:\n# the other\nprimary:\n  hosts:\n    erp1:\n",
        "reporting:\n  hosts:\n    rep1: {a: 1, b: [2,\n      3]}\n\n\nprimary:\n  vars: {}\n",
        "reporting:\n    hosts:\n        rep1:\n          a: |\n            x\n\n            y\n",
        'reporting:\n  hosts:\n    "rep1":\n      a: !vault |\n        $ANSIBLE\n        61\n',
        "reporting:\n  hosts:\n    rep1:\n      a: 1\n      # b: 2\n    # rep9:\n  vars: {}\n",
        "all:\n  children:\n    primary:\n    reporting:\n      hosts:\n        rep1:\n",
        "all:\n  children:\n    primary:\n      hosts:\n        erp1:\n",
        "---\nreporting:\r\n  hosts:\r\n    rep1:\r\n      ansible_host: a\r\n",
        "reporting:\n  hosts:\n    rep1:\n      ansible_host: a",
        "reporting:\n  hosts:\n    rep1: &one\n      a: 1\n    rep3: *one\n",
    ],
)
def test_comments_and_values_stay(text):
    after = added(text)
    before, found = entries.content(text), entries.content(after)
    for content in (before, found):
        content.setdefault("all", {"children": content})
    groups = found.get("all", {}).get("children", found)
    assert groups["reporting"]["hosts"].pop("rep2") == {"ansible_host": "10.0.0.22"}
    lines = [line.replace("{}", "").replace(" ", "") for line in text.splitlines()]
    kept = [line.replace("{}", "").replace(" ", "") for line in after.splitlines()]
    assert [line for line in lines if line not in kept] == []
    assert ("\r\n" in after) == ("\r\n" in text)
    back = entries.content(entries.without_entry(after, "rep2"))
    assert (back.get("all", {}).get("children") or back)["reporting"]["hosts"] == (
        groups["reporting"]["hosts"] or None
    )


@pytest.mark.parametrize("name", ["yes", "1", "1e3", "null", "0x1f", "2026-01-01"])
def test_a_name_that_yaml_would_not_read_as_text_is_quoted(name):
    found = yaml.safe_load(added("reporting:\n  hosts:\n    rep1:\n", name))
    assert set(found["reporting"]["hosts"]) == {"rep1", name}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "[primary]\nerp1\n",
        "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        "a: [\n",
        "a: 1\n---\nb: 1\n",
        "reporting: {hosts: {rep1: {}}}\n",
        "reporting:\n  hosts: {rep1: {}}\n",
        "reporting:\n  hosts:\n    rep2:\n",
        "primary: &p\n  hosts: &h\n    erp1:\nreporting:\n  hosts: *h\n",
    ],
)
def test_what_cannot_be_changed_safely_is_refused(text):
    with pytest.raises(entries.RefusedError):
        added(text)


@pytest.mark.parametrize(
    "text",
    [
        "reporting:\n  hosts:\n    rep1:\n",
        "reporting:\n  hosts: {rep2: {}}\n",
        "reporting:\n  hosts:\n    rep2: &one\n      a: 1\n    rep3: *one\n",
        "other:\n  hosts:\n    rep2:\n",
    ],
)
def test_an_entry_that_cannot_be_taken_out_is_refused(text):
    with pytest.raises(entries.RefusedError):
        entries.without_entry(text, "rep2")


def test_the_last_entry_leaves_a_group_without_hosts():
    text = "reporting:\n  hosts:\n    rep2:\n      a: 1\n      # b: 2\n  vars:\n    c: 3\n"
    assert entries.without_entry(text, "rep2") == "reporting:\n  hosts:\n  vars:\n    c: 3\n"


def test_two_hosts_change_places_with_values_and_comments():
    after = entries.exchanged(EXAMPLE, "rep1")
    found, before = yaml.safe_load(after), yaml.safe_load(EXAMPLE)
    assert found["primary"]["hosts"] == {"rep1": before["reporting"]["hosts"]["rep1"]}
    assert found["reporting"]["hosts"] == {"erp1": before["primary"]["hosts"]["erp1"]}
    for group in ("primary", "reporting"):
        assert found[group]["vars"] == before[group]["vars"]
    assert sorted(after.splitlines()) == sorted(EXAMPLE.splitlines())
    assert entries.exchanged(after, "erp1") == EXAMPLE


@pytest.mark.parametrize(
    "text",
    [
        "primary:\n  hosts:\n    erp1:\nreporting:\n  hosts:\n    rep1:\n      a: 1\n    rep2:\n",
        "reporting:\n  hosts:\n    rep1: {a: [1,\n      2]}\n# x\n"
        "primary:\n    hosts:\n        erp1:\n"
        "          b: |\n            x\n\n            y\n          # c\n  \n",
        "all:\n  children:\n    primary:\n      hosts:\n        erp1: {b: 2}\n"
        "    reporting:\n      hosts:\n        rep1:\n          a: 1\n",
        "primary:\r\n  hosts:\r\n    erp1:\r\nreporting:\r\n  hosts:\r\n    rep1:\r\n      a: 1",
    ],
)
def test_hosts_change_places_in_any_layout(text):
    before, found = entries.content(text), entries.content(entries.exchanged(text, "rep1"))
    old, new = (c.get("all", {}).get("children") or c for c in (before, found))
    assert new["primary"]["hosts"] == {"rep1": old["reporting"]["hosts"]["rep1"]}
    assert new["reporting"]["hosts"]["erp1"] == old["primary"]["hosts"]["erp1"]
    assert set(new["reporting"]["hosts"]) == {*old["reporting"]["hosts"], "erp1"} - {"rep1"}


@pytest.mark.parametrize(
    "text",
    [
        "primary:\n  hosts:\n    erp1:\nreporting:\n  hosts:\n    rep2:\n",
        "primary:\n  hosts: {erp1: {}}\nreporting:\n  hosts:\n    rep1:\n",
        "primary:\n  hosts:\n    erp1:\n    erp2:\nreporting:\n  hosts:\n    rep1:\n",
        "primary:\n  hosts:\n    erp1:\nreporting:\n  children:\n    far:\n",
        "primary:\n  hosts:\n    erp1: &one\n      a: 1\nreporting:\n  hosts:\n    rep1: *one\n"
        "    rep2: *one\n",
    ],
)
def test_hosts_that_cannot_change_places_are_refused(text):
    with pytest.raises(entries.RefusedError):
        entries.exchanged(text, "rep1")


def test_the_file_of_an_inventory(tmp_path):
    with pytest.raises(entries.RefusedError):
        entries.hosts_file(tmp_path)
    (tmp_path / "hosts.yml").write_text("")
    assert entries.hosts_file(tmp_path) == entries.hosts_file(tmp_path / "hosts.yml")
