"""What supervisor runs of the bench, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..bench.account import read_text
from ..bench.config import common_config
from ..bench.files import without_password
from ..bench.jobs import custom_queues
from ..bench.queues import PLACED, shape_troubles, worker_programs
from ..foreign import writer
from ..preflight.problems import Host, Problem, Settings, grouped, problem
from ..supervisor.configuration import ConfigurationError, configuration, trouble_words
from ..supervisor.own import digest, kept_text, own_names, own_troubles
from ..supervisor.programs import bench_sections, queues_of, tasks, values
from .commands import flags_of, own_arguments, own_options
from .host import Found, set_aside

PROGRAMS_FOLDER = "/etc/supervisor/conf.d"
# A file of supervisor's that is never written: whether it would be read.
PROBE = f"{PROGRAMS_FOLDER}/benchfleet-probe.conf"
# What a worker takes jobs from that names no queue.
EVERY_QUEUE = "short,default,long"


def supervisor_files(bench: str, read: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Files of supervisor's that run the bench: {path, ours, programs, kept}.

    ``read`` is what programs.configuration() says. programs are those that do the bench's own work,
    and their groups; kept are the other programs of the file. One that others than root can write
    is not ours, whatever it says.
    """
    work = bench_sections(bench, read)
    found = []
    for file in read["files"]:
        mine = [section.partition(":")[2] for section in file["sections"] if section in work]
        if mine:
            path = file["path"]
            ours = not writer(path) and "Made by Benchfleet" in (read_text(path) or "")
            kept = own_names(read, [path], bench)
            found.append({"path": path, "ours": ours, "programs": mine, "kept": kept})
    return found


def look_at_programs(bench: str, account: str) -> dict[str, Any]:
    """What supervisor runs of a bench: {trouble, unread, files, work, own, queues, kept, refused,
    told}.

    trouble is why supervisord cannot read its configuration, "" when it can; unread whether it does
    not read the folder that the fleet writes to; queues as of custom_queues(); files as of
    supervisor_files(). kept are the programs {name, user, command} of files that go out of service,
    told is by what they are known again, refused those that cannot go on so, as of own_troubles()
    for the bench's account. own are processes of programs of the operator's that work with the
    bench; work has for each program of the bench's own work
    {name, file, task, processes, queues, environment, arguments, options}: names of variables, and
    what `bench setup supervisor` does not write so. No value of a variable is in it.
    """
    told: dict[str, Any] = {"trouble": "", "unread": False, "files": [], "work": [], "own": []}
    told |= {"queues": custom_queues(bench), "kept": [], "refused": [], "told": ""}
    try:
        read = configuration()
        probe = configuration({PROBE: "[program:benchfleet-probe]\ncommand=/bin/true\n"})
    except ConfigurationError as error:
        return {**told, "trouble": str(error)}
    files = supervisor_files(bench, read)
    going = [file for file in files if not file["ours"]]
    paths = [file["path"] for file in going]
    raw = values(read)
    processes = {process["section"].partition(":")[2]: process for process in read["processes"]}
    kept = [
        {
            "name": name,
            "user": processes[name]["user"],
            # As written: what it names may be a secret.
            "command": without_password(raw[processes[name]["section"]].get("command", "")),
        }
        for name in dict.fromkeys(name for file in going for name in file["kept"])
        if name in processes
    ]
    refused = own_troubles(bench, read, paths, account)
    return {
        **told,
        "trouble": trouble_words(read["trouble"]) if read["trouble"] else "",
        "unread": bool(read["path"]) and PROBE not in [file["path"] for file in probe["files"]],
        "files": files,
        "work": [
            work_of(bench, section, does, read, raw[section])
            for section, does in bench_sections(bench, read).items()
            if does != "group"
        ],
        "own": [name for name, does in tasks(bench, read).items() if not does],
        "kept": kept,
        "refused": refused,
        "told": "" if refused else digest(kept_text(bench, read, paths, account)),
    }


def work_of(
    bench: str, section: str, does: str, read: Mapping[str, Any], options: Mapping[str, str]
) -> dict[str, Any]:
    """A program of the bench's own work, by its section and what it does; see look_at_programs."""
    config = common_config(bench)
    processes = [process for process in read["processes"] if process["section"] == section]
    command = processes[0]["command"] if processes else options.get("command", "")
    number = len(processes) or 1
    if does == "web":
        number = int(flags_of(command).get("-w", "1"))
    elif pool := re.search(r"--num-workers[ =](\d+)", command):
        number *= int(pool.group(1))
    return {
        "name": section.partition(":")[2],
        "file": [file["path"] for file in read["files"] if section in file["sections"]][-1],
        "task": does,
        "processes": number,
        "queues": (queues_of(command) or EVERY_QUEUE) if does == "worker" else "",
        "environment": processes[0]["environment"] if processes else [],
        "arguments": own_arguments(command, config) if does == "web" else [],
        "options": own_options(does, command, options, config),
    }


def supervised(found: Found) -> str:
    """How supervisor gets to run a bench: the CLI writes the bench's own file alone."""
    return (
        f"bench setup supervisor --user {found['bench']['owner']}, a link to the bench's "
        f"config/supervisor.conf in {PROGRAMS_FOLDER}, and supervisorctl update"
    )


def check_programs(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """supervisor reads its files, runs the bench, and the fleet's programs can take its place."""
    name, programs = host["name"], found["programs"]
    # That supervisord cannot read its files is told of every host: see preflight.py.
    if programs["trouble"]:
        return
    if programs["unread"]:
        yield problem(
            f"supervisord of {name} does not read {PROGRAMS_FOLDER}/*.conf",
            f"[include] of supervisord's configuration on {name}",
            f"add {PROGRAMS_FOLDER}/*.conf to its files, and restart supervisor",
        )
    files = [file for file in found["supervisor"] if not file["ours"]]
    if not files:
        yield problem(
            f"supervisor of {name} runs no program of the bench",
            f"{PROGRAMS_FOLDER} on {name}",
            f"let it run the bench first: {supervised(found)}. Or begin with a new server",
        )
    prefix = f"{host['bench_dir'].rstrip('/').rsplit('/', 1)[-1]}-"
    for what, place, remedy in programs["refused"]:
        yield problem(f"{what}; the fleet cannot keep it so", f"{place}, on {name}", remedy)
    for file in files:
        if strange := [name for name in file["programs"] if not name.startswith(prefix)]:
            yield problem(
                f"programs and groups of the bench do not begin with {prefix}: "
                f"{', '.join(strange)}",
                f"{file['path']} on {name}",
                f"let the bench CLI write that file anew: {supervised(found)}",
            )
        if file["path"].rpartition("/")[0] != PROGRAMS_FOLDER:
            yield problem(
                f"supervisor runs the bench by a file that is not in {PROGRAMS_FOLDER}",
                f"{file['path']} on {name}",
                f"move its programs to a file in {PROGRAMS_FOLDER}, or link it there, and take it"
                " out of [include] in supervisord's configuration; then supervisorctl update",
            )
        ours = rf"{re.escape(prefix)}(frappe-.*(web|schedule|worker)|redis-\w+|node-socketio)"
        if taken := [name for name in file["kept"] if re.fullmatch(ours, name)]:
            yield problem(
                "programs of your own have names that the fleet's programs may get: "
                f"{', '.join(taken)}",
                f"{file['path']} on {name}",
                "give them other names, and run supervisorctl update",
            )


def program_words(host: Host, found: Found) -> list[str]:
    """What stops at an adoption, or runs in another way, with the setting that keeps it."""
    programs, words = found["programs"], []
    aside = set_aside(host)["supervisor"]
    goes = [program for program in programs["work"] if program["file"] in aside]
    kept = [f"{one['name']} ({one['user']} runs {one['command']})" for one in programs["kept"]]
    if kept:
        bench = host["bench_dir"].rstrip("/").rsplit("/", 1)[-1]
        words.append(
            f"programs of your own stay, in {PROGRAMS_FOLDER}/{bench}-own.conf: {', '.join(kept)}"
        )
    if programs["own"]:
        words.append(
            "programs of your own that work with the bench are restarted once, as the bench's"
            f" addresses and passwords change: {', '.join(programs['own'])}"
        )
    variables = grouped(
        (variable, program["name"])
        for program in goes
        for variable in program["environment"]
        if variable not in host["environment"]
    )
    words += [
        f"the variable {variable} of {', '.join(names)} goes; bench_environment sets it for all"
        " programs of the bench"
        for variable, names in variables.items()
    ]
    for program in goes:
        if program["task"] == "web":
            words += web_words(host, program)
        if program["options"]:
            words.append(
                f"options of {program['name']} go: {', '.join(program['options'])}; a file of your"
                f" own in {PROGRAMS_FOLDER}, with a name that comes later than the bench's, keeps"
                f" them with these lines below [program:{program['name']}], once the fleet runs"
            )
    return words + (worker_words(host, programs["queues"], goes) if goes else [])


def web_words(host: Host, program: Mapping[str, Any]) -> list[str]:
    """What becomes of a web program that goes."""
    words = []
    if program["processes"] != host["web_workers"]:
        words.append(
            f"web workers: {program['processes']} -> {host['web_workers']};"
            f" bench_web_workers: {program['processes']} keeps yours"
        )
    lost = [a for a in program["arguments"] if a not in host["web_arguments"]]
    if lost:
        words.append(
            f"gunicorn of {program['name']} runs without {' '.join(lost)};"
            f" bench_web_arguments: '{' '.join(program['arguments'])}' keeps them"
        )
    return words


def worker_words(
    host: Host, custom: Mapping[str, Any], goes: Iterable[Mapping[str, Any]]
) -> list[str]:
    """What becomes of the workers that go; custom are the queues of the bench's own."""
    theirs: dict[str, int] = {}
    for program in goes:
        if program["task"] == "worker":
            theirs[program["queues"]] = theirs.get(program["queues"], 0) + program["processes"]
    asked = host["background_workers"]
    placed = [PLACED] if isinstance(asked, Mapping) else []
    # What is malformed is told by preflight.
    programs = [] if any(shape_troubles(asked)) else worker_programs(asked, placed, custom)
    ours = {",".join(program["queues"]): program["processes"] for program in programs}
    # The order of a worker's queues matters little for what is served.
    mine, yours = (
        {",".join(sorted(q.split(","))): n for q, n in x.items()} for x in (ours, theirs)
    )
    if mine == yours:
        return []
    shown, now = ("; ".join(f"{q}: {n}" for q, n in x.items()) or "none" for x in (theirs, ours))
    if not theirs:
        return [f"background workers: none -> {now}"]
    entries = ", ".join(f"'{queues}': {number}" for queues, number in theirs.items())
    return [
        f"background workers by queues: {shown} -> {now}; bench_background_workers:"
        f" {{{entries}}} keeps yours"
    ]
