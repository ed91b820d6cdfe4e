"""The small files of the sites folder: read in the staging folder, then put in place."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet.bench.files import apps_in, for_node
from fleet.sites.credentials import read_only_password, read_only_user, replica_keys
from fleet.sites.folders import LIST, SiteError, parse_list, parse_site

from benchfleet_sync.files import write_if_different
from benchfleet_sync.mark import Outcome
from benchfleet_sync.names import ASSET_LISTS, FOLDERS
from benchfleet_sync.primary import SyncError
from benchfleet_sync.settings import Settings

# Frappe expects these in every site; each host has its own, and they are never copied.
OWN_FOLDERS = ("locks", "logs", "private/backups")
# Seconds that the replica has to let an account in.
LOGIN_SECONDS = 5


def staging_filters() -> list[str]:
    """rsync options that select only the small files; missing ones are no error."""
    wanted = ["/apps.txt", "/currentsite.txt", f"/{LIST}", *(f"/{name}" for name in ASSET_LISTS)]
    wanted += ["/*/", "/*/site_config.json"]
    return [*(f"--include={path}" for path in wanted), "--exclude=*"]


def read_list(path: Path) -> list[str]:
    """Names in a list of sites, none where there is no list. Raises SyncError."""
    try:
        return parse_list(path.read_text())
    except FileNotFoundError:
        return []
    except (SiteError, OSError, ValueError) as error:
        raise SyncError(f"{path}: {error}") from error


def staged_list(settings: Settings) -> list[str]:
    """The primary's list of sites. Raises SyncError when it is missing or empty."""
    names = read_list(settings.staging / LIST)
    if not names:
        raise SyncError(
            "the primary has no list of its sites; the copy here stays as it is. Check that its"
            " sites folder exists, and run site.yml, which writes the list"
        )
    return names


def merge_site_config(text: str) -> dict[str, Any]:
    """The primary's site_config.json as this host needs it.

    Keys for the primary only are dropped, so that this bench's common_site_config.json decides: see
    the table in fleet/bench/files.py. Raises SyncError when the text is not a JSON object with
    db_name and db_password: it may have been copied while Frappe was writing the file.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise SyncError(f"is not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise SyncError("is not a JSON object")
    for key in ("db_name", "db_password"):
        if not isinstance(config.get(key), str) or not config[key]:
            raise SyncError(f"has no {key}")
    return for_node(config)


def own_keys(settings: Settings, site: str, text: str) -> dict[str, Any]:
    """The keys with which Frappe reads a site from this host's replica. Raises SyncError."""
    try:
        database = parse_site(site, text, f"{site}/site_config.json").database
        password = settings.passwords.get(site) or read_only_password(settings.site_key, database)
        return replica_keys(
            settings.major,
            database,
            read_only_user(database),
            password,
            settings.replica_host,
            settings.replica_port,
        )
    except SiteError as error:
        raise SyncError(str(error)) from error


def is_known(site: dict[str, Any], ca: str) -> bool:
    """Whether the replica lets in the account with which a site_config.json has Frappe read.

    ca: the fleet's CA.
    """
    import pymysql

    user = site.get("replica_db_user") or site.get("replica_db_name") or site.get("db_user")
    try:
        pymysql.connect(
            host=site["replica_host"],
            port=site["replica_db_port"],
            user=user or site["db_name"],
            password=site.get("replica_db_password") or site["db_password"],
            database=site["db_name"],
            ssl={"ca": ca},
            connect_timeout=LOGIN_SECONDS,
            read_timeout=LOGIN_SECONDS,
        ).close()
    except (pymysql.MySQLError, OSError):
        return False
    return True


def has_keys(path: Path, keys: dict[str, Any]) -> bool:
    """Whether a site_config.json already has these keys."""
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and keys.items() <= config.items()


def place_site_config(settings: Settings, site: str, outcome: Outcome) -> None:
    """Put one staged site_config.json in place and add to the counts. Raises SyncError.

    The replica's keys are added once the replica has the account. They stay while the replica is
    down.
    """
    staged = settings.staging / site / "site_config.json"
    try:
        text = staged.read_text()
    except (OSError, ValueError) as error:
        raise SyncError(
            f"{site}: the primary has no readable site_config.json ({error}); check that the site"
            " exists there"
        ) from error
    home = settings.folder / site
    target = home / "site_config.json"
    try:
        merged = merge_site_config(text)
        keys = own_keys(settings, site, text)
    except SyncError as error:
        raise SyncError(
            f"{site}: the primary's site_config.json {error}; the last valid one stays"
        ) from error
    if has_keys(target, {**keys, "db_name": merged["db_name"]}) or is_known(
        merged | keys, str(settings.path.parent / "tls/ca.crt")
    ):
        merged |= keys
    else:
        outcome.waiting.append(site)
    for name in (*OWN_FOLDERS, *FOLDERS):
        (home / name).mkdir(parents=True, exist_ok=True)
    # As on the primary: other accounts cannot list it.
    (home / "private").chmod(0o751)
    # As Frappe itself writes it.
    text = json.dumps(merged, indent=1, sort_keys=True)
    outcome.configs += write_if_different(target, text, 0o600)


def remove_site(settings: Settings, site: str) -> None:
    """Remove the folder of a site that the primary dropped. Raises SyncError."""
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(settings.folder / site)
    except OSError as error:
        raise SyncError(f"{site}: its folder could not be removed ({error})") from error


def place_lists(settings: Settings, sites: list[str]) -> int:
    """Put apps.txt, currentsite.txt and the asset lists in place; returns how many differed.

    An apps.txt with an app that this bench does not have would break every command of the bench, so
    it is not used until site.yml has installed the app. Raises SyncError for that, and for an
    invalid asset list.
    """
    changed = 0
    problems = []
    apps = settings.staging / "apps.txt"
    if apps.is_file():
        text = apps.read_text()
        missing = [name for name in apps_in(text) if not (settings.bench / "apps" / name).is_dir()]
        if missing:
            problems.append(
                f"apps.txt of the primary has {', '.join(missing)}, which this bench does not have;"
                " run site.yml"
            )
        else:
            changed += write_if_different(settings.folder / "apps.txt", text, 0o644)
    current = settings.staging / "currentsite.txt"
    if current.is_file() and current.read_text().strip() in sites:
        changed += write_if_different(
            settings.folder / "currentsite.txt", current.read_text(), 0o644
        )
    for name in ASSET_LISTS:
        staged = settings.staging / name
        if not staged.is_file():
            continue
        text = staged.read_text()
        try:
            json.loads(text)
        except ValueError:
            problems.append(f"{name} of the primary is not valid JSON; the last valid one stays")
            continue
        target = settings.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        changed += write_if_different(target, text, 0o644)
    if problems:
        raise SyncError("; ".join(problems))
    return changed
