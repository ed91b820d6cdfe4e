"""The sites of a bench, from their folders."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ..bench.files import other_database, refused_keys
from ..foreign import as_owner, open_plain, read_bytes

# A host name, and a name that nginx, rsync and a path take as it is.
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
# In the sites folder: the sites of the fleet, for the reporting hosts.
LIST = ".fleet-sites.json"
NO_HOST_NAME = "its name is not a valid host name, so no browser could call it"


class SiteError(Exception):
    """A site cannot be served as it is; the message says what to do."""


@dataclass(frozen=True)
class Site:
    """A site's database and account, as its site_config.json has them.

    names: its further names. refused: keys with which no fleet can work. rights: those of its
    account on its database, where MariaDB was asked.
    """

    name: str
    database: str
    user: str
    password: str
    encrypted: bool
    names: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()


def further_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The further names of a site in its site_config.json, without those that are not valid.

    They are in ``domains``, as `bench setup add-domain` writes it: a list of names, or of {domain,
    ssl_certificate, ssl_certificate_key}; and in ``host_name``, the address used in links.
    """
    domains = config.get("domains")
    named = [
        entry.get("domain") if isinstance(entry, dict) else entry
        for entry in (domains if isinstance(domains, list) else [])
    ]
    if isinstance(host_name := config.get("host_name"), str):
        with suppress(ValueError):
            named.append(urlsplit(host_name if "//" in host_name else f"//{host_name}").hostname)
    found = (name.lower() for name in named if isinstance(name, str))
    return tuple(dict.fromkeys(name for name in found if is_name(name)))


def is_name(name: str) -> bool:
    """Whether a site can be called by a name: it is a host name or an IPv4 address."""
    return bool(NAME.fullmatch(name))


def own_account(config: Mapping[str, Any]) -> tuple[str, str]:
    """User and password of a site's account in its site_config.json, "" for none."""
    user = config.get("db_user") or config.get("db_name") or ""
    return str(user), str(config.get("db_password") or "")


def parse_site(name: str, text: str, path: str) -> Site:
    """A site from the text of its site_config.json. Raises SiteError naming ``path``."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SiteError(f"{path} is not valid JSON ({error}); correct it and run again") from error
    if not isinstance(config, dict):
        raise SiteError(f"{path} is not a JSON object; correct it and run again")
    if kind := other_database(config, {}):
        raise SiteError(f"{path} has a database of another kind, {kind}: a fleet needs MariaDB")
    for key in ("db_name", "db_password"):
        if not isinstance(config.get(key), str) or not config[key]:
            raise SiteError(f"{path} has no {key}: the site was not made completely")
    return Site(
        name,
        config["db_name"],
        *own_account(config),
        bool(config.get("encryption_key")),
        further_names(config),
        tuple(refused_keys(config, site=True)),
    )


def making_note(state_dir: str, site: str) -> str:
    """Path of the file that exists until site.yml has made a site completely."""
    return f"{state_dir}/making-site-{site}"


def made_note(state_dir: str, site: str) -> str:
    """Path of the file that shows that this site existed, so that site.yml never makes it again."""
    return f"{state_dir}/made-site-{site}"


def is_locked(path: str) -> bool:
    """Whether another process holds a lock (flock) on a file; only a plain file can be locked.

    The file belongs to the bench's account, and Frappe locks only plain files.
    """
    try:
        with open(open_plain(path, follow=False), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@dataclass(frozen=True)
class Folders:
    """The sites folder of the primary's bench. ``state_dir`` is the fleet's folder on that host.

    Root reads it with the rights of the folder's owner; see module_utils/fleet/foreign.py.
    """

    sites: str
    state_dir: str

    def config(self, site: str) -> str:
        """Path of a site's configuration."""
        return f"{self.sites}/{site}/site_config.json"

    def names(self) -> list[str]:
        """Folders that are sites. A link to one is not: it is another name for the same site."""
        try:
            with as_owner(f"{self.sites}/-"), os.scandir(self.sites) as entries:
                return sorted(
                    entry.name
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                    and os.path.isfile(self.config(entry.name))
                )
        except FileNotFoundError:
            return []

    def links(self, names: Iterable[str]) -> dict[str, str]:
        """Links in the sites folder that lead to a site's folder: name of the link -> site.

        names: those of the sites.
        """
        names, found = set(names), {}
        with as_owner(f"{self.sites}/-"):
            for link in os.listdir(self.sites) if names else ():
                path = f"{self.sites}/{link}"
                if os.path.islink(path):
                    folder, site = os.path.split(os.path.realpath(path))
                    if site in names and folder == os.path.realpath(self.sites):
                        found[link] = site
        return dict(sorted(found.items()))

    def unfinished(self, site: str) -> bool:
        """Whether a site is still being made, by Frappe's new-site or by site.yml.

        Frappe 14 removes its file at the end; from 15 on the file stays, but is locked only
        meanwhile (frappe.installer, filelock "bench_new_site").
        """
        locks = f"{self.sites}/{site}/locks"
        with as_owner(f"{self.sites}/-"):
            begun = os.path.exists(f"{locks}/installing.lock")
            locked = begun or is_locked(f"{locks}/bench_new_site.lock")
        return locked or os.path.exists(making_note(self.state_dir, site))

    def fingerprint(self, *others: str) -> str:
        """A text that changes when the sites or the other files do; cheap, as no file is opened."""
        seen: list[Any] = []
        names = self.names()
        for path in [*others, *(self.config(name) for name in names)]:
            try:
                with as_owner(path):
                    state = os.stat(path)
            except OSError:
                continue
            seen.append([path, state.st_ino, state.st_mtime_ns, state.st_size])
        seen.append([name for name in names if self.unfinished(name)])
        seen.append(self.links(names))
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()

    def look(
        self, listed: list[str], known: dict[str, str]
    ) -> tuple[dict[str, Site], dict[str, str], dict[str, str]]:
        """The sites, what is wrong with those of ``known``, and what with other folders.

        listed: sites of the inventory. known: sites that were served before. Where the
        configuration of a known site cannot be read, the site is served as before, because Frappe
        rewrites the file in place and the next look finds it complete. For a listed site that was
        not served before, this raises SiteError. Other folders may be incomplete, or no sites.
        """
        found: dict[str, Site] = {}
        torn: dict[str, str] = {}
        passed: dict[str, str] = {}
        names = self.names()
        for name in names:
            ours = name in listed or name in known
            if not is_name(name):
                passed[name] = NO_HOST_NAME
                continue
            if not ours and self.unfinished(name):
                passed[name] = "it is still being made"
                continue
            path = self.config(name)
            try:
                found[name] = parse_site(name, read_bytes(path).decode(), path)
            except (SiteError, OSError, UnicodeDecodeError) as error:
                if name in known:
                    torn[name] = str(error)
                elif name in listed:
                    raise SiteError(str(error)) from error
                else:
                    passed[name] = str(error)
        for link, site in self.links(names).items():
            if site in found and is_name(link):
                called = (*found[site].names, link.lower())
                found[site] = replace(found[site], names=tuple(dict.fromkeys(called)))
        return found, torn, passed


def further_and_doubtful(
    sites: Iterable[Site], given: Mapping[str, Iterable[str]]
) -> tuple[dict[str, list[str]], list[str]]:
    """The further names of each site, and messages on names that are not served.

    given: names that the inventory gives to sites. A site's own name is always its own; then the
    inventory counts. A name that several sites claim is not served: the bench's account can write
    the files, and no site may get the calls of another.
    """
    sites = sorted(sites, key=lambda site: site.name)
    own = {site.name.lower() for site in sites}
    claims: dict[str, list[str]] = {}
    for site in sites:
        for name in given.get(site.name, ()):
            claims.setdefault(name.lower(), []).append(site.name)
    taken = own | set(claims)
    for site in sites:
        for name in site.names:
            if name not in taken:
                claims.setdefault(name, []).append(site.name)
    found: dict[str, list[str]] = {}
    doubtful = []
    for name, claimed in sorted(claims.items()):
        if len(claimed) == 1:
            found.setdefault(claimed[0], []).append(name)
        else:
            doubtful.append(
                f"{name} is not served: {' and '.join(claimed)} have it in site_config.json, or as"
                " a link; remove it from all but one of them"
            )
    return found, doubtful


def read_state(state_dir: str) -> dict[str, Any] | None:
    """The result of the last look on this host, None before the first.

    {sites: {name: database}, names: {site: [further name]}, lost: [name], notes: [line],
    fingerprint}. Raises SiteError when it cannot be read.
    """
    path = f"{state_dir}/sites.json"
    try:
        with open(path, encoding="utf-8") as source:
            state = json.load(source)
        found = {key: state[key] for key in ("sites", "lost", "notes", "fingerprint")}
        return found | {"names": state.get("names", {})}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SiteError(f"{path} cannot be read ({error!r}); remove it and run again") from error


def served(state: dict[str, Any] | None) -> list[str]:
    """The sites to which nginx sends calls."""
    return sorted(set(state["sites"]) - set(state["lost"])) if state else []


def served_names(state: dict[str, Any] | None) -> dict[str, list[str]]:
    """The same, each with its further names."""
    return {name: state["names"].get(name, []) for name in served(state)} if state else {}


def parse_list(text: str) -> list[str]:
    """Names in a list of sites. Raises SiteError where it is not valid."""
    try:
        names = json.loads(text)["sites"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise SiteError(f"the list of sites cannot be read ({error!r})") from error
    wrong = [name for name in names if not isinstance(name, str) or not is_name(name)]
    if wrong:
        raise SiteError(f"the list of sites names {wrong[0]!r}, which cannot be a site")
    return sorted(names)


def render_list(names: list[str]) -> str:
    """The list of sites as a file."""
    return json.dumps({"sites": sorted(names)}, indent=1) + "\n"
