"""Wait until the primary is open for writes."""

from __future__ import annotations

from typing import Any

from .. import record
from ..changes import Changes
from .server import MariaDBError, local, root_takes_password


def open_for_writes(seconds: float, check_mode: bool) -> dict[str, Any]:
    """Result of the module mariadb_open, whose option is the first. Raises MariaDBError."""
    changes = Changes()
    with local() as server:
        closed = bool(int(server.value("SELECT @@GLOBAL.read_only")))
        by_password = root_takes_password(server)
    if closed:
        changes.note("read_only", "open for writes")
    if not check_mode:
        found = record.wait(seconds)
        if not found:
            raise MariaDBError(
                f"MariaDB is not opened for writes: {record.UNIT} does not run; see"
                f" `journalctl -u {record.UNIT}`"
            )
        if not found["open"]:
            raise MariaDBError(
                f"MariaDB is not open for writes: {found['why']}. It opens by the record of who is"
                f" primary; `journalctl -u {record.UNIT}` shows what was found, and docs/design.md"
                " the rule"
            )
    return changes.result(read_only=closed, root_takes_password=by_password)
