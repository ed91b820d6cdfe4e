"""Users of the bench's two Redis instances: one for each host's bench, for root, and for copies.

Each user needs a password. The benches' passwords are in their common_site_config.json; root's is
in a file beside Redis' settings that only root can read. The one for copies is in a file that only
root and the account of Redis can read. Redis' own files have hashes.
"""

from __future__ import annotations

import grp
import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..bench.account import read_text
from ..bench.files import redis_settings
from ..foreign import replace
from .client import Redis, RedisError
from .replication import ANNOUNCED, SETTINGS_FILE, lan_address

INSTANCES = ("cache", "queue")
ADMIN = "benchfleet"
# Root's password, in the folder of Redis' settings.
ADMIN_FILE = "admin"
DEFAULT = "default"
# As this user, the standby's queue copies the primary's, and after a switch the other way round.
COPIER = "benchfleet-copy"
COPIES = ("+psync", "+replconf", "+ping")

# What any app may do with its data: Frappe's wrapper of the cache (utils/redis_wrapper.py), RQ and
# the operator's own apps may use all commands of each type, except those that Redis calls
# dangerous: FLUSHALL, FLUSHDB, MIGRATE, RESTORE, SORT, SWAPDB, CLIENT KILL and CLIENT PAUSE.
DATA = (
    *("string", "hash", "list", "set", "sortedset", "stream", "bitmap", "hyperloglog", "geo"),
    # MULTI of RQ and the wrapper; PUBLISH and SUBSCRIBE of realtime, RQ's commands and the cache.
    *("keyspace", "transaction", "pubsub"),
    # AUTH, HELLO, SELECT, PING; CLIENT SETNAME and SETINFO of redis-py and @redis/client; CLIENT ID
    # and TRACKING of Frappe 16's client cache.
    "connection",
)
COMMON = (
    *(f"+@{group}" for group in DATA),
    "-@dangerous",
    "-@admin",
    # Frappe: clear_cache and delete_keys look for keys by pattern.
    "+keys",
    # RQ reads the server's version, Frappe's System Health Report its memory.
    "+info",
    # benchfleet_jobs/presence.py uses Redis' clock.
    "+time",
    # Locks of redis-py, RQ's cleanup, benchfleet_jobs/presence.py.
    *("+eval", "+evalsha", "+script|load", "+script|exists"),
)
FURTHER: dict[str, tuple[str, ...]] = {
    "cache": (),
    # A worker of RQ looks up its own address.
    "queue": ("+client|list",),
}
# Nodes do not build, they copy the primary's build: `bench build` of Frappe 16 empties the cache.
PRIMARY: dict[str, tuple[str, ...]] = {"cache": ("+flushdb",), "queue": ()}

# What no bench may do, each with valid arguments: verify asks Redis about them.
FORBIDDEN = (
    ("CONFIG", "SET", "dir", "/"),
    ("CONFIG", "GET", "*"),
    ("MODULE", "LIST"),
    ("REPLICAOF", "NO", "ONE"),
    ("DEBUG", "SLEEP", "0"),
    ("ACL", "LIST"),
    ("MONITOR",),
    ("SAVE",),
    ("SHUTDOWN",),
    ("FLUSHALL",),
    ("MIGRATE", "h", "1", "k", "0", "1"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("FUNCTION", "FLUSH"),
    ("SCRIPT", "FLUSH"),
)
# Older refusals are not reported.
NEWS_SECONDS = 24 * 3600


class UsersError(Exception):
    """Redis' users cannot be made as wanted; the message has place and remedy."""


class Fault(NamedTuple):
    """Something wrong with the users of a Redis.

    id: "differs" (the user is not as in the file), "former_password" (it is still accepted),
    "shared_password" (all benches' former one is), "allowed" or "refused" (detail: the command).
    """

    id: str
    user: str
    detail: str = ""

    def __str__(self) -> str:
        """For the operator."""
        return {
            "differs": f"user {self.user} differs from its line in the file",
            "former_password": f"a former password of {self.user} is still accepted",
            "shared_password": "the former password of all benches is still accepted",
            "allowed": f"{self.user} may use {self.detail}",
            "refused": f"refused to {self.user}: {self.detail}",
        }[self.id]


def bench_user(host: str) -> str:
    """Redis' user of a host's bench."""
    return f"bench-{host}"


def hashed(password: str) -> str:
    """A password as Redis' own files have it."""
    return hashlib.sha256(password.encode()).hexdigest()


def copier_password(admin: str) -> str:
    """The password of COPIER: derived from root's, so that every host has the same."""
    return hmac.new(admin.encode(), b"benchfleet: copies of the queue", hashlib.sha256).hexdigest()


def copier_settings(admin: str) -> dict[str, str]:
    """Settings with which Redis copies another one, or is copied. admin: root's password.

    With one standby there is no other copy to wait for before data is sent.
    """
    return {
        "masteruser": COPIER,
        "masterauth": copier_password(admin),
        "repl-diskless-sync-delay": "0",
    }


def rights(instance: str, primary: bool) -> tuple[str, ...]:
    """What a bench may do, in the terms of Redis' rules."""
    return ("~*", "&*", *COMMON, *FURTHER[instance], *(PRIMARY[instance] if primary else ()))


def rule(hashes: Iterable[str], allowed: Iterable[str]) -> tuple[str, ...]:
    """The rule of an enabled user with these passwords."""
    return ("on", SANITIZE, *(f"#{one}" for one in sorted(hashes)), *allowed)


# Redis adds this when a user is reset, but not when it reads a file.
SANITIZE = "sanitize-payload"
# No client can sign in. Redis reads its own append-only file as this user, and would skip every
# transaction that the user may not do.
OFF = ("off", SANITIZE, "resetpass", "~*", "&*", "+@all")


def users(
    instance: str, primary: str, passwords: Mapping[str, set[str]], admin: str
) -> dict[str, tuple[str, ...]]:
    """The rule of each user of an instance.

    passwords: hashes for each host's bench, for COPIER, and for ``default`` while a bench may still
    use it. admin: the hash of root's password.
    """
    found = {ADMIN: rule([admin], ("~*", "&*", "+@all"))}
    for name, hashes in sorted(passwords.items()):
        if name in (DEFAULT, COPIER):
            continue
        found[bench_user(name)] = rule(hashes, rights(instance, name == primary))
    if instance == "queue":
        found[COPIER] = rule(passwords[COPIER], COPIES)
    former = passwords.get(DEFAULT)
    # Last: until then it may be the account that makes the others.
    found[DEFAULT] = rule(former, rights(instance, True)) if former else OFF
    return found


def text(wanted: Mapping[str, tuple[str, ...]]) -> str:
    """Redis' file of users. It has no comments, because Redis does not allow them there."""
    return "".join(f"user {name} {' '.join(words)}\n" for name, words in wanted.items())


def rules_in(acl: str) -> dict[str, tuple[str, ...]]:
    """The rule of each user in a file of users, as ``text`` wrote them."""
    lines = (line.split() for line in acl.splitlines())
    return {words[1]: tuple(words[2:]) for words in lines if len(words) > 2 and words[0] == "user"}


def known_hashes(acl: str) -> dict[str, set[str]]:
    """Password hashes of each user in a file of users."""
    return {
        name: {word[1:] for word in words if re.fullmatch(r"#[0-9a-f]{64}", word)}
        for name, words in rules_in(acl).items()
    }


def former_hashes(acl: str | None, conf: str | None) -> dict[str, set[str]]:
    """Hashes of the passwords that Redis accepts so far.

    acl: its file of users; None: a fleet of an older Benchfleet, or none yet. conf: its settings,
    which had one password for all benches then.
    """
    if acl is not None:
        return known_hashes(acl)
    one = redis_settings(conf or "").get("requirepass", "")
    return {DEFAULT: {hashed(one)}} if one else {}


def passwords_of(
    hosts: Mapping[str, str], admin: str, former: Mapping[str, set[str]], keep: bool
) -> dict[str, set[str]]:
    """Hashes by host, for COPIER, and for ``default`` where it has one: see users.

    keep: passwords that Redis accepts so far stay, except those of hosts that have left.
    """
    found = {name: {hashed(password)} for name, password in hosts.items()}
    found[COPIER] = {hashed(copier_password(admin))}
    if keep:
        for name in found:
            found[name] |= former.get(COPIER if name == COPIER else bench_user(name), set())
        if former.get(DEFAULT):
            found[DEFAULT] = set(former[DEFAULT])
    return found


def port_of(conf: str) -> int:
    """The port in the text of one Redis' settings."""
    return int(redis_settings(conf)["port"])


def redis_admin(conf: str) -> Redis:
    """Root's connection to this host's Redis that has these settings. Raises OSError, RedisError.

    conf: their path.
    """
    known = Path(conf).read_text(encoding="utf-8")
    # A fleet of an older Benchfleet: all have the same password, with all rights.
    if former := redis_settings(known).get("requirepass", ""):
        return Redis("127.0.0.1", port_of(known), former)
    password = (Path(conf).parent / ADMIN_FILE).read_text(encoding="utf-8").strip()
    return Redis("127.0.0.1", port_of(known), password, ADMIN)


def state(redis: Redis, name: str) -> dict[str, list[str]]:
    """A user as Redis has it, in a form that can be compared; {} for none."""
    answer = redis.ask("ACL", "GETUSER", name) or []
    pairs = dict(zip(answer[::2], answer[1::2], strict=True))
    return {
        key: sorted(value.split() if isinstance(value, str) else map(json.dumps, value))
        for key, value in pairs.items()
    }


# A user that exists while a rule is compared with what Redis has.
PROBE = "benchfleet-compared"


def live_changes(redis: Redis, wanted: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names of users that differ in Redis from these, or that should not exist."""
    changed = []
    for name, words in wanted.items():
        redis.ask("ACL", "SETUSER", PROBE, "reset", *words)
        # Redis stores a rule in another form, so both are compared in Redis' form.
        if state(redis, name) != state(redis, PROBE):
            changed.append(name)
    redis.ask("ACL", "DELUSER", PROBE)
    there = redis.ask("ACL", "USERS")
    return changed + sorted(name for name in there if name not in {*wanted, PROBE})


def apply(redis: Redis, wanted: Mapping[str, tuple[str, ...]], changed: Iterable[str]) -> None:
    """Change these users in Redis; connections of others stay.

    The connections of a removed user end, and those of a default user that is turned off.
    """
    names = sorted(changed, key=lambda name: name == DEFAULT)
    for name in names:
        if name not in wanted:
            redis.ask("ACL", "DELUSER", name)
            continue
        redis.ask("ACL", "SETUSER", name, "reset", *wanted[name])
        if wanted[name] == OFF:
            redis.ask("CLIENT", "KILL", "USER", name)


def sign_in(port: int, passwords: Iterable[str], conf: str) -> Redis | None:
    """A connection that may change users; None where no Redis runs at this port.

    passwords: root's, the new one first. Raises UsersError where Redis does not let root in.
    """
    # Of a fleet of an older Benchfleet; where a run was cut off, either may be in force.
    former = redis_settings(conf).get("requirepass", "")
    refusal = ""
    for user, secret in (*((ADMIN, one) for one in passwords), (None, former)):
        if not secret:
            continue
        try:
            return Redis("127.0.0.1", port, secret, user)
        except ConnectionRefusedError:
            return None
        except (OSError, RedisError) as error:
            refusal = str(error)
    raise UsersError(
        f"Redis at 127.0.0.1:{port} does not let root in ({refusal}): it runs with other settings"
        " than those in its file. Restart it (`supervisorctl restart` with the bench's Redis group)"
        " and run again"
    )


def refusals(redis: Redis, names: Iterable[str]) -> list[Fault]:
    """Commands that Redis refused to these users within a day, each with its count."""
    found = []
    for answer in redis.ask("ACL", "LOG", "128"):
        entry = dict(zip(answer[::2], answer[1::2], strict=True))
        new = float(entry["age-seconds"]) < NEWS_SECONDS
        if new and entry["reason"] != "auth" and entry["username"] in set(names):
            what = entry["object"] if entry["reason"] == "command" else entry["reason"]
            found.append(Fault("refused", entry["username"], f"{what}, {entry['count']} times"))
    return found


def allowed_wrongly(redis: Redis, name: str) -> list[str]:
    """Commands of FORBIDDEN that Redis would run for a user; none is run by asking."""
    return [
        " ".join(words) for words in FORBIDDEN if redis.ask("ACL", "DRYRUN", name, *words) == "OK"
    ]


def faults(redis: Redis, acl: str) -> list[Fault]:
    """What is wrong with the users of a Redis. acl: the content of its file of users."""
    wanted = rules_in(acl)
    found = [Fault("differs", name) for name in live_changes(redis, wanted)]
    for name, hashes in known_hashes(acl).items():
        if name == DEFAULT and hashes:
            found.append(Fault("shared_password", name))
        elif len(hashes) > 1:
            found.append(Fault("former_password", name))
        if name not in (ADMIN, DEFAULT):
            found += [Fault("allowed", name, command) for command in allowed_wrongly(redis, name)]
    return found + refusals(redis, wanted)


def file_of(folder: str, instance: str) -> str:
    """Path of an instance's file of users."""
    return os.path.join(folder, f"redis_{instance}.acl")


def conf_of(folder: str, instance: str) -> str:
    """Path of an instance's settings."""
    return os.path.join(folder, f"redis_{instance}.conf")


class Users:
    """Makes the users of both instances. asked: the options of the module redis_users."""

    def __init__(self, asked: Mapping[str, Any], dry: bool) -> None:
        self.asked, self.dry = asked, dry
        self.folder: str = asked["path"]
        self.did: list[str] = []
        # Whether a former password is still accepted.
        self.former = False

    def bring(self) -> None:
        """Change both instances, and root's file. Raises UsersError, OSError, RedisError."""
        try:
            group = grp.getgrnam(self.asked["group"]).gr_gid
        except KeyError:
            if not self.dry:
                raise UsersError(f"there is no group {self.asked['group']} on this host") from None
            group = 0
        if not os.path.isdir(self.folder):
            self.did.append(f"make {self.folder}")
            if not self.dry:
                os.mkdir(self.folder, 0o750)
                os.chown(self.folder, 0, group)
        file = os.path.join(self.folder, ADMIN_FILE)
        admins = [self.asked["admin"], (read_text(file) or "").strip()]
        for instance in INSTANCES:
            self.instance(instance, group, admins)
        lines = [f'{name} "{value}"\n' for name, value in copier_settings(admins[0]).items()]
        self.put(os.path.join(self.folder, SETTINGS_FILE), "".join(lines), group, 0o640)
        # Last: until both instances know the new one, the former one may be needed.
        self.put(file, self.asked["admin"] + "\n", 0, 0o600)

    def put(self, path: str, content: str, group: int, mode: int) -> None:
        """Write a file where its content differs."""
        if read_text(path) != content:
            self.did.append(f"write {path}")
            if not self.dry:
                replace(path, content.encode(), mode, (0, group))

    def instance(self, instance: str, group: int, admins: list[str]) -> None:
        """Change one instance: the running Redis, then its file, which the next run compares.

        admins: root's passwords, the new one first.
        """
        path = file_of(self.folder, instance)
        conf = read_text(conf_of(self.folder, instance))
        former = former_hashes(read_text(path), conf)
        passwords = passwords_of(
            self.asked["hosts"], self.asked["admin"], former, self.asked["keep"]
        )
        self.former |= DEFAULT in passwords or any(len(one) > 1 for one in passwords.values())
        wanted = users(instance, self.asked["primary"], passwords, hashed(self.asked["admin"]))
        # Without settings of ours, what listens there is not ours.
        if conf is not None and not self.dry:
            redis = sign_in(port_of(conf), admins, conf)
            if redis is not None:
                with redis:
                    changed = live_changes(redis, wanted)
                    # First: it may be signed in as a user that loses the right.
                    if instance == "queue":
                        self.copying(redis, conf)
                    apply(redis, wanted, changed)
                self.did += [f"{instance}: {name}" for name in changed]
        self.put(path, text(wanted), group, 0o640)

    def copying(self, redis: Redis, conf: str) -> None:
        """Give the running Redis what it needs to copy another one."""
        wanted = copier_settings(self.asked["admin"])
        for name, value in {**wanted, ANNOUNCED: lan_address(conf)}.items():
            if redis.ask("CONFIG", "GET", name) != [name, value]:
                redis.ask("CONFIG", "SET", name, value)
                self.did.append(f"queue: {name}")
