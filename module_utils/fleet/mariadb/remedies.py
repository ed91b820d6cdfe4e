"""Errors of replication: what to do about each, and which pass by themselves."""

from __future__ import annotations

RESEED = "`-e mariadb_replica_reseed=<host>` takes a new copy and keeps the old folder"

# For the primary. TRUNCATE comes first: on a replica that was restarted since, ALTER would be the
# first statement to open the emptied table, and what the server logs of that takes the GTID of the
# primary's next transaction (1950).
MEMORY_CURE = "TRUNCATE TABLE NAME; ALTER TABLE NAME ENGINE=InnoDB;"

UNREACHED = "the primary does not answer: check that it is up and its firewall lets this host in"
TABLE_REFUSED = (
    "the primary has a table that this server refuses: compare innodb_strict_mode, which is OFF on"
    " a replica"
)
# Error number -> what it means, and what the operator can do.
REMEDIES = {
    1045: "the primary refuses the replication account: run site.yml on the primary, too",
    2026: "TLS between the servers fails: run site.yml on all hosts, it writes the certificates",
    2003: UNREACHED,
    2013: UNREACHED,
    1236: "the primary cannot send what this replica needs next. Only where the message says that"
    f" its binary log or the GTID is not there: {RESEED}",
    1005: TABLE_REFUSED,
    1118: TABLE_REFUSED,
    1146: "a table is missing here, or the primary renamed a temporary table by RENAME TABLE, which"
    f" is written to the binary log (ALTER TABLE ... RENAME TO is not): {RESEED}",
    1418: "the primary has a function that this server refuses: compare"
    " log_bin_trust_function_creators, which is ON in the fleet",
    1950: "this replica has a write of its own, made by a client, or by MariaDB for a table that a"
    f" restart emptied (ENGINE=MEMORY): {RESEED}",
    1032: f"a row to change is missing here, so the data differs from the primary's: {RESEED}",
    1062: f"a row to insert exists here already, so the data differs from the primary's: {RESEED}",
}


FOREIGN = (
    "they are of another server: find out whether the primary was restored or its binary log was"
    " reset, and keep the data of both servers until then"
)


def remedy(number: int, emptied: list[str]) -> str:
    """What the operator can do about a replication error.

    emptied: the tables here that a restart empties, as memory_tables returns them; they are the
    likely cause of the errors 1032 and 1950.
    """
    if emptied and number in (1032, 1950):
        return (
            f"a restart of MariaDB empties tables of ENGINE=MEMORY, here {', '.join(emptied)}, and"
            " the server writes that to its own binary log; in a new copy they are empty, too."
            " First, on the primary, for each of them (its rows are lost, as at each restart):"
            f" `{MEMORY_CURE}` Then {RESEED}"
        )
    return REMEDIES.get(number, "see the server's log: `journalctl -u mariadb` on this host")


def passing(number: int) -> bool:
    """Whether trying again is safe: the primary was not reached, or this server refused a table or
    function before it had the fleet's settings.
    """
    unreached = (1040, 1045, 1129, 1130, 1158, 1159, 1160, 1161)
    return number >= 2000 or number in (*unreached, 1005, 1118, 1418)
