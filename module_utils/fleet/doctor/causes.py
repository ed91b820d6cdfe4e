"""The causes that `./fleet doctor` knows: what each means, and the commands that mend it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..logs import masked
from ..mariadb.remedies import MEMORY_CURE

RESEED = "./fleet apply -i INVENTORY -e mariadb_replica_reseed={host}"
SEED_DESTROYS = "the data of MariaDB on {host}; the primary's takes its place"
# What a command line may contain of a fact: a word, or numbers.
SAFE = re.compile(r"[\w.,:@%/+][\w.,:@%/+-]*|[\d ]+")
# Secrets in texts of programs: in a URL, and after a word that announces one.
IN_URL = re.compile(r"://[^/@\s]+@")
PASSWORD = re.compile(
    r"((?:passw(?:or)?d|secret|token|api_key|IDENTIFIED BY)['\"]?(?:\s*[:=]\s*|\s+))"
    r"['\"]?[^\s'\",]+",
    re.IGNORECASE,
)
START = "mariadb -e 'START SLAVE'"
STATUS = "mariadb -e 'SHOW SLAVE STATUS\\G'"
APPLY = "./fleet apply -i INVENTORY"
VERIFY = "./fleet verify -i INVENTORY"


class Action(NamedTuple):
    """What --fix does: kind is one of WILL; name: of a unit or program."""

    kind: str
    name: str = ""

    @property
    def will(self) -> str:
        """What it will do, for people. Raises KeyError for a kind that is none."""
        return WILL[self.kind].format(name=self.name)


WILL = {
    "start": "start {name}",
    "restart": "restart {name}",
    "program": "start {name} under supervisor",
    "replication": "start replication where it stopped (START SLAVE)",
}


class Found(NamedTuple):
    """A cause that was found on a host; facts fill the braces of its texts."""

    id: str
    facts: dict[str, Any]
    action: Action | None = None

    def shown(self, host: str, others: Iterable[str] = ()) -> dict[str, Any]:
        """The cause for people and programs.

        others: ids of all causes that were found on this host. Returns {id, host, title,
        explanation, cure, fix, destroys, follows, facts}. cure: {where, command} each, see
        command(). fix: what --fix will do, or "". destroys: what the cure destroys, or "". follows:
        ids of causes that explain this one; while there are some, a cure that destroys is not
        named.
        """
        cause = CAUSES[self.id]
        facts = {name: printable(fact) for name, fact in {**self.facts, "host": host}.items()}
        safe = {name: word(name, fact) for name, fact in facts.items()}
        follows = sorted({*cause.follows} & {*others} - {self.id})
        hidden = bool(follows and cause.destroys)
        return {
            "id": self.id,
            "host": host,
            "title": cause.title.format_map(facts),
            "explanation": cause.explanation.format_map(facts),
            "cure": [] if hidden else [command(line.format_map(safe)) for line in cause.cure],
            "fix": self.action.will if self.action else "",
            "destroys": "" if hidden else cause.destroys.format_map(facts),
            "follows": follows,
            "facts": facts,
        }


def printable(fact: Any) -> Any:
    """A fact without passwords and control characters, which a log or a message may have in it."""
    if not isinstance(fact, str):
        return fact
    plain = PASSWORD.sub(r"\1…", IN_URL.sub("://…@", masked(fact)))
    return "".join(sign if sign.isprintable() else " " for sign in plain)


def command(line: str) -> dict[str, str]:
    """A line of a cure as {where, command}: where is controller, primary or host (root there)."""
    if line.startswith("./fleet"):
        return {"where": "controller", "command": line}
    place, sign, rest = line.partition("primary: ")
    return (
        {"where": "primary", "command": rest}
        if sign and not place
        else {
            "where": "host",
            "command": line,
        }
    )


def word(name: str, fact: Any) -> Any:
    """A fact that is safe in a command line; others as their name in capitals.

    Names of tables, sites and accounts are chosen by others than the operator.
    """
    return fact if SAFE.fullmatch(str(fact)) else name.upper()


@dataclass(frozen=True)
class Cause:
    """A cause: title, explanation and cure have facts in braces.

    fixes: whether --fix may mend it. destroys: what the cure destroys. follows: ids of causes that
    bring this one about. troubles: ids of `./fleet status` and `verify` that lead here.
    """

    id: str
    title: str
    explanation: str
    cure: tuple[str, ...]
    fixes: bool = False
    destroys: str = ""
    follows: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()


DOWN = ("disk_full", "mariadb_down", "mariadb_crashes", "out_of_connections")
# In the order in which they are shown: what brings others about comes first.
ALL = (
    Cause(
        "disk_full",
        "the file system of {path} is {used} full ({free} free)",
        "It holds {holds}. Programs stop or lose data when they cannot write. The biggest that is"
        " known there: {biggest}. Dumps and replaced data are listed by `./fleet status`. Where it"
        " has /var, `apt-get clean` and `journalctl --vacuum-size=200M` free room without harm.",
        ("du -xh --max-depth=3 {path} | sort -h | tail -20",),
        troubles=("disk_full", "disk_room"),
    ),
    Cause(
        "disk_low",
        "the file system of {path} is {used} full ({free} free)",
        "It holds {holds}. Make room before programs cannot write: {what}. The biggest that is"
        " known there: {biggest}. Dumps and replaced data are listed by `./fleet status`.",
        ("du -xh --max-depth=3 {path} | sort -h | tail -20",),
        troubles=("disk_full",),
    ),
    Cause(
        "config_torn",
        "{path} cannot be read",
        "{what}. Programs that start now do not come up, and site.yml refuses to run. Correct the"
        " file, as the bench's account; a copy of an older one may be beside it.",
        ("python3 -m json.tool {path}",),
        follows=("disk_full",),
        troubles=("not_known", "environment"),
    ),
    Cause(
        "mariadb_crashes",
        "MariaDB does not stay up: systemd has started it {restarts} times",
        "The last errors of its log: {errors}",
        ("journalctl -u mariadb -n 50", "systemctl restart mariadb"),
        follows=("disk_full",),
        troubles=("mariadb_down", "database_answers"),
    ),
    Cause(
        "mariadb_down",
        "MariaDB is {state}",
        "Nothing on this host can read or write. The last errors of its log: {errors}",
        ("systemctl start mariadb", "journalctl -u mariadb -n 50"),
        fixes=True,
        follows=("disk_full",),
        troubles=("mariadb_down", "database_answers"),
    ),
    Cause(
        "mariadb_silent",
        "MariaDB runs, but does not answer: {what}",
        "With a full disk it waits for room; a statement may also hold a lock that all others need."
        " The log says what it waits for.",
        ("journalctl -u mariadb -n 50", "mariadb -e 'SHOW FULL PROCESSLIST'"),
        follows=("disk_full",),
        troubles=("mariadb_down", "no_answer", "database_answers"),
    ),
    Cause(
        "out_of_connections",
        "MariaDB is out of connections: {used} of {most}",
        "New calls and jobs are refused. Held by: {holders}. Many that sleep belong to a program"
        " that opens connections and does not close them: find it by its account and host. More"
        " workers than connections need a larger max_connections.",
        ("mariadb -e 'SHOW FULL PROCESSLIST'", "mariadb -e 'KILL CONNECTION USER NAME'"),
        troubles=("connections", "threads"),
    ),
    Cause(
        "clock",
        "the clock is {seconds} s {way} the primary's",
        "Lag is measured by the clocks, and sessions, jobs and certificates depend on them. Time"
        " has to be synchronised on both hosts.",
        ("timedatectl set-ntp true", "timedatectl timesync-status"),
        troubles=("heartbeat",),
    ),
    Cause(
        "filter",
        "packets to the primary's port {port} are dropped",
        "A packet filter is in the way, on the primary, on this host or between them. On this host:"
        " {filters}.",
        (APPLY, "./fleet doctor PRIMARY -i INVENTORY"),
        follows=("firewall_gone",),
        troubles=("threads", "row"),
    ),
    Cause(
        "firewall_gone",
        "the fleet's packet filter is not loaded",
        "Other hosts reach ports that only the fleet may use. Somebody removed or flushed table"
        " inet benchfleet.",
        ("systemctl restart benchfleet-firewall",),
        fixes=True,
        troubles=("outside",),
    ),
    Cause(
        "replica_unset",
        "MariaDB follows no primary",
        "Somebody ran RESET SLAVE ALL here, or the first copy was never finished. If a plain run"
        " says that it needs a new copy, run it with"
        " -e mariadb_replica_reseed={host}.",
        (APPLY,),
        troubles=("threads",),
    ),
    Cause(
        "replica_open",
        "the replica takes writes (read_only is off)",
        "A write here stops replication or makes the data differ. Benchfleet sets read_only again.",
        (APPLY,),
        troubles=("read_only", "two_primaries"),
    ),
    Cause(
        "replica_stopped",
        "replication was stopped ({threads}), without an error",
        "Somebody ran STOP SLAVE, or it did not start after MariaDB did. It goes on where it"
        " stopped.",
        (START,),
        fixes=True,
        troubles=("threads",),
    ),
    Cause(
        "primary_unreached",
        "the primary's MariaDB cannot be reached ({number})",
        "Tried from here: {seen}. Replication goes on by itself once it answers.",
        ("./fleet doctor PRIMARY -i INVENTORY", "primary: systemctl status mariadb"),
        follows=("filter",),
        troubles=("threads", "row"),
    ),
    Cause(
        "primary_refuses",
        "the primary refuses the replication account ({number})",
        "Its password or its right differs from the one that this replica uses. A run on the"
        " primary and on this host sets it to that of the secrets file.",
        (APPLY,),
        troubles=("threads",),
    ),
    Cause(
        "replica_tls",
        "TLS between this host and the primary fails ({number})",
        "The certificate is expired, for another name, or signed by an authority that this host"
        " does not trust: {what}",
        (APPLY,),
        follows=("clock", "own_certificates"),
        troubles=("threads", "own_certificates"),
    ),
    Cause(
        "binlog_purged",
        "the primary no longer has the binary log that this replica needs (1236)",
        "The replica was stopped longer than the primary keeps its binary logs, or somebody purged"
        " them. Here: {position}; the primary begins later. Only a new copy helps.",
        (RESEED,),
        destroys=SEED_DESTROYS,
        troubles=("threads",),
    ),
    Cause(
        "position_unknown",
        "the primary does not know this replica's position (1236)",
        "The primary says: {what}. Here: {position}. This comes from a write on this host, or from"
        " a primary that was restored to an earlier state. If the primary was restored, ask first"
        " which server has the right data.",
        (VERIFY,),
        troubles=("threads",),
    ),
    Cause(
        "write_on_replica",
        "this replica has writes of its own: {gtids}",
        "The primary never had these transactions. A client wrote here, and replication cannot"
        " tell whether the data still agree ({number}). To see what was written:"
        " `mariadb-binlog --base64-output=decode-rows -vv`. Only a new copy makes both alike.",
        (RESEED,),
        destroys=SEED_DESTROYS,
        troubles=("threads", "errant"),
    ),
    Cause(
        "memory_table",
        "a restart emptied tables of ENGINE=MEMORY: {tables}",
        "MariaDB wrote that into this replica's own binary log, and replication stopped"
        " ({number}). Convert each on the primary first (its rows are lost, as at each restart);"
        " then a new copy.",
        (f"primary: mariadb -e '{MEMORY_CURE}'", RESEED),
        destroys=SEED_DESTROYS,
        troubles=("threads", "memory_tables"),
    ),
    Cause(
        "rows_differ",
        "a change from the primary does not fit the data here ({number})",
        "{what}. Table {table} differs from the primary's: rows were changed here past the binary"
        " log, or MariaDB was not stopped cleanly. Only a new copy makes both alike.",
        (RESEED,),
        destroys=SEED_DESTROYS,
        troubles=("threads",),
    ),
    Cause(
        "account_differs",
        "an account is {there} here and not on the primary (1396)",
        "The primary's statement about '{account}'@'{origin}' failed. Mend it here only,"
        " not written to the binary log, and let the primary's statement run again. A new copy is"
        " not needed.",
        ("mariadb -e \"SET sql_log_bin=0; {verb} USER '{account}'@'{origin}'\"", START),
        troubles=("threads",),
    ),
    Cause(
        "schema_refused",
        "this server refuses a statement of the primary ({number})",
        "{what}. Settings or schema differ from the primary's; a run corrects the settings, and"
        " replication goes on.",
        (APPLY, START),
        troubles=("threads", "settings"),
    ),
    Cause(
        "replica_transient",
        "replication stopped with an error that passes ({number})",
        "{what}. Trying again is safe: the transaction was rolled back as a whole.",
        (START,),
        fixes=True,
        follows=("disk_full",),
        troubles=("threads",),
    ),
    Cause(
        "replica_error",
        "replication stopped with error {number}",
        "{what}. Skip no event: the data would differ. The server's log has more.",
        (STATUS, "journalctl -u mariadb -n 50"),
        follows=("disk_full",),
        troubles=("threads",),
    ),
    Cause(
        "lag_statement",
        "replication is {lag} s late: one statement runs for {seconds} s",
        "It is `{statement}`. An ALTER takes as long here as it took on the primary; what waits"
        " behind it follows at once afterwards. Do not end it: it would begin again.",
        ("mariadb -e 'SHOW FULL PROCESSLIST'",),
        troubles=("lag", "heartbeat", "row"),
    ),
    Cause(
        "lag_lock",
        "replication is {lag} s late: it waits for a lock on {table}",
        "Held for {seconds} s by connection {connection} ({holder}): `{statement}`. Let it end, or"
        " end it; its user gets an error.",
        ("mariadb -e 'KILL {connection}'",),
        troubles=("lag", "heartbeat", "row"),
    ),
    Cause(
        "lag_no_key",
        "replication is {lag} s late: {schema}.{table} has no primary key",
        "For each changed row the replica reads the whole table. Add a key on the primary; Frappe's"
        " own tables have one.",
        (
            "primary: mariadb -e 'ALTER TABLE `{schema}`.`{table}` ADD id BIGINT AUTO_INCREMENT"
            " PRIMARY KEY'",
        ),
        troubles=("lag", "heartbeat", "row"),
    ),
    Cause(
        "lag_disk",
        "replication is {lag} s late: programs wait for the disk {share} % of the time",
        "The disk is too slow for what is written, or another program uses it.",
        ("cat /proc/pressure/io", "iotop -obn1"),
        troubles=("lag", "heartbeat", "row"),
    ),
    Cause(
        "lag",
        "replication is {lag} s late",
        "Both threads run. It applies: {state}. If the number falls, it is catching up; otherwise"
        " the primary writes more than this host can apply.",
        ("./fleet status -i INVENTORY",),
        follows=("primary_unreached", "clock"),
        troubles=("lag", "heartbeat", "row"),
    ),
    Cause(
        "heartbeat_old",
        "the primary has written no heartbeat for {lag} s",
        "Replication waits for events, and none come: the primary's event scheduler is off, or its"
        " MariaDB cannot write.",
        (APPLY, "primary: mariadb -e 'SELECT @@event_scheduler, @@read_only'"),
        follows=("primary_unreached", "filter", "clock"),
        troubles=("lag", "heartbeat"),
    ),
    Cause(
        "primary_closed",
        "MariaDB on the primary refuses writes (read_only): {why}",
        "No document can be saved. It opens by itself when a majority of the hosts names it as"
        " primary, so start those that do not answer.",
        (APPLY, "journalctl -u benchfleet-record -n 20"),
        troubles=("primary_closed", "record", "one_open"),
    ),
    Cause(
        "service_down",
        "{unit} is {state}",
        "{effect}",
        ("systemctl start {unit}", "journalctl -u {unit} -n 20"),
        fixes=True,
        troubles=("cron_down", "nginx_down", "fresh", "program_stopped"),
    ),
    Cause(
        "unit_failed",
        "{unit} {state}",
        "A service or timer of Benchfleet does not do its work. Its last lines: {errors}",
        ("systemctl restart {unit}", "journalctl -u {unit} -n 20"),
        fixes=True,
        follows=("disk_full",),
        troubles=("units", "status_old"),
    ),
    Cause(
        "nginx_config",
        "nginx refuses its configuration",
        "{what}. It goes on with what it has loaded, and would not start again after a reboot.",
        ("nginx -t", APPLY),
        troubles=("nginx_down", "router_answers", "certificates"),
    ),
    Cause(
        "supervisor_config",
        "supervisor's configuration cannot be read",
        "{what}",
        ("supervisorctl reread", APPLY),
        troubles=("program_stopped",),
    ),
    Cause(
        "supervisor_not_loaded",
        "programs differ from supervisor's files: {programs}",
        "The files were changed, and supervisord was not told. A run loads them; workers end their"
        " job first.",
        (APPLY,),
        troubles=("workers",),
    ),
    Cause(
        "program_stopped",
        "{program} is {state}",
        "A program of the bench does not run. The end of its log: {errors}",
        ("supervisorctl start {program}", "supervisorctl tail {program} stderr"),
        fixes=True,
        follows=("disk_full", "config_torn"),
        troubles=("program_stopped", "no_web_workers", "bench_answers", "workers"),
    ),
    Cause(
        "redis_refuses",
        "Redis ({instance}) refuses writes: {what}",
        "A failed save makes Redis refuse each change (MISCONF), so nothing can be queued. Make"
        " room, or give the folder {folder} back to its account; then have it save again.",
        ("df -h {folder}", "ls -ld {folder}", APPLY),
        follows=("disk_full",),
        troubles=("redis_no_writes", "queue_safe"),
    ),
    Cause(
        "redis_full",
        "Redis ({instance}) is nearly out of memory: {what}",
        "New jobs are refused when it is full. Find out which jobs wait, and why nobody does them.",
        ("./fleet jobs -i INVENTORY",),
        follows=("jobs_unserved", "program_stopped"),
        troubles=("queue_room",),
    ),
    Cause(
        "redis_silent",
        "Redis ({instance}) does not answer: {what}",
        "Without it nothing can be queued, and sessions are lost.",
        ("supervisorctl status", APPLY),
        follows=("disk_full", "program_stopped", "service_down"),
        troubles=("redis_down", "redis_answers", "queue_safe", "program_stopped"),
    ),
    Cause(
        "scheduler_twice",
        "{number} schedulers run here",
        "Each scheduled job is queued more than once. One is supervisor's; the others: {others}."
        " End these, and remove what started them.",
        ("kill {pids}",),
        troubles=("one_scheduler", "job_once"),
    ),
    Cause(
        "scheduler_on_node",
        "a scheduler runs on a reporting node",
        "Scheduled jobs are queued twice: by the primary, and here. It is {others}. End it, and"
        " remove what started it.",
        ("kill {pids}",),
        troubles=("no_scheduler",),
    ),
    Cause(
        "scheduler_none",
        "no scheduler runs",
        "No scheduled job is queued: mails, reports and reminders are late.",
        ("supervisorctl status", APPLY),
        follows=("program_stopped", "service_down", "config_torn"),
        troubles=("one_scheduler", "job_once"),
    ),
    Cause(
        "jobs_unserved",
        "no worker serves queue {queue}, where jobs wait: {number}",
        "The queue is {state}. Its workers are stopped, or bench_background_workers and"
        " jobs_placement no longer name it. With the settings corrected, a run gives it workers.",
        ("./fleet jobs -i INVENTORY", APPLY),
        follows=("program_stopped", "service_down", "redis_silent"),
        troubles=("waiting",),
    ),
    Cause(
        "queue_orphan",
        "the bench does not know queue {queue}, where jobs wait: {number}",
        "Nobody does them. The queue is left from another bench_id, from an app that is gone, or"
        " from workers that no longer run. To have them done, name the queue in"
        " bench_background_workers and run site.yml.",
        (APPLY, "./fleet jobs -i INVENTORY"),
        follows=("config_torn",),
        troubles=("waiting",),
    ),
    Cause(
        "apps_differ",
        "the code of {apps} is not the primary's",
        "Here and on the primary: {versions}. Users get answers of two versions. Somebody changed"
        " the code by hand, or a copy was interrupted. A run copies the primary's code.",
        (APPLY,),
        follows=("update_unfinished",),
        troubles=("commits",),
    ),
    Cause(
        "update_unfinished",
        "an update was not finished (since {since}, at: {phase})",
        "The same command goes on where it stopped.",
        ("./fleet update -i INVENTORY",),
        troubles=("commits",),
    ),
    Cause(
        "maintenance",
        "{site} is in maintenance mode",
        "Users see a page that says so, and no update is under way. Somebody left it on.",
        ("sudo -iu {user} sh -c 'cd {bench} && bench --site {site} set-maintenance-mode off'",),
        troubles=("answers_alike",),
    ),
    Cause(
        "node_drained",
        "{node} is drained",
        "It gets no calls until it is put back; its reports are answered by the others.",
        ("./fleet undrain {node} -i INVENTORY",),
        troubles=("reports_on_primary", "reports_unanswered"),
    ),
    Cause(
        "falls_back",
        "reports here read from the primary (for {seconds} s)",
        "The guard says: replica {what}. It goes back by itself once the replica is well.",
        (VERIFY,),
        follows=(
            *DOWN,
            *("replica_unset", "replica_stopped", "primary_unreached", "primary_refuses"),
            *("replica_tls", "binlog_purged", "position_unknown", "write_on_replica"),
            *("memory_table", "rows_differ", "account_differs", "schema_refused"),
            *("replica_error", "replica_transient", "lag", "lag_statement", "lag_lock"),
            *("lag_no_key", "lag_disk", "mariadb_silent", "heartbeat_old", "clock"),
        ),
        troubles=("falls_back",),
    ),
    Cause(
        "files_late",
        "the sites' files were last copied {seconds} s ago",
        "New files are fetched one by one from the primary, and deleted ones are still here."
        " The copy is started by cron.",
        ("{sync}", "journalctl -u cron -n 20"),
        follows=("service_down", "disk_full", "filter"),
        troubles=("sync_old", "fresh", "file_arrives"),
    ),
    Cause(
        "files_not_followed",
        "{unit} is {state}: files are not copied here when they change",
        "The copy of each minute brings them, and a failover would lose the newest ones. Its last"
        " lines: {errors}",
        ("systemctl restart {unit}", "journalctl -u {unit} -n 20"),
        fixes=True,
        follows=(*DOWN, "primary_unreached", "disk_full", "filter"),
        troubles=("files_not_followed", "file_arrives"),
    ),
    Cause(
        "own_certificates",
        "the fleet's certificate: {what}",
        "Connections of the fleet are refused when it has ended or does not fit.",
        ("openssl x509 -noout -dates -in {folder}/server.crt", APPLY),
        follows=(*DOWN, "mariadb_silent", "clock"),
        troubles=("own_certificates",),
    ),
    Cause(
        "not_asked",
        "{question}: no answer",
        "{what}",
        ("systemctl list-jobs; uptime", "./fleet doctor {host} -i INVENTORY"),
        follows=(*DOWN, "mariadb_silent", "redis_silent", "config_torn", "service_down"),
        troubles=("not_known", "no_answer"),
    ),
)
CAUSES = {cause.id: cause for cause in ALL}
ORDER = {name: place for place, name in enumerate(CAUSES)}


def found(name: str, action: Action | None = None, **facts: Any) -> Found:
    """A cause that was found. Raises KeyError for an unknown one."""
    if action and not CAUSES[name].fixes:
        raise KeyError(f"{name} has no fix")
    return Found(name, facts, action)
