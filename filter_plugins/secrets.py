"""Passwords and keys of the fleet as roles need them. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def site_passwords(sites: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Site to the password of its reading account, of the sites that the secrets have one for."""
    return {
        site: own["read_only_password"]
        for site, own in sites.items()
        if "read_only_password" in own
    }


def accepted_keys(
    host: str, secrets: Mapping[str, Any], besides: Mapping[str, Any]
) -> list[dict[str, dict[str, str]]]:
    """ssh keys of a host that servers accept: those in force, and in a rotation other ones.

    Each {purpose: {private, public}}; besides: {} or the secrets that are accepted besides.
    """
    return [
        part["hosts"][host]["ssh"] for part in (secrets, besides) if host in part.get("hosts", {})
    ]


class FilterModule:
    """Filters of the roles."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {"accepted_keys": accepted_keys, "site_passwords": site_passwords}
