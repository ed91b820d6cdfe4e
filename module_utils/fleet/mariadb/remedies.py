"""Errors of replication: what to do about each, and which pass by themselves."""

from __future__ import annotations

RESEED = "-e mariadb_replica_reseed=<host> takes a new copy and keeps the old folder"

# Ends it for good, on the primary. TRUNCATE comes first: on a replica that was restarted since,
# ALTER would be the first to open the emptied table, and what the server logs of that takes the
# GTID of the primary's next transaction (1950).
MEMORY_CURE = "TRUNCATE TABLE NAME; ALTER TABLE NAME ENGINE=InnoDB;"

# Error number -> what it means for an operator.
REMEDIES = {
    1045: "the primary refuses the replication account: run site.yml on the primary too",
    2026: "TLS between the servers fails: the certificates are the fleet's, run site.yml on all",
    2003: "the primary does not answer: is it up, does its firewall let this host in",
    2013: "the primary does not answer: is it up, does its firewall let this host in",
    1236: f"the primary has not, or no longer, what this replica stands on: {RESEED}",
    1005: "a table that the primary took is refused here: compare innodb_strict_mode, which is OFF"
    " on a replica",
    1118: "a table that the primary took is refused here: compare innodb_strict_mode, which is OFF"
    " on a replica",
    1146: "a table is missing here, or the primary renamed a temporary table by RENAME TABLE, which"
    f" is logged as if all had it (ALTER TABLE ... RENAME TO is not): {RESEED}",
    1418: "a function that the primary took is refused here: compare"
    " log_bin_trust_function_creators, which is ON in the fleet",
    1950: "a write was made on this replica itself, by somebody, or by MariaDB for a table that a"
    f" restart had emptied (ENGINE=MEMORY): {RESEED}",
    1032: f"a row to change is missing here, the data differs from the primary's: {RESEED}",
    1062: f"a row to insert exists here already, the data differs from the primary's: {RESEED}",
}


def remedy(number: int, emptied: list[str]) -> str:
    """What to do about a replication error.

    emptied: the tables here that a restart empties, as memory_tables has them; of an error that
    they can lead to they are the likely cause.
    """
    if emptied and number in (1032, 1950):
        return (
            f"a restart of MariaDB empties tables of ENGINE=MEMORY, here {', '.join(emptied)}, and"
            " the server writes that to its own binary log; a new copy has them empty, too. First,"
            " on the primary, for each of them (its rows go, as at each restart):"
            f" {MEMORY_CURE} Then {RESEED}"
        )
    return REMEDIES.get(number, f"see the server's log; if in doubt {RESEED}")


def passing(number: int) -> bool:
    """Whether trying again can do no harm: the primary was not reached, or what it took was refused
    here before this server had the fleet's settings.
    """
    unreached = (1040, 1045, 1129, 1130, 1158, 1159, 1160, 1161)
    return number >= 2000 or number in (*unreached, 1005, 1118, 1418)
