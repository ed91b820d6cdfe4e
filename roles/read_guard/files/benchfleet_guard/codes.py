"""Errors of a database, by their meaning for a read_only call."""

from __future__ import annotations

import frappe

# Errors for an account that may not write, or not in this way; 1290: the server is read_only.
REFUSALS = {1044, 1142, 1143, 1227, 1290, 1370}
# The connection is lost: the statement did not finish.
LOSSES = {0, 1053, 2003, 2006, 2013, 2055}
# A KILL, or a shutdown of the server: only a check of the server shows which.
INTERRUPTED = 1317
KILLED = {INTERRUPTED, 1927}
OVER_TIME = 1969
NOT_OF_A_SERVER = -1


class ReportsUnavailable(frappe.ValidationError):  # type: ignore[misc]
    """The call cannot be answered; the message says why, and what to do."""


def error_code(error: BaseException | None) -> int:
    """A database error's number, NOT_OF_A_SERVER for anything else."""
    if type(error).__module__.split(".")[0] not in ("pymysql", "MySQLdb"):
        return NOT_OF_A_SERVER
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else NOT_OF_A_SERVER


def is_meant(error: Exception) -> bool:
    """Whether an error is for the user, comes from the database server, or is a job's time-out."""
    return (
        isinstance(error, frappe.ValidationError)
        or {error_code(error), error_code(error.__cause__)} != {NOT_OF_A_SERVER}
        or type(error).__module__.startswith("rq.")
    )
