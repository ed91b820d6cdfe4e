"""Replica keys by Frappe version."""

from __future__ import annotations

from typing import Any

import pytest
from fleet.sites.credentials import replica_keys
from fleet.sites.folders import SiteError

ARGUMENTS: tuple[Any, ...] = ("_db", "_db_ro", "pw", "10.0.0.2", 3306)
BASE = {"read_from_replica": 1, "replica_host": "10.0.0.2", "replica_db_port": 3306}


def test_16_names_the_user() -> None:
    assert replica_keys(16, *ARGUMENTS) == BASE | {
        "different_credentials_for_replica": 1,
        "replica_db_user": "_db_ro",
        "replica_db_password": "pw",
    }


def test_15_names_the_user_by_the_key_called_name() -> None:
    assert replica_keys(15, *ARGUMENTS) == BASE | {
        "different_credentials_for_replica": 1,
        "replica_db_name": "_db_ro",
        "replica_db_password": "pw",
    }


@pytest.mark.parametrize("major", [13, 14])
def test_before_15_the_sites_own_account_is_used(major: int) -> None:
    assert replica_keys(major, *ARGUMENTS) == BASE


def test_older_frappe_is_refused() -> None:
    with pytest.raises(SiteError, match="12"):
        replica_keys(12, *ARGUMENTS)
