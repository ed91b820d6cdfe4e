"""Benches on a host, the contents of the folders for one, and commands named bench."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from pathlib import Path
from typing import Any

from ..bench.account import read_foreign
from ..bench.config import config_of
from ..bench.files import other_database
from ..foreign import open_plain
from ..nginx.files import parts
from ..processes import run
from ..sites.folders import Folders, made_note

# Benches are searched in the usual folders, and in those that files and processes of the host name:
# the whole file system would take too long.
BENCH_PATTERNS = ("/home/*/*", "/home/*/*/benches/*", "/opt/*", "/srv/*", "/root/*")
# Files of programs and web servers that name the folder of a bench; `nginx -T` shows more of nginx.
NAMING_FILES = (
    "/etc/supervisor/*.conf",
    "/etc/supervisor/conf.d/*",
    "/etc/supervisord.conf",
    "/etc/supervisord.d/*",
    "/etc/systemd/system/*.service",
    "/etc/systemd/system/*.d/*.conf",
    "/usr/lib/systemd/system/*.service",
    "/usr/local/lib/systemd/system/*.service",
    "/home/*/.config/systemd/user/*.service",
    "/root/.config/systemd/user/*.service",
    "/etc/nginx/*.conf",
    "/etc/nginx/conf.d/*",
    "/etc/nginx/sites-enabled/*",
    "/etc/apache2/sites-enabled/*",
    "/etc/apache2/conf-enabled/*",
    "/etc/httpd/conf.d/*",
    "/etc/caddy/Caddyfile",
)
# A program that copies a bench names the copy as well, which is not in use: such lines do not
# count, nor do shells that are open there, nor crontabs.
COPYING = re.compile(r"^(?:.*[\s/=])?(?:rsync|rclone|cp|mv|tar|zip|borg|restic)\s.*$", re.MULTILINE)
SHELLS = frozenset({"bash", "dash", "fish", "sh", "zsh", "su", "sudo", "tmux", "screen"})
PATH = re.compile(r"(?<![\w./])/[^\s\"',;:|&<>(){}$=*]+")
COMMAND_DIRS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/opt/bench/bin")
COMMAND_DIRS_OF_HOME = (".local/bin", "bin", "bench-cli", "pilot")


def find_benches(
    bench_dir: str,
    patterns: tuple[str, ...] = BENCH_PATTERNS,
    files: tuple[str, ...] = NAMING_FILES,
) -> list[dict[str, Any]]:
    """Benches on this host, with the one at bench_dir: {path, frappe_version, named, others}.

    named: the file or process that names it, "" where only its folder was found. others: see
    other_databases. A bench with several paths is listed once, at bench_dir if that is one of them.
    """
    named = named_benches(files)
    sources = {os.path.realpath(path): source for path, source in named.items()}
    candidates = {path for pattern in patterns for path in glob.glob(pattern) if is_bench(path)}
    benches: dict[str, str] = {}
    for path in [bench_dir, *sorted(candidates | set(named))]:
        # A folder inside a bench may look like a bench.
        if is_bench(path) and not any(map(is_bench, map(str, Path(path).parents))):
            benches.setdefault(os.path.realpath(path), path)
    return [
        {
            "path": path,
            "frappe_version": frappe_version(path),
            "named": sources.get(real, ""),
            "others": other_databases(path),
        }
        for real, path in sorted(benches.items(), key=lambda entry: entry[1])
    ]


def is_bench(path: str) -> bool:
    """Whether a folder is a bench: every bench since 2014 has sites/apps.txt."""
    return os.path.isfile(f"{path}/sites/apps.txt") or all(
        os.path.isdir(f"{path}/{name}") for name in ("sites", "apps/frappe")
    )


def frappe_version(bench_dir: str) -> str | None:
    """Version in Frappe's own code in a bench; None when it has none."""
    text = read_foreign(f"{bench_dir}/apps/frappe/frappe/__init__.py") or ""
    match = re.search(r"""^__version__\s*=\s*["']([^"']+)["']""", text, re.MULTILINE)
    return match.group(1) if match else None


def named_benches(files: tuple[str, ...] = NAMING_FILES) -> dict[str, str]:
    """Benches that files of programs and web servers or processes name: {path: file or process}."""
    found: dict[str, str] = {}
    known: dict[str, bool] = {}

    def look(text: str, source: str) -> None:
        for path in set(PATH.findall(COPYING.sub("", text))):
            while path not in known and len(path) > 1:
                known[path] = is_bench(path)
                if known[path]:
                    found[path] = source
                path = os.path.dirname(path.rstrip("/"))

    for file, text in parts(run(["/usr/sbin/nginx", "-T"]).stdout).items():
        look(text, file)
    for pattern in files:
        for file in sorted(glob.glob(pattern)):
            look(read_foreign(os.path.realpath(file)) or "", file)
    for entry in Path("/proc").glob("[0-9]*"):
        if text := named_places(entry.name):
            with contextlib.suppress(OSError):
                name = (entry / "comm").read_text(errors="replace").strip()
                look(text, f"process {entry.name} ({name})")
    return found


def named_places(pid: str) -> str:
    """Working folder and command of a process; "" for a shell, and for one in a container."""
    place = Path("/proc", pid)
    with contextlib.suppress(OSError):
        name = (place / "comm").read_text(errors="replace").strip()
        if name not in SHELLS and (place / "root").samefile("/"):
            arguments = (place / "cmdline").read_text(errors="replace").split("\0")
            return f"{(place / 'cwd').readlink()} {' '.join(arguments[:2])}"
    return ""


def other_databases(bench_dir: str) -> dict[str, dict[str, str]]:
    """Sites of a bench whose database is not MariaDB: {site: {kind, file: where it is set}}."""
    common_file = f"{bench_dir}/sites/common_site_config.json"
    common = config_of(common_file)
    folders = Folders(f"{bench_dir}/sites", "")
    found = {}
    for site in folders.names():
        config = config_of(folders.config(site))
        if kind := other_database(config, common):
            file = folders.config(site) if config.get("db_type") else common_file
            found[site] = {"kind": kind, "file": file}
    return found


def gone_sites(bench_dir: str, state_dir: str) -> list[str]:
    """Sites that the fleet made on this bench and that no longer exist."""
    prefix = made_note(state_dir, "")
    names = [
        str(path).removeprefix(prefix) for path in Path(state_dir).glob(f"{Path(prefix).name}*")
    ]
    folders = Folders(f"{bench_dir}/sites", state_dir)
    return sorted(name for name in names if not Path(folders.config(name)).exists())


def folder_state(path: str) -> str:
    """State of a folder that the fleet will make: absent, empty, ours or foreign.

    It is ours if it has the mark of a finished folder, or of one that is being made.
    """
    place = Path(path)
    if not os.path.lexists(place):
        return "absent"
    if any((place / name).exists() for name in (".benchfleet-complete", ".benchfleet-making")):
        return "ours"
    return "empty" if place.is_dir() and not any(place.iterdir()) else "foreign"


def find_commands(
    homes: list[str], folders: tuple[str, ...] = COMMAND_DIRS
) -> list[dict[str, str]]:
    """Commands named bench in the usual folders of the host and of these homes: {path, origin}."""
    places = list(folders) + [f"{home}/{d}" for home in homes for d in COMMAND_DIRS_OF_HOME]
    found = []
    seen: set[Path] = set()
    for place in places:
        path = Path(place, "bench")
        if path.resolve() in seen or not path.is_file() or not os.access(path, os.X_OK):
            continue
        seen.add(path.resolve())
        found.append({"path": str(path), "origin": command_origin(str(path))})
    return found


def command_origin(path: str) -> str:
    """The tool that a command named bench belongs to.

    "frappe-bench", "benchfleet", "frappe/pilot" or "unknown". Judged by what the script imports,
    because pilot is not installed as a package.
    """
    try:
        with open(open_plain(path), "rb") as file:
            text = file.read(20000).decode("utf-8", "replace")
    except OSError:
        return "unknown"
    if "benchfleet" in text or "benchfleet" in str(Path(path).resolve()):
        return "benchfleet"
    if re.search(r"^\s*(from|import)\s+bench(\.|\s)", text, re.MULTILINE):
        return "frappe-bench"
    if re.search(r"^\s*(from|import)\s+(bench_cli|pilot)(\.|\s)", text, re.MULTILINE):
        return "frappe/pilot"
    return "unknown"
