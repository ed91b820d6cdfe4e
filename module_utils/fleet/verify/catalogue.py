"""What verify proves: every check by name.

To add a check: an entry here, a method of the file of its subject beside this one that adds its
result, and the call of that method in system.py (every host), reporting.py or primary.py: `make`
where it is called check_NAME, else `attempt`. What compares hosts is in fleet.py.
"""

from __future__ import annotations

from dataclasses import dataclass

PRIMARY = ("primary",)
REPORTING = ("reporting",)
EVERY = (*PRIMARY, *REPORTING)


@dataclass(frozen=True)
class Check:
    """One claim: the row (S1, S2, …) that it proves, its hosts, and what to do when it is red."""

    row: str
    hosts: tuple[str, ...]
    title: str
    wanted: str
    remedy: str


SITE = "run site.yml; if that does not mend it, "

CATALOGUE: dict[str, Check] = {
    "threads": Check(
        "S1",
        REPORTING,
        "Replica receives and applies the primary's transactions",
        "both replication threads Yes",
        SITE + "the error in `SHOW SLAVE STATUS` on this host says what stands in the way",
    ),
    "heartbeat": Check(
        "S1",
        REPORTING,
        "Heartbeat of the primary is fresh on the replica",
        "younger than 5 s",
        "a heartbeat that is old everywhere is a stopped event scheduler on the primary, an old one"
        " here alone is lag: `SHOW PROCESSLIST` on this host shows what it applies",
    ),
    "row": Check(
        "S1",
        REPORTING,
        "A row written on the primary arrives on the replica",
        "there within 1 s",
        "look at the threads and the heartbeat of this host, then at the network between the two",
    ),
    "errant": Check(
        "S1",
        REPORTING,
        "Replica holds nothing that the primary never had",
        "no errant transaction",
        "convert the tables of the next row first, when it is red, as MariaDB writes to this"
        " server's log when it empties one; otherwise somebody wrote on the replica. Then seed it"
        " again with -e mariadb_replica_reseed=HOST",
    ),
    "memory_tables": Check(
        "S1",
        REPORTING,
        "A restart empties no table on the replica",
        "no table of ENGINE=MEMORY",
        "on the primary, for each table named here (its rows go, as at each restart):"
        " TRUNCATE TABLE NAME; ALTER TABLE NAME ENGINE=InnoDB;",
    ),
    "tls": Check(
        "S1",
        REPORTING,
        "Replication is possible over TLS alone",
        "the primary's certificate is checked, and the replication account is refused without TLS",
        SITE + "compare `SHOW CREATE USER` of the account repl on the primary: REQUIRE SSL",
    ),
    "own_certificates": Check(
        "S1",
        EVERY,
        "Certificates of the fleet have time left",
        "30 days or more, of the authority, of this host's certificate and of the one that MariaDB"
        " shows, which are the same",
        "run playbooks/renew.yml, and have a timer run it (docs/nodes.md); when that changes"
        " nothing, some host of the inventory was not reached by it: mend it, or take it out of"
        " the fleet with playbooks/remove_node.yml",
    ),
    "sites_tls": Check(
        "S1",
        REPORTING,
        "Sites' accounts of this host are let in over TLS alone",
        "refused with 1045 without TLS, on both servers",
        "run site.yml without --limit: it asks for TLS once the benches of all nodes come with it",
    ),
    "read_only": Check(
        "S2",
        REPORTING,
        "Replica's server is closed for writes",
        "@@read_only = 1, and no event runs: in a copy of the data they are enabled",
        "`SET GLOBAL read_only = 1; SET GLOBAL event_scheduler = 0` on this host now, look for"
        " errant transactions, run site.yml; a setting of your own for either must go from"
        " /etc/mysql",
    ),
    "refused_replica": Check(
        "S2",
        REPORTING,
        "Replica refuses a write with each site's accounts",
        "refused with 1142, 1044 or 1290, and no such row on either server",
        SITE + "`SHOW GRANTS` for the accounts named here, and @@read_only of this host",
    ),
    "refused_primary": Check(
        "S2",
        REPORTING,
        "Primary refuses a write with each site's reading account",
        "refused with 1142 or 1044",
        SITE + "`SHOW GRANTS` for the accounts named here: SELECT, SHOW VIEW, EXECUTE and"
        " CREATE TEMPORARY TABLES are all they may have",
    ),
    "keys": Check(
        "S3",
        REPORTING,
        "Frappe here is told to read from this host's replica",
        "the keys of this Frappe version, in the configuration that is in force",
        SITE + "see logs/rsync.log of the bench: site_config.json comes with the site's files",
    ),
    "contract": Check(
        "S3",
        EVERY,
        "Frappe here has all that Benchfleet's packages use of it",
        "every requirement of benchfleet_jobs/contract.py is met",
        "use a release of Frappe that Benchfleet's README names; until then users get their answers"
        " from the primary, and jobs are done there",
    ),
    "own_writes": Check(
        "S3",
        REPORTING,
        "What was just written on the primary is read here at once, from the replica",
        "found in the same second, on this host's server",
        "run site.yml with fleet_read_guard true; when it is, logs/web.error.log of this bench and"
        " `./fleet status` say why calls do not read from the replica",
    ),
    "answers_alike": Check(
        "S3",
        REPORTING,
        "A report says the same here as on the primary",
        "each question about a setting answered as on the primary",
        "run site.yml: it gives this node the primary's settings of MariaDB and the packages of its"
        " bench; docs/read-path.md says of each other question what mends it",
    ),
    "session_row": Check(
        "S4",
        REPORTING,
        "A sign-in at the reporting bench writes its session on the primary",
        "the session's row on the primary",
        "run site.yml: db_host in this bench's common_site_config.json must be the primary",
    ),
    "environment": Check(
        "S5",
        EVERY,
        "Bench runs in a Python environment of its own",
        "prefix and apps under the bench's folder on this host",
        "an env folder that was copied from elsewhere does not do: move it away and run site.yml",
    ),
    "commits": Check(
        "S5",
        REPORTING,
        "Apps are at the very commits of the primary",
        "the same apps at the same commits, unchanged",
        "run site.yml: it brings the reporting benches to the primary's commits",
    ),
    "assets": Check(
        "S5",
        REPORTING,
        "Web assets are the primary's own build",
        "the same lists of bundles, and each bundle's file the same",
        "run site.yml: it copies the primary's build; a list alone that differs comes with the copy"
        " of the sites folder within a minute",
    ),
    "report": Check(
        "S6",
        REPORTING,
        "A report call through the router is answered here and read from the replica",
        "answered by this host's bench, and the replica's own counters rise",
        "look at X-Fleet-Bench and nginx's error log on the primary; when the bench answers and the"
        " counters stand still, look at the check of S3",
    ),
    "save": Check(
        "S6",
        PRIMARY,
        "A save through the router is answered by the primary",
        "answered by the primary's bench, the row on the primary's database",
        "look at nginx's error log on this host and `supervisorctl status`",
    ),
    "signed_in": Check(
        "S7",
        REPORTING,
        "A user stays signed in whichever bench answers, and is signed out of both",
        "the same user at the router and at this bench, and neither after signing out at the other",
        "both benches must have the same redis_cache and the same database: run site.yml",
    ),
    "redis_password": Check(
        "S8",
        EVERY,
        "Redis wants this host's own password",
        "NOAUTH without the password, PONG with this host's, on both ports",
        SITE + "`supervisorctl restart` the bench's redis group on the primary",
    ),
    "redis_rights": Check(
        "S8",
        PRIMARY,
        "Redis lets each bench do its work and no more",
        "a user for each host with one password, as in its file, and no command refused to it for a"
        " day",
        "run site.yml without --limit. A refused command is an attack by whoever has that bench, or"
        " an app's that no bench may use: docs/security.md says how to see more and to forget it",
    ),
    "redis_addresses": Check(
        "S8",
        PRIMARY,
        "Redis listens on loopback and the LAN address alone",
        "no other address",
        "run site.yml, then `supervisorctl restart` the bench's redis group if it is still wrong",
    ),
    "outside": Check(
        "S8",
        EVERY,
        "Fleet's ports cannot be reached from outside the fleet",
        "no connection from the controller",
        "run site.yml; `nft list table inet benchfleet` on this host shows the rules in force",
    ),
    "workers": Check(
        "S9",
        EVERY,
        "Web and background workers run in the number that the inventory says",
        "bench_web_workers and bench_background_workers",
        SITE + "`supervisorctl status` on this host shows what does not run",
    ),
    "queue": Check(
        "S9",
        PRIMARY,
        "Background jobs of all nodes go through the one queue",
        "every worker in the shared Redis works under the fleet's bench_id, and a job was done",
        "bench_id in sites/common_site_config.json must be the same on all nodes: run site.yml",
    ),
    "queue_safe": Check(
        "S9",
        PRIMARY,
        "Jobs that wait outlive a crash of their Redis",
        "append-only, written without an error, no file refused",
        "run site.yml; logs/redis-queue.error.log of the bench says what was refused and when, and"
        " docs/jobs.md what to do",
    ),
    "queue_room": Check(
        "S9",
        PRIMARY,
        "Queue has room for more jobs",
        "less than 80 % of its limit of memory, at which it refuses jobs and drops none",
        "`./fleet jobs` shows what waits and whether it is done; redis_queue_memory_mb and site.yml"
        " give it more room",
    ),
    "comes_back": Check(
        "S9",
        EVERY,
        "Services that are killed come back by themselves, and each once",
        "systemd restarts them, and ends what is left of supervisor's programs first",
        "run site.yml; `systemctl cat SERVICE` on this host shows which file under"
        " /etc/systemd/system says otherwise",
    ),
    "units": Check(
        "S9",
        EVERY,
        "Benchfleet's own services and timers work",
        "each is there, active, and did not fail; none has been starting for more than 5 minutes",
        "`systemctl status UNIT` and `journalctl -u UNIT` on this host say why",
    ),
    "bench_id": Check(
        "S9",
        REPORTING,
        "Bench shares the primary's queue",
        "bench_id and redis_queue as on the primary",
        "run site.yml: it writes sites/common_site_config.json of this bench",
    ),
    "no_scheduler": Check(
        "S10",
        REPORTING,
        "No scheduler on this node",
        "no process, no program of supervisor's, pause_scheduler set",
        "end the process, then run site.yml: two schedulers run jobs twice",
    ),
    "one_scheduler": Check(
        "S10",
        PRIMARY,
        "Exactly one scheduler in the fleet",
        "one process, on the primary",
        "`supervisorctl status` on the primary; end any scheduler elsewhere",
    ),
    "job_once": Check(
        "S10",
        PRIMARY,
        "A scheduled job runs, and runs once",
        "one run in the minute in which it was due",
        "no run: `bench --site SITE enable-scheduler`, `supervisorctl status` (schedule, workers),"
        " logs/schedule.error.log; more than one: look for a second scheduler",
    ),
    "file_arrives": Check(
        "S11",
        REPORTING,
        "A file put into the site on the primary is here",
        "there within 70 s",
        "the last lines of the bench's logs/rsync.log say why; is cron running on this host?",
    ),
    "file_goes": Check(
        "S11",
        REPORTING,
        "A file removed from the site on the primary is gone here",
        "gone after the next copy",
        "run site-sync (in fleet_lib_dir) on this host and read what it says",
    ),
    "fresh": Check(
        "S11",
        REPORTING,
        "Sites folder was copied a moment ago",
        "last success at most 130 s ago",
        "the last lines of the bench's logs/rsync.log say why; is cron running on this host?",
    ),
    "file_kept": Check(
        "S11",
        REPORTING,
        "A file that is made here is on the primary before its transaction ends, and gone with it",
        "served by the primary at once, and no more once it was removed here",
        "run site.yml; `site-sync --push SITE` (in fleet_lib_dir) on this host, with a path on its"
        " standard input, says what stands in the way",
    ),
    "file_fetched": Check(
        "S11",
        REPORTING,
        "A file that is not here yet is fetched from the primary when it is opened",
        "opened at once, and whole",
        "run site.yml; `journalctl -u benchfleet-files` on this host says what stands in the way",
    ),
    "placed": Check(
        "S12",
        PRIMARY,
        "A job that is placed on a server is done there",
        "done by a worker of the server that jobs_placement names",
        "run site.yml; `./fleet jobs` shows who serves which queue; logs/worker.error.log of the"
        " server's bench says why its workers do not",
    ),
    "waiting": Check(
        "S12",
        PRIMARY,
        "No job waits on a queue that nobody serves",
        "workers for every queue of a placed job, and for every queue that holds jobs",
        "`supervisorctl status` on the server that is away; with jobs_when_away primary the"
        " primary does its jobs after jobs_away_seconds",
    ),
    "settings": Check(
        "S13",
        EVERY,
        "MariaDB is tuned for this host's task",
        "the settings planned for its memory and task",
        "run site.yml: it sets them, or names the file and line of what wins over them",
    ),
    "apart": Check(
        "S13",
        REPORTING,
        "Replica is tuned for reading, apart from the primary",
        "what the plan sets apart is apart on the running servers",
        "run site.yml, and look at mariadb_settings_extra in the inventory",
    ),
    "written": Check(
        "S14",
        REPORTING,
        "What code writes under read_only is kept, on both servers",
        "the document on the primary and, at once, on this host's replica",
        "run site.yml with fleet_read_guard true; logs/web.error.log of this bench says more",
    ),
    "certificates": Check(
        "S16",
        PRIMARY,
        "Certificates are valid for the names that they are shown for",
        "the certificate of the file that the inventory names, with the site's name, and with 30"
        " days or a quarter of its time left",
        "renew it; `journalctl -u benchfleet-sites` on the primary says why nginx has not taken it",
    ),
    "pdf": Check(
        "S16",
        EVERY,
        "Bench prints a page as PDF",
        "a PDF by each generator that this Frappe can use",
        "run site.yml, which installs what is missing",
    ),
}
