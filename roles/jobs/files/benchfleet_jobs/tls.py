"""Connect a reporting node's bench to MariaDB over TLS, which the sites' accounts require.

Frappe has keys for it (db_ssl_ca …), but with them 14, 15 and early 16 also need a client's
certificate, which MariaDB does not need.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Collection
from types import ModuleType
from typing import Any

from benchfleet_jobs.contract import MARIADB
from benchfleet_jobs.hooks import when_imported


def install(ca: str, servers: Collection[str]) -> None:
    """Check these servers' certificates against the fleet's CA, whatever driver this Frappe has.

    An app may connect to other servers; those are left alone.
    """
    for name in MARIADB:
        when_imported(name, functools.partial(_encrypt, ca, servers), "tls")


@functools.lru_cache(maxsize=1)
def _context(ca: str, version: int) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    return context


def _encrypt(ca: str, servers: Collection[str], module: ModuleType) -> None:
    cls = module.MariaDBDatabase
    stock = cls.get_connection_settings

    @functools.wraps(stock)
    def get_connection_settings(self: Any) -> dict[str, Any]:
        given: dict[str, Any] = stock(self)
        if not given.get("ssl") and given.get("host") in servers:
            by_c = self.OperationalError.__module__.split(".")[0] == "MySQLdb"
            # PyMySQL would read the file at each call.
            given["ssl"] = {"ca": ca} if by_c else _context(ca, os.stat(ca).st_mtime_ns)
        return given

    cls.get_connection_settings = get_connection_settings
