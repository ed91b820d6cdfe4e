"""Pure parts of the modules that write files and install packages."""

from __future__ import annotations

from library import bench_sites, json_config, packages


def test_merging_keeps_other_keys_and_removes_the_named() -> None:
    assert json_config.merged({"a": 1, "b": 2}, {"b": 3, "c": 4}, ["a"]) == {"b": 3, "c": 4}


def test_a_diff_shows_no_secret() -> None:
    text = json_config.shown(
        {"db_password": "hush1", "redis": "redis://:hush2@h", "own": "hush3", "n": 1}, {"own": ""}
    )
    assert "hush" not in text
    assert '"n": 1' in text


def test_a_half_installed_package_counts_as_missing() -> None:
    output = "git install ok installed\nnginx install ok half-configured\ncron deinstall ok config-files\n"
    assert packages.installed(output) == {"git"}


def test_a_site_has_one_database_name_for_ever() -> None:
    name = bench_sites.database_name("erp.example.com")
    assert name == bench_sites.database_name("erp.example.com")
    assert name.startswith("_") and len(name) == 17
    assert name != bench_sites.database_name("crm.example.com")
