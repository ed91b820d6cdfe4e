"""Site configuration: the common file overlaid by the site's. Imports nothing but the library."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Key, environment variable that wins over both files, value where neither names one.
_OVERRIDES: tuple[tuple[str, str, Any], ...] = (
    ("redis_queue", "FRAPPE_REDIS_QUEUE", "redis://127.0.0.1:11311"),
    ("redis_cache", "FRAPPE_REDIS_CACHE", "redis://127.0.0.1:13311"),
    ("db_type", "FRAPPE_DB_TYPE", "mariadb"),
    ("db_socket", "FRAPPE_DB_SOCKET", None),
    ("db_host", "FRAPPE_DB_HOST", "127.0.0.1"),
    ("db_port", "FRAPPE_DB_PORT", 3306),
    ("db_password", "FRAPPE_DB_PASSWORD", None),
)


class Config(dict):
    """A dict whose keys are attributes too; a missing attribute is None."""

    def __getattr__(self, key: str) -> Any:
        return self.get(key)

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


def overlay(
    common: Mapping[str, Any], site: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Config:
    """Return the configuration in force for one site.

    Input: the parsed common_site_config.json, the parsed site_config.json (wins) and the
    environment (wins over both for the connection keys). `db_user` and `db_name` stand in for
    each other. Raises ValueError if `db_port` is no number.
    """
    environ = environ or {}
    config = Config({**common, **site})
    for key, variable, default in _OVERRIDES:
        config[key] = environ.get(variable) or config.get(key) or default
    config["db_port"] = int(config["db_port"])
    config["db_user"] = (
        environ.get("FRAPPE_DB_USER") or config.get("db_user") or config.get("db_name")
    )
    config["db_name"] = (
        environ.get("FRAPPE_DB_NAME") or config.get("db_name") or config.get("db_user")
    )
    return config


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Parse one config file; {} where there is none. Raises ValueError on broken JSON."""
    file = Path(path)
    return json.loads(file.read_text()) if file.exists() else {}


def cast(value: Any) -> Any:
    """Turn an argument of a shell into a value of JSON ("1" into 1, "true" into True)."""
    words = {"0": 0, "1": 1, "true": True, "false": False}
    return words.get(value, value) if isinstance(value, str) else value


def update(path: str | os.PathLike[str], key: str, value: Any) -> None:
    """Set one key of a config file; the value "None" removes it.

    The file is rewritten in place, not renamed, as by the real framework: a copy that is made
    meanwhile can be incomplete.
    """
    content = read(path)
    if value == "None":
        content.pop(key, None)
    else:
        content[key] = cast(value)
    Path(path).write_text(json.dumps(content, indent=1, sort_keys=True))
