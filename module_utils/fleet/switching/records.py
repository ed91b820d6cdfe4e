"""Who is the primary by the records of the hosts that answer, and whom a command is about.

A record is what fleet/record.py keeps: {fleet_id, epoch, primary, hosts, …}. An answer of a host is
{record: record or None, trouble: why there is none, away: whether it was not reached, target: how
ssh reaches it}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ..preflight.connection import reason
from ..preflight.problems import Kind, Problem, listed

Answers = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, list[str]]

RECORD = "primary.json in fleet_state_dir of {hosts}"
COMMAND = "the command line"
NO_RECORD = Kind(
    "switch_no_record",
    "no host that answers has a record of which host is the primary",
    RECORD,
    "run `./fleet apply` of this release, which writes it. If no host answers, make the controller"
    " reach them",
)
TWO_RECORDS = Kind(
    "switch_two_records",
    "records of the same epoch {epoch} name different primaries: {primaries}",
    RECORD,
    "switch on all hosts. Of these primaries, one is named by most of the fleet's hosts:"
    " `./fleet rejoin` with each host that names another one gives it the right record. If none"
    " is: copy the file of the host on which users saved last to the others (`scp`, same path),"
    " then `systemctl reload benchfleet-record`",
)
MOVED = Kind(
    "switch_inventory_differs",
    "{primary} is the primary since epoch {epoch}, and the inventory names {named}",
    "group primary of the inventory",
    "`./fleet` goes on with the groups as the records have them. With plain ansible-playbook, give"
    " them with -i primary_moved.yaml (docs/switchover.md), and -e to={to}",
)
NO_TARGET = Kind(
    "switch_no_target",
    "no host is named that could become the primary, and the fleet has no standby",
    COMMAND,
    "name one of {nodes} with `--to` (-e to=HOST), or set fleet_standby",
)
TARGET_UNKNOWN = Kind(
    "switch_target_unknown",
    "{to} cannot become the primary: it is no reporting node of this fleet",
    COMMAND,
    "name one of {nodes}. A host that is new joins first, with `./fleet apply`",
)
HOST_AWAY = Kind(
    "switch_host_away",
    "{host} cannot be asked: {cause}",
    "{host}, which this needs",
    "mend that. If {primary} is lost: `./fleet failover`. If another host is: name a third with"
    " `--to`",
)
NO_MAJORITY = Kind(
    "switch_no_majority",
    "only {there} of the fleet's hosts {hosts} answer, which is no majority",
    "the hosts that do not answer",
    "switch them on: a new primary opens once most of the fleet's hosts know it. If the former"
    " primary is lost: `./fleet failover`. Others that are lost for good: `./fleet remove`",
)
WOULD_STAY_CLOSED = Kind(
    "failover_no_majority",
    "{to} would not open: it needs most of {voters} to know it, and of these only {there} answer",
    "the hosts that do not answer",
    "switch one of them on. If none can be: power them off, take them out of the inventory,"
    " and run the same command again; `./fleet apply` takes them in later",
)
NOT_STANDBY = Kind(
    "switch_not_standby",
    "{to} is not the standby: it has neither router nor queues yet",
    "fleet_standby, now {standby}",
    "`./fleet switchover` prepares it first. With plain ansible-playbook, run site.yml with"
    " -e fleet_standby={to}, and then the same command with it",
)
NOT_RETURNED = Kind(
    "rejoin_host_away",
    "{host} cannot be asked: {cause}",
    "{host}",
    "switch it on and make the controller reach it; it comes back closed",
)
REJOIN_UNKNOWN = Kind(
    "rejoin_unknown",
    "{host} is no host of this fleet",
    COMMAND,
    "name one of {nodes}; a host that is new joins with `./fleet add`",
)
# What each verb does not do when a problem is found.
HEADS = {
    "switchover": "The primary is not changed",
    "failover": "No host takes over",
    "rejoin": "The host does not rejoin",
}


def standby_of(groups: Groups, wanted: str | None) -> str:
    """The node that is prepared to become the primary, "" where there is none.

    wanted: fleet_standby, None where it is not set. A host that is the primary now is no standby:
    the first reporting node is.
    """
    reporting = list(groups.get("reporting", []))
    if wanted == "":
        return ""
    if wanted and wanted not in groups.get("primary", []):
        return wanted if wanted in reporting else ""
    return reporting[0] if reporting else ""


def newest(answers: Answers) -> tuple[dict[str, Any] | None, list[str]]:
    """The record of the highest epoch, and the primaries that records of this epoch name.

    Where several are named, as after a failover from a host that alone knew of an unfinished
    switchover, it is the record that most hosts have, or None.
    """
    records = {host: a["record"] for host, a in answers.items() if a.get("record")}
    epoch = max((int(record["epoch"]) for record in records.values()), default=0)
    last = {host: record for host, record in records.items() if int(record["epoch"]) == epoch}
    named = sorted({record["primary"] for record in last.values()})
    for primary in named:
        same = {host: one for host, one in last.items() if one["primary"] == primary}
        # The primary's own is the one that it opens by.
        record = same.get(primary) or next(iter(same.values()))
        voices = [host for host in same if host in record["hosts"]]
        if len(named) == 1 or len(voices) * 2 > len(record["hosts"]):
            return dict(record), named
    return None, named


def cause(host: str, answer: Mapping[str, Any]) -> str:
    """Why a host could not be asked, in a few words."""
    return reason({"name": host, "trouble": "", "away": False, **answer}).cause


def is_off(host: str, answer: Mapping[str, Any]) -> bool:
    """Whether nothing answers at a host's address, as when it is dead."""
    if not answer.get("trouble"):
        return False
    about = {"name": host, "trouble": "", "away": False, **answer}
    return bool(answer.get("late")) or reason(about).off


def seconds_of(since: str) -> float:
    """When a record was made, in seconds since 1970; 0 where it does not say so."""
    try:
        return datetime.fromisoformat(since).timestamp()
    except ValueError:
        return 0.0


def judged(
    verb: str,
    answers: Answers,
    groups: Groups,
    standby: str,
    to: str = "",
    former: str = "",
) -> dict[str, Any]:
    """Whom a command is about, and whether it can begin.

    verb: switchover, failover or rejoin. groups, standby: the inventory's. to: the host that the
    command names, "" for the standby; for rejoin the host that comes back. former: the primary
    before, where an interrupted command is gone on with.

    Returns {problems, verb, primary, to, former, new, old, standby, changes, inventory, moved,
    done, epoch, since, since_seconds, record, hosts, there, away}. primary: by the records. new,
    old: the host that is the primary when the command has ended, and the one that was it before.
    changes: whether a new record is made. inventory: in group primary. moved: that is not the
    primary by the records. done: the records name `to` already, so that what is left is finished.
    record: what is stored when the primary changes, without `since`. hosts: {name: address} by the
    record. there, away: hosts that answer, and do not.
    """
    record, named = newest(answers)
    split = len(named) > 1
    nodes = [*groups.get("primary", []), *groups.get("reporting", [])]
    inventory = (groups.get("primary") or [""])[0]
    there = [host for host, answer in answers.items() if not answer.get("trouble")]
    about = record or {"primary": "", "epoch": 0, "fleet_id": "", "hosts": {}}
    primary, to = about["primary"], to or standby
    done = verb != "rejoin" and to == primary != ""
    former = former or (inventory if done else primary)
    new, old = (primary, to) if verb == "rejoin" else (to, former if former != to else "")
    # Where the records name the new primary already, the former one's own names it, too, or an
    # earlier failover has left it out.
    lost = old if verb == "failover" and (not done or old not in there) else ""
    members = nodes if verb == "failover" else list(about["hosts"])
    changes = verb != "rejoin" and not done
    found: dict[str, Any] = {
        "problems": [],
        "verb": verb,
        "primary": primary,
        "to": to,
        "former": old if verb != "rejoin" else to,
        "new": new,
        "old": old,
        "standby": standby,
        "changes": changes,
        "inventory": inventory,
        "moved": primary not in ("", inventory),
        "done": done,
        "epoch": int(about["epoch"]),
        "since": str(about.get("since", "")),
        "since_seconds": seconds_of(str(about.get("since", ""))),
        "record": {
            "fleet_id": about["fleet_id"],
            "primary": new,
            "epoch": int(about["epoch"]) + int(changes or split),
            # One that is lost has no voice; rejoin and site.yml give it back. In a failover, the
            # operator takes it from others, too: by the inventory.
            "hosts": {
                host: ip for host, ip in about["hosts"].items() if host != lost and host in members
            },
            "open_alone": bool(about.get("open_alone", True)) and not lost,
        },
        "hosts": dict(about["hosts"]),
        "there": there,
        "away": [host for host in answers if host not in there],
    }
    if not named:
        found["problems"] = [NO_RECORD.found(hosts=list(answers))]
    elif split and (record is None or verb == "switchover"):
        epoch = max(int(a["record"]["epoch"]) for a in answers.values() if a.get("record"))
        found["problems"] = [TWO_RECORDS.found(epoch=epoch, primaries=named, hosts=list(answers))]
    elif verb == "rejoin":
        found["problems"] = list(rejoin_problems(found, answers, nodes))
    else:
        found["problems"] = list(target_problems(found, answers, nodes))
    return found


def target_problems(
    found: Mapping[str, Any], answers: Answers, nodes: list[str]
) -> Iterator[Problem]:
    """Problems of the host that is to become the primary, and of hosts that do not answer."""
    primary, to = found["primary"], found["to"]
    choice = [node for node in nodes if node != primary]
    if not to:
        yield NO_TARGET.found(nodes=choice)
        return
    if to not in nodes or to not in found["hosts"]:
        yield TARGET_UNKNOWN.found(to=to, nodes=choice)
        return
    needed = [to] if found["verb"] == "failover" or found["done"] else [primary, to]
    for host in needed:
        if host not in found["there"]:
            answer = answers.get(host, {"trouble": "it is not in the inventory"})
            yield HOST_AWAY.found(host=host, cause=cause(host, answer), primary=primary)
    known = [host for host in found["hosts"] if host in found["there"]]
    voters = list(found["record"]["hosts"])
    voices = [host for host in voters if host in found["there"]]
    if found["verb"] == "failover" and len(voices) * 2 <= len(voters) and to in voices:
        yield WOULD_STAY_CLOSED.found(to=to, voters=voters, there=voices)
    unprepared = found["changes"] and not found["moved"] and to != found["standby"]
    if found["verb"] == "switchover" and unprepared:
        yield NOT_STANDBY.found(to=to, standby=found["standby"] or "none")
    if found["verb"] == "switchover" and len(known) * 2 <= len(found["hosts"]):
        yield NO_MAJORITY.found(there=known, hosts=list(found["hosts"]))


def rejoin_problems(
    found: Mapping[str, Any], answers: Answers, nodes: list[str]
) -> Iterator[Problem]:
    """Problems of a host that comes back."""
    host, primary = found["to"], found["primary"]
    if host not in nodes:
        yield REJOIN_UNKNOWN.found(host=host, nodes=nodes)
        return
    # The same one where it is the primary still: a failover was cut off before another one was
    # named, and the others keep it away.
    for one in dict.fromkeys((host, primary)):
        if one not in found["there"]:
            yield NOT_RETURNED.found(host=one, cause=cause(one, answers.get(one, {})))


def moved_problem(found: Mapping[str, Any]) -> Problem:
    """The problem that the inventory names another primary than the records."""
    return MOVED.found(
        primary=found["primary"],
        epoch=found["epoch"],
        named=found["inventory"],
        to=found["to"],
    )


def switching_text(problems: list[Problem], verb: str, touched: str = "") -> str:
    """Problems as a message; touched: what was changed already, "" for nothing."""
    head = f"{HEADS[verb]}. {touched or 'Nothing was touched on any host.'}"
    return f"{head}\n{listed(problems, numbered=len(problems) > 1)}"


def opening(found: Mapping[str, Any]) -> list[str]:
    """Hosts that store the new record before the new primary opens: the fewest that are a majority.

    The former primary is the first of them: from then on, it never opens by itself.
    """
    known = [h for h in (found["old"], found["new"]) if h in found["there"]]
    others = [h for h in found["hosts"] if h in found["there"] and h not in known]
    needed = len(found["hosts"]) // 2 + 1
    return [*known, *others[: max(0, needed - len(known))]]
