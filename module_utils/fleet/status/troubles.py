"""What is wrong on a host: with an id, that of verify's check where there is one, and a level."""

from __future__ import annotations

from collections.abc import Iterable

from ..verify.catalogue import CATALOGUE

Trouble = dict[str, str]

OK, AMBER, RED = "ok", "amber", "red"
LEVELS = (OK, AMBER, RED)

# Ids that verify has no check for: what it means, and what to do.
OF_STATUS = {
    "cron_down": "cron does not run. On a reporting node it starts the copies of the sites' files."
    " `systemctl start cron` on the host; `systemctl status cron` says why it ended.",
    "disk_full": "A file system is 80 % full (amber), or 95 % full or without the room that the"
    " next update needs (red). Make room there: `./fleet status` lists what Benchfleet keeps.",
    "falls_back": "The reports of this node are read from the primary, because its replica is"
    " behind or does not answer. The other troubles of the node say why.",
    "host_fenced": "A failover keeps a host away, which may be wrong about who is primary."
    " `./fleet rejoin HOST` takes it back.",
    "host_not_asked": "The host could not be reached. The message says what to do.",
    "jobs_old": "A job has waited for more than ten minutes, although workers take jobs from its"
    " queue. `./fleet jobs` shows the queues; a long job may hold the workers.",
    "lag": "The newest heartbeat on this host is more than 60 s (amber) or 300 s (red) old: the"
    " replica is behind, or the primary writes none. `SHOW SLAVE STATUS` on the node says which.",
    "mariadb_down": "MariaDB does not answer. The message has the state of its service and the last"
    " error in its log. `journalctl -u mariadb` on the host has more.",
    "memory_low": "Less than 5 % of the host's memory is available. `ps -eo rss,args --sort -rss`"
    " on the host shows what uses it.",
    "files_not_followed": "The standby does not copy files when they change on the primary, only"
    " each minute: a failover would lose those of the last minute. `journalctl -u"
    " benchfleet-changes` on the host says why. It tries again every few seconds.",
    "nginx_down": "The router's nginx does not run: no site is reached. `nginx -t` and `systemctl"
    " status nginx` on the host say why. On the standby it is needed only once that is primary.",
    "no_answer": "A part of the status was not known in time: a disk, a server or a program hangs."
    " The message says which, and how long it was waited for.",
    "no_web_workers": "No web worker of the bench runs: the bench answers no call."
    " `supervisorctl status` and logs/web.error.log of the bench say why.",
    "not_known": "A part of the status could not be read on the host. The message has the error.",
    "opened_alone": "Of two hosts, the other one did not answer, so the primary opened without it"
    " (mariadb_open_alone). Start the other host: if it was made the primary meanwhile, this one"
    " closes at once.",
    "primary_closed": "MariaDB on the primary refuses writes (read_only). `./fleet status` shows"
    " why: it opens when a majority of the hosts names it as primary. Start the hosts that do not"
    " answer, or take out those that are lost for good (`./fleet remove NODE`).",
    "passes_on": "The router sends its calls to another host's, or to none, because of the file"
    " `forward` in the fleet's state folder. Run site.yml.",
    "primary_follows": "MariaDB on the primary is a replica of another server. Find out who set it"
    " up (`SHOW SLAVE STATUS`), and run site.yml after it is removed.",
    "program_stopped": "A program of the bench does not run. `supervisorctl status` and its log in"
    " the bench's logs folder say why.",
    "redis_down": "A Redis of the bench does not answer: no job is queued, or no page is cached."
    " `supervisorctl status` and logs/redis-*.error.log of the bench on the primary say why.",
    "redis_no_writes": "A Redis of the bench could not write to its disk, and may refuse all"
    " changes (MISCONF), such as new jobs. Make room where the bench is, and look at its log.",
    "status_old": "The host's own status file is old, and the host was asked again. `systemctl"
    " status benchfleet-status.timer benchfleet-status.service` on the host says why.",
    "sync_old": "The sites' files were last copied to this node more than 3 minutes ago (red: 10"
    " minutes). logs/rsync.log of the bench on the node says why.",
    "reports_on_primary": "No reporting node answers reports, so the primary's pool for reports"
    " does. Put a node back (`./fleet undrain`), or see what is wrong with the nodes.",
    "reports_unanswered": "No host answers reports. The troubles of the hosts say why.",
    "two_primaries": "More than one MariaDB takes writes, so data can differ between the hosts. Let"
    " no more be written to the replica: `./fleet doctor NODE` says how to go on.",
}

# Ids whose troubles are amber where nothing else is said; all others are red.
AMBER_IDS = frozenset({"falls_back", "jobs_old", "memory_low", "opened_alone", "status_old"})


def trouble(name: str, what: str, level: str = "") -> Trouble:
    """Something that is wrong: {id, what, level}.

    level: that of the id by default. Raises ValueError for an id that no page explains.
    """
    if name not in CATALOGUE and name not in OF_STATUS:
        raise ValueError(f"{name} is the id of no check and of no trouble")
    return {"id": name, "what": what, "level": level or (AMBER if name in AMBER_IDS else RED)}


def worst(troubles: Iterable[Trouble]) -> str:
    """The level of the worst of these; ok without any."""
    return max((one["level"] for one in troubles), key=LEVELS.index, default=OK)
