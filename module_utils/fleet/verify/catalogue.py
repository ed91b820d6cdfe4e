"""What verify proves: the rows, and every check by its id. docs/verify.md is made from here.

To add a check: an entry here, a method of the file of its subject beside this one that adds its
result, and the call of that method in system.py (every host), reporting.py or primary.py: `make`
where it is called check_ID, else `attempt`. Comparisons of hosts are in fleet.py. Then run
`.venv/bin/python -m benchfleet.references`.
"""

from __future__ import annotations

from dataclasses import dataclass

PRIMARY = ("primary",)
REPORTING = ("reporting",)
EVERY = (*PRIMARY, *REPORTING)

# Of each row: its name in tables, and what it promises.
TITLES = {
    "S0": "Room on disks, and servers that answer",
    "S1": "Replication from the primary to each node",
    "S2": "Replicas refuse writes",
    "S3": "Reports read this node's replica",
    "S4": "Sessions are written on the primary",
    "S5": "Same apps and assets as the primary",
    "S6": "Router: reports to nodes, saves to primary",
    "S7": "Users stay signed in on all benches",
    "S8": "Redis and ports closed to outsiders",
    "S9": "Workers, queue and services",
    "S10": "One scheduler, on the primary",
    "S11": "Files of the sites are copied",
    "S12": "Placed jobs run where they should",
    "S13": "MariaDB's settings as planned",
    "S14": "Writes under read_only are kept",
    "S15": "A node is added by one more run",
    "S16": "Certificates, and printing as PDF",
    "S17": "Loss of the primary",
    "S18": "Rights of accounts and nodes",
    "S19": "What an operator sees",
}
ROWS = {
    "S0": "Each host has room on its disks; MariaDB, Redis, the bench and the router answer. The"
    " other checks build on this.",
    "S1": "The primary replicates to each reporting node, one way and live; the first copy of the"
    " data is made without locking the primary.",
    "S2": "A replica takes no writes: the sites' accounts can only read there, and the server is"
    " read-only.",
    "S3": "Frappe on a reporting node reads from that node's replica.",
    "S4": "A session is written on the primary, whichever bench a user signs in at.",
    "S5": "A reporting node has a bench of its own, with its own Python environment and the same"
    " commits of the apps as the primary.",
    "S6": "The router sends report calls to the reporting nodes and all other calls to the"
    " primary.",
    "S7": "A user stays signed in, whichever bench answers.",
    "S8": "All benches use the primary's Redis, which has passwords and cannot be reached from"
    " outside the fleet.",
    "S9": "Each node has the workers that the inventory says; background jobs of all nodes wait in"
    " one queue.",
    "S10": "The scheduler runs on the primary alone.",
    "S11": "The sites folder of the primary is copied to each reporting node every minute, and to"
    " the standby when files change.",
    "S12": "A job can be placed on a server.",
    "S13": "MariaDB is tuned for each host's task: replicas for heavy reading.",
    "S14": "Code that writes under `@frappe.read_only()` works on a reporting node.",
    "S15": "To add a reporting node, add one entry to the inventory and run the same command again;"
    " the other nodes go on undisturbed.",
    "S16": "All of this works with the user's own inventory, Frappe 15, 16 or 17, and ERPNext.",
    "S17": "The primary can be lost without losing the data.",
    "S18": "The bench's account is root nowhere; a node can do to the other hosts only what"
    " docs/security.md says.",
    "S19": "An operator sees at once what is wrong and which command mends it.",
}
# Rows that have no check here, and why.
WITHOUT_CHECKS = {
    "S15": "No check: the project's tests add nodes to a running fleet (`molecule/`).",
    "S18": "No check of its own: docs/security.md names the check of each of its lines.",
    "S19": "No check: `./fleet status` and `./fleet verify` are what the operator sees.",
}


@dataclass(frozen=True)
class Check:
    """One check.

    row: what it proves, a key of ROWS. hosts: the roles of the hosts that have it. title: what
    holds when it is green. done: what verify does. wanted: what is seen when it is green. red: what
    it means for the fleet when it is not. remedy: what to do then; it destroys nothing. cure: the
    remedy that removes data, named only where the check has proved its cause.
    needs: ids of checks without which this one is not asked. follows: ids of checks whose failure
    explains a failure of this one, which then counts as theirs. Both are of the same host, with
    ``primary:`` before the id of the primary, with ``nodes:`` (follows alone) of any host.
    """

    row: str
    hosts: tuple[str, ...]
    title: str
    done: str
    wanted: str
    red: str
    remedy: str
    cure: str = ""
    needs: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()


SITE = "run site.yml; if that does not help, "
LOCAL = ("database_answers",)
# Accounts of the sites sign in on this host, on the primary, and through the router.
SITES_HERE = (*LOCAL, "connections")
PRIMARY_DATA = ("primary_reached", "primary:database_answers", "primary:connections")
CALLS = (*PRIMARY_DATA, "primary:redis_answers", "primary:router_answers", "primary:bench_answers")
QUEUE = ("primary_reached", "primary:redis_answers")
FILES = ("disk_room", "primary_reached", "primary:disk_room")

CATALOGUE: dict[str, Check] = {
    "disk_room": Check(
        "S0",
        EVERY,
        "No file system that the fleet writes to is full",
        done="reads how full the file systems of the databases, the bench, Redis and the logs are",
        wanted="less than 95 % used, in blocks and in files",
        red="MariaDB waits at the next write, Redis refuses jobs, and files are cut off",
        remedy="make room on the file system named here: `du -xh --max-depth=2 PATH | sort -h"
        " | tail` shows what is large, `./fleet status` what Benchfleet keeps",
    ),
    "database_answers": Check(
        "S0",
        EVERY,
        "MariaDB on this host answers",
        done="signs in as root through the socket, and reads its version and state of replication",
        wanted="both answers within 5 s each",
        red="nothing that reads or writes data works on this host",
        remedy="`systemctl status mariadb` and `journalctl -u mariadb` on this host say why",
        follows=("disk_room",),
    ),
    "connections": Check(
        "S0",
        EVERY,
        "MariaDB on this host has free connections",
        done="compares the number of connections with max_connections",
        wanted="fewer than max_connections",
        red="every new call and job on this server fails with 1040 (Too many connections)",
        remedy="`SHOW PROCESSLIST` as root on this host shows what the accounts named here do: stop"
        " the program that opened them. If all are of normal use, set max_connections higher in"
        " mariadb_settings_extra",
        needs=LOCAL,
    ),
    "redis_answers": Check(
        "S0",
        EVERY,
        "Both Redis instances answer",
        done="asks the cache and the queue for PING, as their administrator",
        wanted="PONG from both within 5 s",
        red="on the primary, sign-ins fail, and no job is queued or done; on the standby, the queue"
        " has no copy",
        remedy="`supervisorctl status` on this host, and logs/redis-cache.error.log and"
        " logs/redis-queue.error.log of the bench, say why",
        follows=("disk_room",),
    ),
    "bench_answers": Check(
        "S0",
        EVERY,
        "The bench on this host answers calls",
        done="calls the first site's ping at the web workers, past the router",
        wanted="HTTP 200 within 5 s",
        red="no call is answered by this bench",
        remedy="`supervisorctl status` on this host, and logs/web.error.log of the bench, say why",
        follows=("disk_room", *PRIMARY_DATA, "primary:redis_answers"),
    ),
    "router_answers": Check(
        "S0",
        PRIMARY,
        "The router accepts connections",
        done="connects to nginx' port for http",
        wanted="a connection within 3 s",
        red="users cannot reach any site",
        remedy="`systemctl status nginx` and `nginx -t` on this host say why",
        follows=("disk_room",),
    ),
    "primary_reached": Check(
        "S0",
        REPORTING,
        "This host reaches the primary",
        done="connects to the primary's MariaDB, Redis and router over the LAN",
        wanted="a connection to each port within 3 s",
        red="replication stops, and this bench can answer no call",
        remedy="look at the network between this host and the primary, and at the firewall of both:"
        " `nft list table inet benchfleet`",
        follows=("primary:database_answers", "primary:redis_answers", "primary:router_answers"),
    ),
    "threads": Check(
        "S1",
        REPORTING,
        "The replica receives and applies the primary's transactions",
        done="reads `SHOW SLAVE STATUS` of the replica",
        wanted="IO Yes, SQL Yes",
        red="the data on the replica does not change any more",
        remedy=SITE + "read the error in `SHOW SLAVE STATUS` on this host",
        needs=LOCAL,
        follows=("primary_reached", "primary:connections"),
    ),
    "heartbeat": Check(
        "S1",
        REPORTING,
        "The replica has a fresh heartbeat of the primary",
        done="compares the newest row of benchfleet.heartbeat on the replica with the clock",
        wanted="younger than 5 s",
        red="the replica lags behind the primary, or the primary writes no heartbeat",
        remedy="if the heartbeat is old on all nodes, the event scheduler of the primary has"
        " stopped: run site.yml. If it is old on this node only, the replica lags:"
        " `SHOW PROCESSLIST` on this host shows what it applies",
        needs=LOCAL,
        follows=("threads", "primary_reached", "primary:disk_room", "primary:database_answers"),
    ),
    "row": Check(
        "S1",
        REPORTING,
        "A row that is written on the primary arrives on the replica",
        done="writes a row on the primary over the LAN and waits for it on the replica",
        wanted="there within 1 s",
        red="replication is slow or broken",
        remedy="look at the checks threads and heartbeat of this host, then at the network between"
        " it and the primary",
        needs=(*LOCAL, *PRIMARY_DATA, "threads"),
        follows=("heartbeat", "primary:disk_room"),
    ),
    "errant": Check(
        "S1",
        REPORTING,
        "The replica has only transactions of the primary",
        done="compares the GTIDs in the binary logs of both servers",
        wanted="no errant transaction",
        red="something was written on the replica itself: its data may differ from the primary's",
        remedy="the transactions named here are of another server's: find out whether the primary"
        " was restored or its binary log was reset. Until then keep the data of both servers",
        cure="if the check memory_tables is red, convert those tables first: after a restart"
        " MariaDB empties such a table and writes that to the replica's own binary log. Otherwise"
        " find out what wrote on the replica. Then"
        " seed it again: run site.yml with -e mariadb_replica_reseed=HOST",
        needs=(*LOCAL, *PRIMARY_DATA),
    ),
    "memory_tables": Check(
        "S1",
        REPORTING,
        "A restart of the replica empties no table",
        done="looks for tables of ENGINE=MEMORY on the replica",
        wanted="no table of ENGINE=MEMORY",
        red="a restart of this server empties the table on this server only; reports then differ",
        remedy="read why the replica could not be asked, and run verify again",
        cure="on the primary, for each table named here (this deletes its rows, as each restart"
        " does): TRUNCATE TABLE NAME; ALTER TABLE NAME ENGINE=InnoDB;",
        needs=LOCAL,
    ),
    "tls": Check(
        "S1",
        REPORTING,
        "Replication works over TLS only",
        done="looks at how the replica connects, and tries to sign in at the primary as repl"
        " without TLS",
        wanted="the primary's certificate is checked, and repl is refused without TLS",
        red="transactions may cross the network unencrypted",
        remedy=SITE + "compare `SHOW CREATE USER` of the account repl on the primary: it needs"
        " REQUIRE SSL",
        needs=(*LOCAL, *PRIMARY_DATA),
    ),
    "own_certificates": Check(
        "S1",
        EVERY,
        "The fleet's own certificates are valid for at least 30 days",
        done="reads the certificates of the authority and of this host, and the one that MariaDB"
        " shows",
        wanted="30 days or more for the authority's and this host's certificate, and MariaDB shows"
        " this host's",
        red="when a certificate expires, replication and the benches' connections to MariaDB fail",
        remedy="run playbooks/renew.yml, by a timer from now on (docs/nodes.md). If that changes"
        " nothing, a host of the inventory could not be reached: mend it (for one that is gone for"
        " good see docs/nodes.md)",
        needs=LOCAL,
    ),
    "sites_tls": Check(
        "S1",
        REPORTING,
        "The sites' accounts of this host can sign in over TLS only",
        done="tries to sign in without TLS as each site's accounts, on both servers",
        wanted="refused with 1045 on both servers",
        red="passwords and data of a site may cross the network unencrypted",
        remedy="run site.yml without --limit: it requires TLS once the benches of all nodes use it",
        needs=(*SITES_HERE, *PRIMARY_DATA),
    ),
    "read_only": Check(
        "S2",
        REPORTING,
        "The replica is read-only and runs no events",
        done="reads @@read_only and @@event_scheduler of the replica",
        wanted="@@read_only = 1, and @@event_scheduler is not ON: events are enabled in the copy",
        red="a program or an event can write on the replica, and its data can differ from then on",
        remedy="run `SET GLOBAL read_only = 1; SET GLOBAL event_scheduler = 0` on this host at"
        " once, look at the check errant, run site.yml. If you have set either of them in"
        " /etc/mysql, remove that line",
        needs=LOCAL,
    ),
    "refused_replica": Check(
        "S2",
        REPORTING,
        "The replica refuses writes of each site's accounts",
        done="tries to write a row on the replica as each site's accounts",
        wanted="refused with 1142, 1044 or 1290, and no such row on either server",
        red="a site can write on the replica, and its data can differ from then on",
        remedy=SITE + "look at `SHOW GRANTS` for the accounts named here, and at @@read_only of"
        " this host",
        needs=(*SITES_HERE, *PRIMARY_DATA),
    ),
    "refused_primary": Check(
        "S2",
        REPORTING,
        "The primary refuses writes of each site's reading account",
        done="tries to write a row on the primary as each site's reading account",
        wanted="refused with 1142 or 1044",
        red="the account that should only read can change data on the primary",
        remedy=SITE + "look at `SHOW GRANTS` for the accounts named here: they should have SELECT,"
        " SHOW VIEW, EXECUTE and CREATE TEMPORARY TABLES only",
        needs=(*SITES_HERE, *PRIMARY_DATA),
    ),
    "keys": Check(
        "S3",
        REPORTING,
        "Frappe on this host is configured to read from this host's replica",
        done="reads the configuration in force of each site",
        wanted="the keys that this Frappe version reads, with this host's replica and the primary",
        red="reports are read from another server",
        remedy=SITE + "look at logs/rsync.log of the bench: site_config.json is copied with the"
        " site's files",
    ),
    "contract": Check(
        "S3",
        EVERY,
        "Frappe on this host has all that Benchfleet's packages use",
        done="has the bench's Python look for what the packages use",
        wanted="all requirements of benchfleet_jobs/contract.py are met",
        red="Benchfleet's packages do not fit: users get their answers from the primary, and jobs"
        " are done there",
        remedy="use a release of Frappe that Benchfleet's README names",
    ),
    "own_writes": Check(
        "S3",
        REPORTING,
        "What was just written on the primary is read at once from the replica",
        done="writes a ToDo on the primary and reads it with the bench's Python on this host",
        wanted="found at once, on this host's server",
        red="users may get reports without what they have just saved, or all reports are read from"
        " the primary",
        remedy="run site.yml with fleet_read_guard true; if it is true already, read"
        " logs/web.error.log of this bench and `./fleet status`: both say why calls do not read"
        " from the replica",
        needs=(*SITES_HERE, *PRIMARY_DATA),
        follows=("threads", "heartbeat", "row"),
    ),
    "answers_alike": Check(
        "S3",
        REPORTING,
        "A report has the same result on this node as on the primary",
        done="asks MariaDB and Python on both hosts questions whose answers depend on settings,"
        " and compares packages, fonts and configuration",
        wanted="the same answers on this node as on the primary",
        red="the same report can show something else on this node",
        remedy="run site.yml: it gives this node the primary's MariaDB settings and the packages of"
        " its bench; docs/read-path.md has the remedy for each other difference",
        needs=(*SITES_HERE, *PRIMARY_DATA),
    ),
    "session_row": Check(
        "S4",
        REPORTING,
        "A sign-in at this bench writes the session on the primary",
        done="signs in at this bench and looks for the session on the primary",
        wanted="the session's row on the primary",
        red="a user who signs in at this bench is unknown to the others",
        remedy="run site.yml: it sets db_host in this bench's common_site_config.json to the"
        " primary",
        needs=("bench_answers", *CALLS),
    ),
    "environment": Check(
        "S5",
        EVERY,
        "The bench runs in its own Python environment",
        done="asks the bench's Python for its prefix and where it finds the apps",
        wanted="the prefix and all apps are in the bench's folder on this host",
        red="the bench runs code that no update changes",
        remedy="run site.yml, and read logs/web.error.log of the bench",
        cure="move the env folder away (it was probably copied from another bench) and run"
        " site.yml",
    ),
    "commits": Check(
        "S5",
        REPORTING,
        "The apps have the same commits as on the primary",
        done="compares the apps of both benches",
        wanted="the same apps, commits and uncommitted changes as on the primary",
        red="reports are made by other code than the primary's",
        remedy="run site.yml: it brings the reporting nodes to the primary's commits",
    ),
    "assets": Check(
        "S5",
        REPORTING,
        "The web assets are the primary's own build",
        done="compares the lists of bundles, and each bundle's file, of both benches",
        wanted="the same lists and the same files",
        red="browsers may get files that are missing or old",
        remedy="run site.yml: it copies the primary's build. If only a list differs, wait a minute:"
        " it comes with the copy of the sites folder",
    ),
    "report": Check(
        "S6",
        REPORTING,
        "The router sends report calls to this node, which reads them from its replica",
        done="calls a report through the router until this node answers, and counts the SELECTs on"
        " its replica",
        wanted="answered by this host's bench, with at least one SELECT on the replica for each"
        " answer",
        red="this node takes no load off the primary",
        remedy="look at the header X-Fleet-Bench and at nginx's error log on the primary; if this"
        " bench answers and no SELECTs are counted, look at the checks of S3",
        needs=(*SITES_HERE, "bench_answers", *CALLS),
        follows=("threads", "heartbeat", "row"),
    ),
    "save": Check(
        "S6",
        PRIMARY,
        "The router sends a save to the primary",
        done="saves a ToDo on each site through the router and removes it",
        wanted="answered by the primary's bench, and the row is in the primary's database",
        red="users cannot save, or the wrong bench answers",
        remedy="look at nginx's error log on this host and at `supervisorctl status`",
        needs=CALLS,
    ),
    "signed_in": Check(
        "S7",
        REPORTING,
        "A user stays signed in whichever bench answers, and is signed out of all",
        done="signs in at the router and asks this bench for the user, then the other way round;"
        " signs out and asks both again",
        wanted="both know the user; after signing out at one, neither does",
        red="users are asked to sign in again, or stay signed in after signing out",
        remedy="run site.yml: both benches must have the same redis_cache and the same database",
        needs=(*SITES_HERE, "bench_answers", *CALLS),
    ),
    "redis_password": Check(
        "S8",
        EVERY,
        "Redis requires this host's password",
        done="connects to both Redis ports of the primary, without a password and with this host's",
        wanted="NOAUTH without a password, PONG with this host's, on both ports",
        red="Redis is open to all that reach it, or this host's bench cannot use it",
        remedy=SITE + "restart the bench's redis group on the primary with `supervisorctl restart`",
        needs=QUEUE,
    ),
    "redis_rights": Check(
        "S8",
        EVERY,
        "Each bench can use only the Redis commands that it needs",
        done="compares Redis' users with their file, and reads which commands Redis refused",
        wanted="one user for each host, which has one password, as in the file, and no command"
        " refused for a day",
        red="a bench can do more than it should, or has tried to",
        remedy="run site.yml without --limit. A refused command comes from an intruder on that"
        " bench, or from an app that uses what no bench may use: docs/security.md says how to see"
        " more, and how to clear the list",
        needs=(*QUEUE, "redis_answers"),
    ),
    "redis_addresses": Check(
        "S8",
        EVERY,
        "Redis listens on loopback and the LAN address only",
        done="lists the addresses on which Redis listens",
        wanted="no other address",
        red="Redis can be reached from other networks",
        remedy=SITE + "restart the bench's redis group on this host with `supervisorctl restart`",
        needs=(*QUEUE, "redis_answers"),
    ),
    "outside": Check(
        "S8",
        EVERY,
        "The fleet's ports cannot be reached from outside the fleet",
        done="connects to each port of the fleet from the controller, unless that is in the fleet",
        wanted="no connection",
        red="others can connect to the fleet's services",
        remedy="run site.yml; `nft list table inet benchfleet` on this host shows the rules",
    ),
    "workers": Check(
        "S9",
        EVERY,
        "As many web and background workers run as the inventory says",
        done="counts the processes of the bench",
        wanted="the numbers of bench_web_workers and bench_background_workers",
        red="the host does less work than planned, or uses more memory",
        remedy=SITE + "`supervisorctl status` on this host shows what does not run",
        follows=("bench_answers", *QUEUE),
    ),
    "queue": Check(
        "S9",
        PRIMARY,
        "Background jobs of all nodes wait in one queue",
        done="reads from Redis which workers there are and how many jobs they did meanwhile",
        wanted="all workers in the shared Redis have the fleet's bench_id, and a job was done",
        red="jobs of a node wait where no worker takes them, or no job is done",
        remedy="run site.yml: bench_id in sites/common_site_config.json must be the same on all"
        " nodes",
        needs=CALLS,
        follows=("workers", "one_scheduler", "queue_safe"),
    ),
    "queue_safe": Check(
        "S9",
        PRIMARY,
        "Waiting jobs survive a crash of Redis",
        done="asks the queue's Redis how it writes to disk",
        wanted="append-only, no error at the last writes, no file refused",
        red="a crash of Redis loses the jobs that wait",
        remedy="run site.yml; logs/redis-queue.error.log of the bench says what was refused and"
        " when, and docs/jobs.md what to do",
        needs=QUEUE,
        follows=("disk_room",),
    ),
    "queue_room": Check(
        "S9",
        PRIMARY,
        "The queue has room for more jobs",
        done="asks the queue's Redis how much memory it uses",
        wanted="less than 80 % of its memory limit; at the limit it refuses new jobs",
        red="Redis will soon refuse new jobs",
        remedy="`./fleet jobs` shows which jobs wait and whether workers take them; set"
        " redis_queue_memory_mb higher and run site.yml to give the queue more room",
        needs=QUEUE,
    ),
    "comes_back": Check(
        "S9",
        EVERY,
        "Services that are killed are restarted, and each runs once",
        done="reads the restart settings of the services from systemd",
        wanted="systemd restarts each service, and ends supervisor's remaining programs first",
        red="after a crash a service stays down, or its programs run twice",
        remedy="run site.yml; `systemctl cat SERVICE` on this host shows which file under"
        " /etc/systemd/system sets something else",
    ),
    "units": Check(
        "S9",
        EVERY,
        "Benchfleet's own services and timers work",
        done="asks systemd for their state",
        wanted="each is installed and active and has not failed; none has been starting for more"
        " than 5 minutes",
        red="what the service does is not done on this host",
        remedy="`systemctl status UNIT` and `journalctl -u UNIT` on this host say why",
        follows=("disk_room", "primary:database_answers"),
    ),
    "bench_id": Check(
        "S9",
        REPORTING,
        "The bench uses the primary's queue",
        done="compares bench_id and redis_queue of both benches",
        wanted="bench_id and redis_queue as on the primary",
        red="jobs of this node wait where no worker takes them",
        remedy="run site.yml: it writes sites/common_site_config.json of this bench",
    ),
    "no_scheduler": Check(
        "S10",
        REPORTING,
        "No scheduler runs on this node",
        done="looks for a process and a supervisor program, and reads pause_scheduler",
        wanted="no process, no program of supervisor, pause_scheduler set",
        red="scheduled jobs run twice",
        remedy="end the process and run site.yml",
    ),
    "one_scheduler": Check(
        "S10",
        PRIMARY,
        "The fleet has exactly one scheduler",
        done="counts the schedulers of all hosts",
        wanted="one process, on the primary",
        red="scheduled jobs do not run, or run more than once",
        remedy="look at `supervisorctl status` on the primary; end each scheduler on another host",
        follows=("nodes:no_scheduler",),
    ),
    "job_once": Check(
        "S10",
        PRIMARY,
        "A scheduled job runs, and runs once",
        done="makes a scheduled job that is due each minute, waits for its first run, counts the"
        " runs, and removes it",
        wanted="one run in each minute",
        red="scheduled jobs do not run, or run more than once",
        remedy="if it did not run: `bench --site SITE enable-scheduler`, `supervisorctl status`"
        " (schedule, workers), logs/schedule.error.log; if it ran more than once: look for a second"
        " scheduler",
        needs=CALLS,
        follows=("workers", "one_scheduler", "queue_safe"),
    ),
    "file_arrives": Check(
        "S11",
        REPORTING,
        "A file that is put into the site on the primary is copied to this node",
        done="puts a file into the first site on the primary and waits for it on this node",
        wanted="there within 70 s, and on the standby within 5 s",
        red="files of the sites are missing on this node, or come late; a failover to a standby"
        " would lose them",
        remedy="read the last lines of the bench's logs/rsync.log, and see whether cron runs on"
        " this host; on the standby, `journalctl -u benchfleet-changes` says why files are not"
        " copied when they change",
        needs=FILES,
    ),
    "file_goes": Check(
        "S11",
        REPORTING,
        "A file that is removed on the primary is removed on this node",
        done="removes that file on the primary, copies once more, and looks for it on this node",
        wanted="gone after the next copy",
        red="files that were deleted stay on this node",
        remedy="run site-sync (in fleet_lib_dir) on this host and read its output",
        needs=FILES,
    ),
    "fresh": Check(
        "S11",
        REPORTING,
        "The sites folder was copied within the last 130 s",
        done="reads when the last copy succeeded",
        wanted="the last copy succeeded at most 130 s ago: two intervals of a minute, and 10 s",
        red="files and configuration of the sites are out of date on this node",
        remedy="read the last lines of the bench's logs/rsync.log, and see whether cron runs on"
        " this host",
        follows=("disk_room", "primary_reached", "primary:disk_room", "file_arrives"),
    ),
    "file_kept": Check(
        "S11",
        REPORTING,
        "A file that a job makes on this node is at once on the primary, and removed there with it",
        done="makes a public file with the bench's Python, asks the router for it, removes it, and"
        " asks again",
        wanted="HTTP 200 at once, HTTP 404 after the removal",
        red="users cannot open files that jobs on this node make, or can open removed ones",
        remedy="run site.yml; `site-sync --push SITE` (in fleet_lib_dir) on this host, with a path"
        " on its standard input, shows the error",
        needs=(*FILES, *CALLS),
    ),
    "file_fetched": Check(
        "S11",
        REPORTING,
        "A file that is not on this node yet is fetched from the primary when it is opened",
        done="removes that file from this node only, and opens it with the bench's Python",
        wanted="opened at once, and whole",
        red="jobs on this node fail on files that are not copied yet",
        remedy="run site.yml; `journalctl -u benchfleet-files` on this host shows the error",
        needs=(*FILES, *CALLS),
    ),
    "placed": Check(
        "S12",
        PRIMARY,
        "A job that is placed on a server is done there",
        done="has a job of each placed queue done",
        wanted="done by a worker of the server that jobs_placement names",
        red="jobs are done on another server, or not at all",
        remedy="run site.yml; `./fleet jobs` shows which servers take jobs from which queue;"
        " logs/worker.error.log of the server's bench says why its workers do not",
        needs=CALLS,
        follows=("workers", "waiting", "queue_safe"),
    ),
    "waiting": Check(
        "S12",
        PRIMARY,
        "Each queue with jobs has workers",
        done="lists all queues with their jobs and workers",
        wanted="workers for each queue of a placed job, and for each queue that holds jobs",
        red="jobs wait that no worker takes",
        remedy="look at `supervisorctl status` on the server that is away; with jobs_when_away set"
        " to primary, the primary does its jobs after jobs_away_seconds",
        needs=(*QUEUE, *LOCAL),
        follows=("workers",),
    ),
    "settings": Check(
        "S13",
        EVERY,
        "MariaDB is tuned for this host's task",
        done="compares the running server's settings with those planned, and reads option files",
        wanted="the settings planned for the host's memory and task",
        red="MariaDB may be slow, run out of memory, or lose transactions in a crash",
        remedy="run site.yml: it sets them, or names the file and line that overrides them",
        needs=LOCAL,
    ),
    "apart": Check(
        "S13",
        REPORTING,
        "The replica is tuned for reading, unlike the primary",
        done="compares the settings that depend on the task on both running servers",
        wanted="each of these settings differs from the primary's",
        red="heavy reports are slower than they could be",
        remedy="run site.yml, and look at mariadb_settings_extra in the inventory",
        needs=(*LOCAL, "primary:database_answers"),
        follows=("settings",),
    ),
    "written": Check(
        "S14",
        REPORTING,
        "What code writes under read_only is kept, on both servers",
        done="writes a ToDo under `@frappe.read_only()` with the bench's Python on this host",
        wanted="the document on the primary and, at once, on this host's replica",
        red="such code fails, or what it writes is lost",
        remedy="run site.yml with fleet_read_guard true; logs/web.error.log of this bench has"
        " details",
        needs=(*SITES_HERE, *PRIMARY_DATA),
        follows=("threads", "heartbeat", "row"),
    ),
    "certificates": Check(
        "S16",
        PRIMARY,
        "The router shows a valid certificate for each name of each site",
        done="connects to the router by each name of each site, as a browser does",
        wanted="the certificate that the inventory names, for the site's name, and valid for"
        " another 30 days or a quarter of its time",
        red="browsers refuse the site, or soon will",
        remedy="renew it; `journalctl -u benchfleet-sites` on the primary says why nginx has not"
        " taken the new one",
        needs=("router_answers",),
    ),
    "pdf": Check(
        "S16",
        EVERY,
        "The bench prints a page as PDF",
        done="has the bench's Python print a page with each PDF generator",
        wanted="a PDF from each generator that this Frappe can use",
        red="users cannot print documents or send them by e-mail",
        remedy="run site.yml, which installs what is missing",
        needs=PRIMARY_DATA,
        follows=("disk_room",),
    ),
    "record": Check(
        "S17",
        EVERY,
        "This host knows who is primary, and its MariaDB is open or closed by that",
        done="reads the record of who is primary, and what its service found at its last look",
        wanted="the inventory's primary; MariaDB open there and closed elsewhere; a look within the"
        " last 10 s",
        red="a host that boots may stay closed, and a former primary may stay open",
        remedy="`journalctl -u benchfleet-record` on this host says what was found; run site.yml",
        follows=("disk_room", "database_answers"),
    ),
    "records_alike": Check(
        "S17",
        REPORTING,
        "All hosts have the same record of who is primary",
        done="compares this node's record with the primary's",
        wanted="the same epoch, primary and hosts",
        red="after a boot, the hosts may not agree on who opens for writes",
        remedy="run site.yml; `systemctl status benchfleet-record` on both hosts",
    ),
    "one_open": Check(
        "S17",
        PRIMARY,
        "Only the primary's MariaDB is open for writes",
        done="compares what the service of the record found on each host",
        wanted="open on the primary, closed on all others",
        red="no document can be saved; or two servers take writes, and their data part",
        remedy="`./fleet status` says why it is closed, and `./fleet doctor NODE` what to do with a"
        " node that takes writes",
        follows=("record", "nodes:record", "nodes:read_only"),
    ),
    "queue_copy": Check(
        "S17",
        REPORTING,
        "The standby has a copy of the queue",
        done="asks the standby's Redis for its connection to the primary's, and waits until it has"
        " all changes that the primary has",
        wanted="connected, and all changes within 10 s",
        red="if the primary is lost, so are the jobs that wait",
        remedy="`supervisorctl status` on this host, and logs/redis-queue.log and"
        " logs/redis-queue.error.log of the bench, say why; run site.yml",
        needs=(*QUEUE, "redis_answers"),
        follows=("disk_room", "primary:queue_safe"),
    ),
    "standby_router": Check(
        "S17",
        REPORTING,
        "The standby's router passes every call on to the primary",
        done="calls each site at the router of this host, and compares its certificates with those"
        " of the primary's router",
        wanted="an answer of the primary's bench to each call, and the same certificates",
        red="users who reach this host get no answer, or would get another certificate after a"
        " change of the primary",
        remedy="run site.yml; the forward file in Benchfleet's state folder on this host names the"
        " router that gets the calls, and /var/log/nginx/error.log says why it gets none. A"
        " certificate that changed on the primary comes here within five minutes; `journalctl -u"
        " benchfleet-standby-certificates` says why not",
        needs=CALLS,
    ),
    "service_address": Check(
        "S17",
        EVERY,
        "The primary holds the users' address, and no other host does",
        done="looks for router_service_ip on the network interfaces",
        wanted="it is on an interface of the primary, and on no other host",
        red="users do not reach the primary",
        remedy="`journalctl -u benchfleet-address` on this host says why; it follows the record of"
        " who is primary, which `./fleet status` shows",
        follows=("primary:database_answers", "database_answers"),
    ),
}
