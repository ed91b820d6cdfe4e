"""The shared cache: redis_cache, keys prefixed with the site's database name, values as JSON."""

from __future__ import annotations

import json
import time
from typing import Any

import redis

import frappe


def setup_cache() -> RedisWrapper:
    """Return a cache on the bench's redis_cache."""
    return RedisWrapper.from_url(frappe.get_conf().redis_cache, socket_connect_timeout=5)


class RedisWrapper(redis.Redis):
    """Cache of the current site. A cache that is away is empty, not an error."""

    @staticmethod
    def make_key(key: str, shared: bool = False) -> str:
        """Return a key as it stands in redis."""
        return key if shared else f"{frappe.get_conf().db_name}|{key}"

    def _run(self, command: str, *args: Any) -> Any:
        try:
            return getattr(super(), command)(*args)
        except redis.exceptions.ConnectionError:
            return None

    def get_value(self, key: str, shared: bool = False) -> Any:
        """Return a value or None."""
        found = self._run("get", self.make_key(key, shared))
        return None if found is None else json.loads(found)

    def set_value(self, key: str, value: Any, shared: bool = False) -> None:
        """Keep a value."""
        self._run("set", self.make_key(key, shared), frappe.as_json(value, None))

    def delete_value(self, *keys: str, shared: bool = False) -> None:
        """Forget values."""
        self._run("delete", *(self.make_key(key, shared) for key in keys))

    def hget(self, name: str, key: str) -> Any:
        """Return a value of a hash or None."""
        found = self._run("hget", self.make_key(name), key)
        return None if found is None else json.loads(found)

    def hset(self, name: str, key: str, value: Any) -> None:
        """Keep a value in a hash."""
        self._run("hset", self.make_key(name), key, frappe.as_json(value, None))

    def hdel(self, name: str, key: str) -> None:
        """Forget a value of a hash."""
        self._run("hdel", self.make_key(name), key)


class ClientCache:
    """A cache in the process before the shared one, as Frappe has it since 16.

    Without Redis' tracking: what another process changes is seen a second later.
    """

    def __init__(self, shared: RedisWrapper) -> None:
        self.shared = shared
        self.known: dict[str, tuple[float, Any]] = {}

    def get_value(self, key: str, *, shared: bool = False) -> Any:
        """Return a value or None."""
        place = self.shared.make_key(key, shared)
        since, value = self.known.get(place, (0.0, None))
        if time.monotonic() - since > 1:
            value = self.shared.get_value(key, shared)
            if value is not None:
                self.known[place] = (time.monotonic(), value)
        return value

    def set_value(self, key: str, value: Any, *, shared: bool = False) -> None:
        """Keep a value, here and for all."""
        self.known[self.shared.make_key(key, shared)] = (time.monotonic(), value)
        self.shared.set_value(key, value, shared)
