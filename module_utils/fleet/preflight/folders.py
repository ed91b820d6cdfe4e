"""Folders of the bench and of its CLI."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from .hosts import has_own_bench, is_ours
from .problems import Host, Problem, Settings, grouped, problem

# Belong to the system or to everybody: nothing of ours may be made, or made anew, in their place.
SYSTEM_FOLDERS = frozenset(
    {"/"}
    | {f"/{name}" for name in ("bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt")}
    | {f"/{name}" for name in ("opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp")}
    | {f"/usr{name}" for name in ("", "/bin", "/lib", "/lib64", "/local", "/sbin", "/share")}
    | {f"/usr/local{name}" for name in ("/bin", "/lib", "/sbin", "/share")}
    | {f"/var{name}" for name in ("", "/cache", "/lib", "/log", "/opt", "/tmp")}
)


def is_inside(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, and is not the folder itself."""
    inner, outer = posixpath.normpath(path), posixpath.normpath(folder)
    return inner != outer and inner.startswith(outer.rstrip("/") + "/")


def home_remedy(host: Host) -> str:
    """How a bench comes to lie inside the home of its account."""
    bench, home = posixpath.normpath(str(host["bench_dir"])), str(host["bench_home"])
    if not has_own_bench(host):
        return f"name one inside it, for instance {posixpath.join(home, 'frappe-bench')}"
    # Its Python and its configuration know it by its place.
    parent = posixpath.dirname(bench)
    if parent in SYSTEM_FOLDERS:
        return (
            f"{parent} can be nobody's home: move the bench into {home}, and make its environment "
            "and its configuration anew there (bench setup env, requirements, supervisor, nginx)"
        )
    return (
        f"make {parent} the home of its account (stop the bench, then usermod --home {parent} "
        f"ACCOUNT), and set fleet_bench_home to {parent}"
    )


def folder_trouble(host: Host) -> tuple[Problem | None, Problem | None]:
    """What is wrong with fleet_bench_dir, and with bench_cli_dir, by their names alone."""
    home, bench, cli = (str(host[key]) for key in ("bench_home", "bench_dir", "cli_dir"))
    bench_problem = cli_problem = None
    if not (posixpath.isabs(bench) and is_inside(bench, home)):
        bench_problem = problem(
            f"fleet_bench_dir {bench} is not a folder inside fleet_bench_home {home}",
            "fleet_bench_dir in the inventory",
            home_remedy(host),
        )
    normal = posixpath.normpath(cli)
    reason = ""
    if not posixpath.isabs(cli):
        reason = "not an absolute path"
    elif normal in SYSTEM_FOLDERS:
        reason = "a folder of the system"
    elif normal == posixpath.normpath(home) or is_inside(home, cli) or is_inside(bench, cli):
        reason = "a folder that holds the bench account's home or its bench"
    elif bench_problem is None and (normal == posixpath.normpath(bench) or is_inside(cli, bench)):
        reason = "a part of the bench"
    if reason:
        cli_problem = problem(
            f"bench_cli_dir {cli} is {reason}",
            "bench_cli_dir in the inventory",
            "name a folder for the bench CLI alone",
        )
    return bench_problem, cli_problem


def check_folders(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """The bench and its CLI have a folder each that is theirs alone."""
    troubles = [(host, *folder_trouble(host)) for host in hosts]
    named = grouped(
        (tuple(found.values()), host["name"]) for host, *both in troubles for found in both if found
    )
    for (what, place, remedy), names in named.items():
        yield problem(what, f"{place} ({', '.join(names)})", remedy)
    for host, bench_problem, cli_problem in troubles:
        survey = host["survey"]
        if not survey:
            continue
        if cli_problem is None and survey["folders"]["cli"] == "foreign":
            yield problem(
                f"bench_cli_dir {host['cli_dir']} of {host['name']} holds something that "
                "Benchfleet did not make",
                f"{host['cli_dir']} on {host['name']}",
                "move it away, or name another folder in bench_cli_dir",
            )
        # A bench of somebody else's, and what an interrupted run left on our own host, are told
        # apart elsewhere.
        is_bench = host["bench_dir"] in [bench["path"] for bench in survey["benches"]]
        if (
            bench_problem is None
            and survey["folders"]["bench"] == "foreign"
            and not is_bench
            and not is_ours(host, settings)
        ):
            yield problem(
                f"fleet_bench_dir {host['bench_dir']} of {host['name']} holds something that "
                "is no bench",
                f"{host['bench_dir']} on {host['name']}",
                "move it away, or name another folder in fleet_bench_dir",
            )
