"""Copy the primary's sites folder to this reporting host: once a minute, from cron.

Three more modes are for the bench's own processes: ``--push SITE`` sends the files that a
transaction here has touched to the primary, ``--pull SITE`` copies one site's files at once, and
``--serve``, a service of systemd, fetches a single file that a process opens before it is here.
``--follow``, a service of the standby, copies a site's files when they change on the primary.

Reads ``site-sync.json`` in the fleet's configuration folder. In this order:

1. Small files (the primary's list of sites, site_config.json of every site, apps.txt,
   currentsite.txt, the asset lists) are copied into a staging folder, read, and only then put in
   place, each by a rename. An incomplete site_config.json is never put in place. It gets the keys
   with which Frappe reads from the replica once the replica lets the site's account in.
2. ``public/files`` and ``private/files`` of every site are copied, with deletion in these folders
   only, and without files that an open transaction on this host has touched. DuckDB files are not
   copied: they are written in place, for minutes.
3. The folder of a site that is no longer on the list is removed.
4. ``sites/.site-sync.json`` has the result. After a failure it keeps the last success.

A push names its files on standard input, each ended by a NUL: ``private/files/a.pdf``. Files
that exist here are taken over, others are removed there: all of them or, on a failure, none. A push
waits for no copy, and no copy waits for it.

Exit status: 0 all is in step; 1 something failed (the line says what); 2 the configuration or the
request cannot be used; 3 another run is still going on.
"""

from __future__ import annotations

import argparse
import os
import pwd
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchfleet_sync.copies import pull
from benchfleet_sync.locks import BusyError, lock
from benchfleet_sync.names import RefusedError
from benchfleet_sync.primary import SyncError
from benchfleet_sync.push import push
from benchfleet_sync.run import run
from benchfleet_sync.settings import ConfigError, Settings, file_of_this_host, load
from benchfleet_sync.sites import read_list

# Seconds that a pull waits for a running copy.
PULL_WAIT = 60.0


def become(user: str) -> None:
    """Give up root for the bench's user; nothing when already that user. Raises ConfigError."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user {user} on this host; run site.yml") from None
    if os.geteuid() == account.pw_uid:
        return
    if os.geteuid() != 0:
        raise ConfigError(f"run this as {user} or as root")
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def on_request(settings: Settings, site: str, work: Callable[[], str]) -> int:
    """Push or pull; returns the exit status."""
    try:
        if site not in read_list(settings.list):
            raise RefusedError(f"{site} is not a site of this fleet")
        print(work())
    except SyncError as error:
        print(f"{site}: {error}", file=sys.stderr)
        return 1
    return 0


def pull_on_request(settings: Settings, site: str) -> str:
    """Pull after the running copy, which may make that unnecessary."""
    asked = time.time()
    with lock(settings, PULL_WAIT):
        return pull(settings, site, asked)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status described at the top."""
    parser = argparse.ArgumentParser(description="Copy the primary's sites folder to this host.")
    parser.add_argument("--config", type=Path, help="default: site-sync.json of the fleet")
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for a run under way")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--ensure",
        metavar="SITES",
        help="do nothing when the last run succeeded with the present configuration and brought"
        " these sites, separated by commas",
    )
    mode.add_argument(
        "--push", metavar="SITE", help="send the files named on standard input to the primary"
    )
    mode.add_argument("--pull", metavar="SITE", help="copy this site's files now")
    mode.add_argument(
        "--serve", action="store_true", help="fetch files that processes open; run by systemd"
    )
    mode.add_argument(
        "--follow", action="store_true", help="copy files when they change; run by systemd"
    )
    chosen = parser.parse_args(arguments)
    try:
        settings = load(chosen.config or file_of_this_host())
        become(settings.user)
        os.umask(0o022)
        settings.folder.mkdir(exist_ok=True)
        if chosen.push:
            given = sys.stdin.buffer.read().split(b"\0")
            names = [os.fsdecode(name) for name in given if name]
            return on_request(settings, chosen.push, lambda: push(settings, chosen.push, names))
        if chosen.serve:
            # The other modes are run often and need none of it.
            from benchfleet_sync.fetch import serve

            return serve(settings)
        if chosen.follow:
            from benchfleet_sync.follow import follow

            return follow(settings)
        if chosen.pull:
            return on_request(settings, chosen.pull, lambda: pull_on_request(settings, chosen.pull))
        ensure = None if chosen.ensure is None else [n for n in chosen.ensure.split(",") if n]
        return run(settings, chosen.wait, ensure)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except BusyError as error:
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} skipped: {error}")
        return 3
    except (ConfigError, OSError) as error:
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} FAILED {error}")
        return 2 if isinstance(error, ConfigError) else 1


if __name__ == "__main__":
    sys.exit(main())
