"""The next state of a bench, made in a folder beside the running one and put in place at once.

The files of a bench belong to its account, which may put links anywhere: so everything here is done
as that account, by the function ``run``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping

from .account import BenchError, read_foreign
from .cli import requirement_steps
from .files import apps_in

# Runs a command as the bench's account. Arguments: the command, its description, its folder.
Run = Callable[[list[str], str, str | None], str]

# A folder with these is a bench for the programs that build in it.
PARTS = ("apps", "config", "env", "logs", "sites")
COPY_TREE = 'tar --create --exclude=./.git --exclude=node_modules . | tar --extract -C "$1"'
# With the node_modules of its last run, yarn has less to do in the next one.
COPY_MODULES = """
find . -name node_modules -type d -prune -print0 | while IFS= read -r -d '' folder; do
    if [ -d "$1/$(dirname "$folder")" ]; then cp "$2" "$folder" "$1/$folder"; fi
done
"""
# An environment has its own path in scripts, in .pth files and in the metadata of the apps.
NAME_ANEW = """
{ grep -rlIFZ -e "$1" "$2" || [ $? -eq 1 ]; } | xargs -0r sed -i -e "s#$3#$4#g"
"""
LINK_ANEW = """
old=$1 new=$2
shift 2
find "$@" \\( -type d -name node_modules -o -name .git \\) -prune \\
    -o -type l -lname "$old/*" -print0 |
while IFS= read -r -d '' link; do
    target=$(readlink "$link")
    ln -sfnT "$new${target#"$old"}" "$link"
done
"""
# What the bench's programs import first; an app that cannot be imported stops each of them.
IMPORTS = """
import importlib, sys
for name in ["frappe.app", "frappe.utils.background_jobs", *sys.argv[1:]]:
    importlib.import_module(name)
"""


class Staging:
    """The folder ``.update`` of a bench.

    ``apps``, ``env`` and ``sites`` in it are a bench of their own while they are made. An item is a
    path in it that is put in place at the same path of the bench. What it replaces is moved to
    ``old``, until there is no way back any more.
    """

    def __init__(self, bench: str, run: Run) -> None:
        self.bench, self.run = bench, run
        self.path = f"{bench}/.update"

    def places(self, item: str) -> tuple[str, str, str]:
        """Paths of an item: in the bench, beside it, and of what it replaced."""
        return f"{self.bench}/{item}", f"{self.path}/{item}", f"{self.path}/old/{item}"

    def script(self, text: str, what: str, *arguments: str, cwd: str | None = None) -> None:
        """Run a script of bash."""
        self.run(["bash", "-e", "-o", "pipefail", "-c", text, "bash", *arguments], what, cwd)

    # --- making -------------------------------------------------------------------------------

    def make_code(self, to: Mapping[str, str], moved: Collection[str]) -> None:
        """Make code and environment at the given commits, and check that they can be imported.

        moved: the apps whose commit changes; the others are copied as they are in the bench.
        """
        self.drop(to, keep_old=True)
        folders = [f"{self.path}/{name}" for name in (*PARTS, "sites/assets")]
        self.run(["mkdir", "-p", *folders], f"making {self.path}", None)
        env = [f"{self.bench}/env/.", f"{self.path}/env"]
        self.run(["cp", "-a", "--reflink=auto", *env], "copying the environment", None)
        for app in self.folders():
            self.place(app, to.get(app, ""), app in moved)
        sites = [f"{self.bench}/sites/{name}" for name in ("apps.txt", "common_site_config.json")]
        self.run(["ln", "-s", *sites, f"{self.path}/sites"], "linking the configuration", None)
        self.name_anew(f"{self.bench}/", r"\(apps\|env\)", f"{self.path}/\\1")
        for app in moved:
            for argv, what, cwd in requirement_steps(self.path, app):
                self.run(argv, what, cwd)
        apps = apps_in(read_foreign(f"{self.bench}/sites/apps.txt") or "")
        python = [f"{self.path}/env/bin/python", "-c", IMPORTS, *apps]
        self.run(python, "importing the new code", f"{self.path}/sites")

    def folders(self) -> list[str]:
        """The apps of the bench, with those that are not git repositories."""
        return sorted(entry.name for entry in os.scandir(f"{self.bench}/apps") if entry.is_dir())

    def place(self, app: str, commit: str, moved: bool) -> None:
        """Make an app's folder, at a commit or as it is in the bench; commit: "" without git."""
        here, folder = f"{self.bench}/apps/{app}", f"{self.path}/apps/{app}"
        add = ["git", "worktree", "add", "--quiet", "--detach", *["--no-checkout"] * (not moved)]
        argv = [*add, folder, commit] if commit else ["mkdir", folder]
        self.run(argv, f"reading {app} at {commit[:10]}", here)
        if not moved:
            self.script(COPY_TREE, f"copying {app}", folder, cwd=here)
        # Nothing is installed into an app that stays, so hard links are enough.
        kind = "-a" if moved else "-al"
        self.script(COPY_MODULES, f"copying node_modules of {app}", folder, kind, cwd=here)

    def make_assets(self) -> None:
        """Build the web assets of the apps beside the bench."""
        there = f"{self.path}/sites/assets"
        if os.path.isdir(f"{self.bench}/sites/assets"):
            copy = ["cp", "-a", f"{self.bench}/sites/assets/.", there]
            self.run(copy, "copying the lists of the web assets", None)
        self.link_anew(f"{self.bench}/apps", f"{self.path}/apps")
        build = ["-m", "frappe.utils.bench_helper", "frappe", "build"]
        self.run([f"{self.path}/env/bin/python", *build], "bench build", f"{self.path}/sites")

    def end(self, moved: Collection[str], assets: bool) -> list[str]:
        """Change paths in what was made to those of the bench; returns the items."""
        self.name_anew(f"{self.path}/", "", f"{self.bench}/")
        self.link_anew(self.path, self.bench)
        items = ["env"]
        for app in self.folders():
            items += self.made_in(app) if app in moved else []
            built = f"apps/{app}/{app}/public/dist"
            if assets and app not in moved and os.path.isdir(f"{self.path}/{built}"):
                items.append(built)
        if assets:
            names = sorted(os.listdir(f"{self.path}/sites/assets"))
            items += [f"sites/assets/{name}" for name in names]
        os.sync()
        return [item for item in items if not self.is_same_link(item)]

    def made_in(self, app: str) -> list[str]:
        """Items that installing and building have made in an app's folder, besides git's files."""
        arguments = ["git", "ls-files", "--others", "--directory", "--no-empty-directory", "-z"]
        found = self.run(arguments, f"listing what was made in {app}", f"{self.path}/apps/{app}")
        names = [name.rstrip("/") for name in found.split("\0") if name]
        return [
            f"apps/{app}/{name}" for name in names if not re.search(r"__pycache__|\.pyc$", name)
        ]

    def name_anew(self, known: str, pattern: str, new: str) -> None:
        """Replace a path in the environment's files: known, followed by a pattern of sed."""
        arguments = [known, f"{self.path}/env", re.sub(r"[][\\.*^$#]", r"\\\g<0>", known) + pattern]
        self.script(NAME_ANEW, "naming the environment's folder", *arguments, new)

    def link_anew(self, old: str, new: str) -> None:
        """Make the links that the build follows and makes lead to another folder."""
        arguments = [old, new, f"{self.path}/apps", f"{self.path}/sites/assets"]
        self.script(LINK_ANEW, "linking the web assets", *arguments)

    def is_same_link(self, item: str) -> bool:
        """Whether the bench has the same link already."""
        here, there, _ = self.places(item)
        links = os.path.islink(here) and os.path.islink(there)
        return links and os.readlink(here) == os.readlink(there)

    # --- putting in place ---------------------------------------------------------------------

    def is_whole(self, items: Iterable[str]) -> bool:
        """Whether all items are beside the bench."""
        return all(os.path.lexists(self.places(item)[1]) for item in items)

    def put(self, items: Iterable[str]) -> None:
        """Put items in place. If this is interrupted anywhere, it can be called again."""
        for item in items:
            here, there, old = self.places(item)
            if not os.path.lexists(there):
                continue
            if os.path.lexists(here) and os.path.lexists(old):
                # From an earlier try.
                self.run(["rm", "-rf", here], f"removing {here}", None)
                self.move(there, here)
            elif os.path.lexists(here):
                self.replace(here, old, there)
            else:
                self.move(there, here)

    def take(self, items: Mapping[str, bool]) -> None:
        """Put back what items have replaced; the items are beside the bench again. See ``put``.

        items: the item, and whether it has replaced something. Raises BenchError when that is gone.
        """
        gone = [
            old
            for _, there, old in (self.places(item) for item in items if items[item])
            if not os.path.lexists(there) and not os.path.lexists(old)
        ]
        if gone:
            raise BenchError(
                f"the update kept {', '.join(gone[:5])} for the way back, and it is gone: restore"
                " it from a backup of this host"
            )
        for item, replaced in items.items():
            here, there, old = self.places(item)
            if replaced and not os.path.lexists(old):
                continue
            if os.path.lexists(here) and os.path.lexists(there):
                self.run(["rm", "-rf", here], f"removing {here}", None)
            if os.path.lexists(here) and replaced:
                self.replace(here, there, old)
            elif os.path.lexists(here):
                self.move(here, there)
            elif replaced:
                self.move(old, here)

    def replace(self, here: str, away: str, by: str) -> None:
        """Rename ``here`` to ``away``, and ``by`` to ``here`` at once."""
        script = 'mkdir -p "$(dirname "$2")"; mv -fT "$1" "$2"; mv -fT "$3" "$1"'
        self.script(script, f"replacing {here}", here, away, by)

    def move(self, source: str, target: str) -> None:
        """Rename, within the bench."""
        script = 'mkdir -p "$(dirname "$2")"; mv -fT "$1" "$2"'
        self.script(script, f"moving {source}", source, target)

    def drop(self, apps: Iterable[str], keep_old: bool = False) -> None:
        """Remove what is beside the bench, and git's work trees; keep_old: not ``old``."""
        gone = [f"{self.path}/{name}" for name in PARTS] if keep_old else [self.path]
        self.run(["rm", "-rf", *gone], f"removing {self.path}", None)
        for app in apps:
            if os.path.isdir(f"{self.bench}/apps/{app}/.git"):
                prune = ["git", "worktree", "prune"]
                self.run(prune, f"git worktree prune of {app}", f"{self.bench}/apps/{app}")
