"""Folders of the bench and of its CLI."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from .hosts import has_own_bench, is_ours
from .problems import Host, Kind, Problem, Settings, grouped

# A Kind and its facts, but for the hosts: hosts that share them are one problem.
Trouble = tuple[Kind, tuple[tuple[str, str], ...]]

OUTSIDE_HOME = "fleet_bench_dir {folder} is not a folder inside fleet_bench_home {home}"
BENCH_DIR_SET = "fleet_bench_dir in the inventory ({hosts})"
BENCH_DIR_OUTSIDE_HOME = Kind(
    "bench_dir_outside_home",
    OUTSIDE_HOME,
    BENCH_DIR_SET,
    "name a folder inside it, for instance {suggestion}",
)
# A bench cannot simply be moved: its Python and its configuration contain its path.
BENCH_NOT_IN_HOME = Kind(
    "bench_not_in_home",
    OUTSIDE_HOME,
    BENCH_DIR_SET,
    "make {parent} the home of its account (stop the bench, then `usermod --home {parent}"
    " ACCOUNT`), and set fleet_bench_home to {parent}",
)
BENCH_IN_SYSTEM_FOLDER = Kind(
    "bench_in_system_folder",
    OUTSIDE_HOME,
    BENCH_DIR_SET,
    "{parent} cannot be the home of an account: move the bench into {home}, and make its"
    " environment and its configuration again there (bench setup env, requirements, supervisor,"
    " nginx)",
)
CLI_DIR_SET = "bench_cli_dir in the inventory ({hosts})"
OWN_CLI_DIR = "name a folder for the bench CLI alone"
CLI_DIR_RELATIVE = Kind(
    "cli_dir_relative", "bench_cli_dir {folder} is not an absolute path", CLI_DIR_SET, OWN_CLI_DIR
)
CLI_DIR_OF_SYSTEM = Kind(
    "cli_dir_of_system",
    "bench_cli_dir {folder} is a folder of the system",
    CLI_DIR_SET,
    OWN_CLI_DIR,
)
CLI_DIR_HOLDS_HOME = Kind(
    "cli_dir_holds_home",
    "bench_cli_dir {folder} contains the bench account's home or its bench",
    CLI_DIR_SET,
    OWN_CLI_DIR,
)
CLI_DIR_IN_BENCH = Kind(
    "cli_dir_in_bench",
    "bench_cli_dir {folder} is a part of the bench",
    CLI_DIR_SET,
    OWN_CLI_DIR,
)
CLI_DIR_FOREIGN = Kind(
    "cli_dir_foreign",
    "bench_cli_dir {folder} of {host} holds something that Benchfleet did not make",
    "{folder} on {host}",
    "move it away, or name another folder in bench_cli_dir",
)
BENCH_DIR_FOREIGN = Kind(
    "bench_dir_foreign",
    "fleet_bench_dir {folder} of {host} holds something that is not a bench",
    "{folder} on {host}",
    "move it away, or name another folder in fleet_bench_dir",
)

# Folders of the system: the fleet neither makes nor replaces them.
SYSTEM_FOLDERS = frozenset(
    {"/"}
    | {f"/{name}" for name in ("bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt")}
    | {f"/{name}" for name in ("opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp")}
    | {f"/usr{name}" for name in ("", "/bin", "/lib", "/lib64", "/local", "/sbin", "/share")}
    | {f"/usr/local{name}" for name in ("/bin", "/lib", "/sbin", "/share")}
    | {f"/var{name}" for name in ("", "/cache", "/lib", "/log", "/opt", "/tmp")}
)


def is_inside(path: str, folder: str) -> bool:
    """Whether a path is below a folder, and not the folder itself."""
    inner, outer = posixpath.normpath(path), posixpath.normpath(folder)
    return inner != outer and inner.startswith(outer.rstrip("/") + "/")


def bench_dir_trouble(host: Host) -> Trouble | None:
    """What is wrong with fleet_bench_dir, by its name alone; None when nothing is."""
    home, bench = str(host["bench_home"]), str(host["bench_dir"])
    if posixpath.isabs(bench) and is_inside(bench, home):
        return None
    facts = (("folder", bench), ("home", home))
    if not has_own_bench(host):
        suggestion = posixpath.join(home, "frappe-bench")
        return BENCH_DIR_OUTSIDE_HOME, (*facts, ("suggestion", suggestion))
    parent = posixpath.dirname(posixpath.normpath(bench))
    kind = BENCH_IN_SYSTEM_FOLDER if parent in SYSTEM_FOLDERS else BENCH_NOT_IN_HOME
    return kind, (*facts, ("parent", parent))


def cli_dir_trouble(host: Host, in_home: bool) -> Trouble | None:
    """What is wrong with bench_cli_dir, by its name alone; None when nothing is.

    in_home: whether the bench is inside the home of its account, as it must be.
    """
    home, bench, cli = (str(host[key]) for key in ("bench_home", "bench_dir", "cli_dir"))
    normal, kind = posixpath.normpath(cli), None
    if not posixpath.isabs(cli):
        kind = CLI_DIR_RELATIVE
    elif normal in SYSTEM_FOLDERS:
        kind = CLI_DIR_OF_SYSTEM
    elif normal == posixpath.normpath(home) or is_inside(home, cli) or is_inside(bench, cli):
        kind = CLI_DIR_HOLDS_HOME
    elif in_home and (normal == posixpath.normpath(bench) or is_inside(cli, bench)):
        kind = CLI_DIR_IN_BENCH
    return (kind, (("folder", cli),)) if kind else None


def check_folders(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of the folders of the bench and its CLI: each has one of its own."""
    troubles = []
    for host in hosts:
        of_bench = bench_dir_trouble(host)
        troubles.append((host, of_bench, cli_dir_trouble(host, of_bench is None)))
    named = grouped((found, host["name"]) for host, *both in troubles for found in both if found)
    for (kind, facts), names in named.items():
        yield kind.found(**dict(facts), hosts=names)
    for host, of_bench, of_cli in troubles:
        survey = host["survey"]
        if not survey:
            continue
        if of_cli is None and survey["folders"]["cli"] == "foreign":
            yield CLI_DIR_FOREIGN.found(folder=host["cli_dir"], host=host["name"])
        # A bench that this fleet did not make is reported by check_marks. On a host of this fleet
        # it may be what an interrupted run left.
        is_bench = host["bench_dir"] in [bench["path"] for bench in survey["benches"]]
        if (
            of_bench is None
            and survey["folders"]["bench"] == "foreign"
            and not is_bench
            and not is_ours(host, settings)
        ):
            yield BENCH_DIR_FOREIGN.found(folder=host["bench_dir"], host=host["name"])
