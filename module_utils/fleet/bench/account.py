"""Runs commands and reads files as the bench's account; commands of the framework, too."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import pwd
import select
import subprocess
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..foreign import NotPlainError, open_plain, read_bytes
from .files import without_password
from .output import cause, keep_output

TRUSTED_ROOTS = "/etc/ssl/certs/ca-certificates.crt"

# Runs inside the bench's environment: the framework's command line is set in the process, from
# standard input, after the process has started.
#
# Frappe keeps each app's modules in the shared cache, reads them from there when a command begins,
# and makes the DocTypes of those alone: an app or a module that came later is installed without its
# DocTypes. They have to be removed from the cache within the command, as other processes may write
# the old ones again at any time: for example a job on a reporting node without the app.
#
# A new-site that always makes the database (Frappe 14 and early 15) is run with what would make or
# drop something taken out.
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


class BenchError(Exception):
    """Something about a bench is wrong; the message says what to do."""


class NotOursError(BenchError):
    """Something that this fleet did not make is where it must make something; it was left alone."""


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
        # uv, pip, node and requests bring certificates of their own; the operator maintains the
        # host's.
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

    Not interactively, unless ``seen``: then its output goes where ours goes, and is not kept. The
    account never has root's terminal, as it could type commands into it: see on_terminal.
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
    """Run a command on a terminal of its own; its output and input go to and come from ours.

    common: further arguments of Popen.
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
            # A background process that still uses the terminal is not waited for.
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
                    # No process has it open any more.
                    break
        return subprocess.CompletedProcess(argv, process.returncode)
    finally:
        os.close(ours)
        termios.tcsetattr(terminal, termios.TCSADRAIN, former)


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
    arguments: list[str],
    modules_anew: bool = False,
    timeout: float | None = 3600,
    then: list[str] | None = None,
    seen: bool = False,
    database_made: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a framework command with ``arguments`` as its command line; ``seen`` as in run_as.

    The arguments, passwords among them, are on no process's command line. ``modules_anew``: whether
    the command makes DocTypes, and must read from the disk which modules the apps have. ``then``: a
    second command, run in the same process if the first one succeeds, as starting takes seconds.
    ``database_made``: whether the command must use a site's database and account as they are.
    """
    lines = [["frappe", *line] for line in (arguments, then) if line]
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
    arguments: list[str],
    what: str,
    **options: Any,
) -> str:
    """Output of a framework command, see run_frappe; BenchError that names ``what``."""
    return checked(run_frappe(bench, user, environment, arguments, **options), what)


def encryption_key() -> str:
    """A key for Frappe's Fernet that does not begin with "-", as an option would."""
    while True:
        key = base64.urlsafe_b64encode(os.urandom(32)).decode()
        if not key.startswith("-"):
            return key


@contextmanager
def exclusive(path: str, seconds: float) -> Iterator[None]:
    """Hold a lock file, so that a new run waits for one whose controller was killed.

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
                        f"another run still works on this bench ({path} has been locked for"
                        f" {seconds:.0f} s); wait until it ends or end it, then run again"
                    ) from error
                time.sleep(1)
        yield


def read_json(path: str, follow: bool = True) -> dict[str, Any]:
    """A JSON object from a file, {} when there is none. Raises BenchError on bad content.

    ``follow``: whether the file may be a link. It may not where the file is written, too.
    """
    try:
        content = json.loads(read_bytes(path, follow=follow).decode())
    except FileNotFoundError:
        return {}
    except NotPlainError as error:
        raise BenchError(str(error)) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = f"{path} is a link; put the file itself there and run again"
            raise BenchError(message) from error
        raise BenchError(
            f"{path} cannot be read ({error.strerror}); correct that and run again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} is not valid JSON ({error}); correct it and run again") from error
    if not isinstance(content, dict):
        raise BenchError(
            f"{path} contains a {type(content).__name__} and must be a JSON object; correct it and"
            " run again"
        )
    return content


def read_text(path: str) -> str | None:
    """Text of a file, None when there is none."""
    try:
        return read_bytes(path).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_foreign(path: str) -> str | None:
    """Text of a file in another account's folder; None for a link and all but plain files.

    Of a longer file, the first 4 Mi characters.
    """
    try:
        handle = open_plain(path, follow=False)
        with open(handle, encoding="utf-8", errors="replace") as source:
            return source.read(4 * 1024**2)
    except OSError:
        return None


class Bench:
    """A bench, and commands that its account runs in it; BenchError says what failed."""

    def __init__(self, path: str, user: str, cli_dir: str, ssh_command: str | None = None) -> None:
        self.path, self.user = path, user
        self.environment = user_environment(user, cli_dir, ssh_command)

    def tried(
        self, argv: list[str], cwd: str | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail, in ``cwd`` or in the bench."""
        return run_as(self.user, argv, cwd or self.path, self.environment, stdin=stdin)

    def run(self, argv: list[str], what: str, cwd: str | None = None) -> str:
        """Run a command that has to succeed; returns its output."""
        return checked(self.tried(argv, cwd), what)

    def frappe(self, arguments: list[str], what: str, **options: Any) -> str:
        """Run a framework command that has to succeed, see run_frappe."""
        return frappe_command(self.path, self.user, self.environment, arguments, what, **options)

    def write(self, path: str, text: str) -> None:
        """Write a file in the bench, completely or not at all."""
        script = 'cat >"$0.new" && mv "$0.new" "$0"'
        checked(self.tried(["sh", "-c", script, path], stdin=text), f"writing {path}")

    def installed_on(self, site: str) -> list[str]:
        """Apps that are installed on a site."""
        listed = self.frappe(["--site", site, "list-apps"], f"list-apps of {site}")
        return [line.split()[0] for line in listed.splitlines() if line.split()]
