"""How much disk space an update needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from ..bench.account import read_json
from ..foreign import as_owner
from ..kept import Thing, tree_bytes
from ..mariadb.statements import quote_text

# Beside the dumps of an update: how large the databases were, {site: bytes}.
SIZES = "bytes.json"
# A dump may have grown more than its database since the last one, and other programs write, too.
GROWTH, SPARE_BYTES = 1.2, 64 * 2**20


def size_statement(database: str) -> str:
    """The statement for a database's size: on disk or by its statistics, whichever is larger.

    The statistics lag behind large rows.
    """
    name = quote_text(database)
    return (
        "SELECT GREATEST((SELECT COALESCE(SUM(data_length), 0) FROM information_schema.TABLES"
        f" WHERE TABLE_SCHEMA = {name}), (SELECT COALESCE(SUM(ALLOCATED_SIZE), 0) FROM"
        " information_schema.INNODB_SYS_TABLESPACES"
        f" WHERE SUBSTRING_INDEX(NAME, '/', 1) = {name}))"
    )


def dump_bytes(dumps: Iterable[Thing], site: str, now: int) -> int:
    """Bytes that a dump may take: by the last one and the growth since then, or all of it.

    dumps: the folders of earlier ones. now: bytes of the database.
    """
    for folder in sorted((thing.path for thing in dumps if thing.whole), reverse=True):
        then = read_json(f"{folder}/{SIZES}").get(site)
        with suppress(FileNotFoundError):
            if then:
                last = os.stat(f"{folder}/{site}.sql.gz").st_size
                return int(min(now, last * now / then * GROWTH)) + SPARE_BYTES
    return now + SPARE_BYTES


def code_bytes(bench: str) -> int:
    """Bytes that the new code beside a bench takes."""
    total = 0
    for path in (f"{bench}/env", f"{bench}/apps"):
        # As the account that owns it: the folder may have become a link to any other.
        with as_owner(path):
            total += tree_bytes(path, ".git")
    return total
