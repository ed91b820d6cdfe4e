"""The demo framework's core: request state, configuration, database and cache handles, decorators.

Names and meanings are the Frappe framework's, as far as Benchfleet depends on them; README.md in
the repository's root says what is missing.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import secrets
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from werkzeug.local import Local, release_local

from frappe import config as _config
from frappe.config import Config
from frappe.exceptions import (
    AppNotInstalledError,
    AuthenticationError,
    DoesNotExistError,
    IncorrectSitePath,
    InReadOnlyMode,
    PermissionError,  # noqa: A004  (the framework's own name)
    SessionStopped,
    ValidationError,
)

# The lab's branch version-16 calls itself 16.0.0+demo, and then some things are as they are there.
__version__ = "15.44.0+demo"
SINCE_16 = int(__version__.split(".")[0]) >= 16

local = Local()
db = local("db")
conf = local("conf")
flags = local("flags")
form_dict = local("form_dict")
request = local("request")
response = local("response")
session = local("session")

# A RedisWrapper from the first init() on, and in 16 a ClientCache before it.
cache: Any = None
client_cache: Any = None

whitelisted: set[Callable] = set()
guest_methods: set[Callable] = set()
allowed_http_methods: dict[Callable, list[str]] = {}


def init(
    site: str,
    sites_path: str = ".",
    new_site: bool = False,
    force: bool = False,
    calling: Any = None,
) -> None:
    """Set up this thread's state for a site; "" means the bench alone. No connection is made.

    calling: the request that is to be answered; then the site's apps may be asked of the database.
    """
    if getattr(local, "initialised", None) and not force:
        return
    local.site = site
    local.sites_path = sites_path
    local.site_path = str(Path(sites_path, site))
    local.flags = Config(new_site=new_site, read_only=False)
    local.response = Config()
    local.form_dict = Config()
    local.session = Config()
    local.message_log = []
    local.meta = {}
    local.request = calling
    local.db = None
    local.conf = get_site_config()
    local.initialised = True
    _setup_cache()
    setup_module_map(include_all_apps=not (calling and local.conf.db_name))


def setup_module_map(include_all_apps: bool = True) -> None:
    """Note which modules the apps have: of the bench, or for a call those of the site alone.

    Kept faults: what the shared cache says is taken, whatever apps have come since; and an app that
    this process cannot import ends every call.
    """
    key = "app_modules" if include_all_apps else "installed_app_modules"
    local.app_modules = cache.get_value(key)
    if not local.app_modules:
        apps = get_all_apps() if include_all_apps else _apps_here()
        local.app_modules = {app: get_module_list(app) for app in apps}
        cache.set_value(key, local.app_modules)


def get_module_list(app: str) -> list[str]:
    """Return the folders of an app's modules; ImportError for one that is not there."""
    listing = Path(importlib.import_module(app).__file__ or "").parent / "modules.txt"
    lines = listing.read_text().splitlines() if listing.is_file() else []
    return [line.strip().replace(" ", "_").lower() for line in lines if line.strip()]


def _setup_cache() -> None:
    global cache, client_cache
    if cache is None:
        from frappe.utils.redis_wrapper import ClientCache, setup_cache

        cache = setup_cache()
        client_cache = ClientCache(cache) if SINCE_16 else cache


@contextmanager
def init_site(site: str | None = None) -> Iterator[None]:
    """Run a block with a site's (or the bench's) configuration loaded."""
    init(site or "", force=True)
    try:
        yield
    finally:
        destroy()


def get_site_config(sites_path: str | None = None, site_path: str | None = None) -> Config:
    """Return the configuration in force; IncorrectSitePath if the site has none."""
    sites_path = sites_path or getattr(local, "sites_path", ".")
    site_path = site_path or getattr(local, "site_path", None)
    site = getattr(local, "site", "")
    file = Path(site_path or sites_path) / "site_config.json"
    if site and not file.exists() and not local.flags.new_site:
        raise IncorrectSitePath(f"{site} does not exist.")
    own = _config.read(file) if site else {}
    return _config.overlay(get_common_site_config(sites_path), own, os.environ)


def get_common_site_config(sites_path: str | None = None) -> Config:
    """Return the bench's common configuration file, parsed."""
    folder = sites_path or getattr(local, "sites_path", ".")
    return Config(_config.read(Path(folder) / "common_site_config.json"))


def get_conf() -> Config:
    """Return the site's configuration if one is loaded, else the bench's."""
    if getattr(local, "initialised", None):
        return local.conf
    return _config.overlay(get_common_site_config("."), {}, os.environ)


def connect(set_admin_as_user: bool = True) -> None:
    """Open (at the first statement) the connection to the site's primary database."""
    from frappe.database import get_db

    local.db = get_db(
        socket=local.conf.db_socket,
        host=local.conf.db_host,
        port=local.conf.db_port,
        user=local.conf.db_user,
        password=local.conf.db_password,
        cur_db_name=local.conf.db_name,
    )
    if set_admin_as_user:
        set_user("Administrator")


def connect_replica() -> bool:
    """Put the replica's connection in the primary's place; False if this request did so before.

    Kept faults of the original: no fallback when the replica is away, no read timeout, and only
    the first top-level read_only call of a request gets here with an effect.
    """
    from frappe.database import get_db

    if hasattr(local, "replica_db") and hasattr(local, "primary_db"):
        return False
    conf = local.conf
    user, password = conf.db_user if SINCE_16 else conf.db_name, conf.db_password
    if conf.different_credentials_for_replica:
        user = (conf.replica_db_user if SINCE_16 else None) or conf.replica_db_name
        password = conf.replica_db_password
    local.replica_db = get_db(
        host=conf.replica_host,
        port=conf.replica_db_port,
        user=user,
        password=password,
        cur_db_name=conf.db_name,
    )
    local.primary_db = local.db
    local.db = local.replica_db
    return True


def read_only() -> Callable:
    """Decorator: the call reads from the replica when the configuration has one."""

    def decorate(fn: Callable) -> Callable:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            # connect_replica is looked up in this module at each call: it may have been replaced.
            switched = connect_replica() if local.conf.read_from_replica else False
            try:
                return fn(*args, **_fitting(fn, kwargs))
            finally:
                if switched and hasattr(local, "primary_db"):
                    local.db.close()
                    local.db = local.primary_db

        return wrapper

    return decorate


def write_only() -> Callable:
    """Decorator: the call uses the primary, also while a read_only call reads from the replica."""

    def decorate(fn: Callable) -> Callable:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            primary = getattr(local, "primary_db", None)
            replica = getattr(local, "replica_db", None)
            reading = getattr(local, "db", None) is not primary
            if reading and primary:
                local.db = primary
            try:
                return fn(*args, **_fitting(fn, kwargs))
            finally:
                if reading and replica:
                    local.db = replica

        return wrapper

    return decorate


def whitelist(
    allow_guest: bool = False, xss_safe: bool = False, methods: list[str] | None = None
) -> Callable:
    """Decorator: the function may be called over HTTP, by guests too if `allow_guest`."""

    def decorate(fn: Callable) -> Callable:
        whitelisted.add(fn)
        allowed_http_methods[fn] = methods or ["GET", "POST", "PUT", "DELETE"]
        if allow_guest:
            guest_methods.add(fn)
        return fn

    return decorate


@whitelist(allow_guest=True)
def ping() -> str:
    """Answer."""
    return "pong"


def is_whitelisted(fn: Callable) -> None:
    """Raise PermissionError unless the session's user may call the function over HTTP."""
    guest = local.session.user in (None, "Guest")
    if fn not in whitelisted or (guest and fn not in guest_methods):
        raise PermissionError(f"Function {fn.__module__}.{fn.__name__} is not whitelisted.")
    if local.request and local.request.method not in allowed_http_methods[fn] + ["HEAD"]:
        raise PermissionError("Not permitted")


def _fitting(fn: Callable, kwargs: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(fn).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return {k: v for k, v in kwargs.items() if k not in ("cmd", "flags")}
    return {k: v for k, v in kwargs.items() if k in parameters}


def call(fn: str | Callable, *args: Any, **kwargs: Any) -> Any:
    """Call a function with those of the keyword arguments that it takes."""
    function = get_attr(fn) if isinstance(fn, str) else fn
    return function(*args, **_fitting(function, kwargs))


def get_attr(path: str) -> Any:
    """Return the object of a dotted name; a bare name is one of frappe.handler's.

    AppNotInstalledError for a name of an app that the site does not have.
    """
    module, _, name = path.rpartition(".")
    app = module.partition(".")[0]
    if app not in ("", "frappe") and app not in get_installed_apps():
        throw(f"App {app} is not installed", AppNotInstalledError)
    return getattr(importlib.import_module(module or "frappe.handler"), name)


def get_all_apps(*_: Any, sites_path: str | None = None, **__: Any) -> list[str]:
    """Return the apps of this bench, the framework first."""
    file = Path(sites_path or getattr(local, "sites_path", ".")) / "apps.txt"
    text = file.read_text().replace("\ufeff", "").strip() if file.exists() else ""
    lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
    return ["frappe", *(app for app in lines if app not in ("", "frappe"))]


def get_installed_apps() -> list[str]:
    """Return the apps installed on the site."""
    if not db:
        connect(set_admin_as_user=False)
    return json.loads(db.get_default("installed_apps") or "[]")


def _apps_here() -> list[str]:
    """Return those of the site's apps that are on the bench.

    Kept fault: on the bench that wrote the shared cache, which may be another one.
    """
    here = cache.get_value("all_apps")
    if here is None:
        here = get_all_apps()
        cache.set_value("all_apps", here)
    return [app for app in get_installed_apps() if app in here]


def get_hooks(name: str) -> list[Any]:
    """Return the values of one hook in all apps of the site, in the apps' order.

    Kept fault: what the shared cache says is taken until that is cleared.
    """
    hooks = cache.get_value("app_hooks")
    if hooks is None:
        hooks = {}
        for app in _apps_here():
            for key, value in vars(importlib.import_module(f"{app}.hooks")).items():
                if not key.startswith("_") and isinstance(value, (str, list, dict)):
                    hooks.setdefault(key, []).append(value)
        cache.set_value("app_hooks", hooks)
    return hooks.get(name, [])


def set_user(user: str) -> None:
    """Make someone the session's user."""
    local.session.user = user


def get_site_path(*parts: str) -> str:
    """Return a path in the site's folder."""
    return str(Path(local.site_path, *parts))


def generate_hash(length: int = 56) -> str:
    """Return that many random hexadecimal digits."""
    return secrets.token_hex((length + 1) // 2)[:length]


def get_doc(*args: Any, **kwargs: Any) -> Any:
    """Load a document (doctype, name or filters) or make one from a dict or keywords."""
    from frappe import model

    return model.get_doc(*args, **kwargs)


def get_meta(doctype: str) -> Any:
    """Return a DocType's fields, from the shared cache when they are there."""
    from frappe import model

    return model.get_meta(doctype)


def get_all(doctype: str, **kwargs: Any) -> list[Any]:
    """Return matching rows, without a limit and without asking for permission."""
    from frappe import model

    return model.get_list(doctype, **{"limit": 0, **kwargs})


def delete_doc(doctype: str, name: str) -> None:
    """Delete a document; DoesNotExistError if there is none."""
    get_doc(doctype, name).delete()


def enqueue(method: str | Callable, queue: str = "default", **kwargs: Any) -> Any:
    """Put a call onto a queue of the bench; see frappe.utils.background_jobs.enqueue."""
    from frappe.utils import background_jobs

    return background_jobs.enqueue(method, queue, **kwargs)


def throw(message: str, exc: type[Exception] = ValidationError) -> None:
    """Raise, and keep the message for the response."""
    local.message_log.append(message)
    raise exc(message)


def log_error(title: str | None = None, message: str | None = None) -> None:
    """Write an Error Log with the traceback at hand through the current connection.

    Kept fault: under read_only that is the replica's, so the write fails and hides the cause.
    """
    text = message or get_traceback()
    get_doc(doctype="Error Log", method=(title or text)[:140], error=text).insert()


def get_traceback() -> str:
    """Return the traceback of the exception being handled."""
    return traceback.format_exc()


def as_json(value: Any, indent: int | None = 1) -> str:
    """Return JSON, dates and decimals included."""
    return json.dumps(value, indent=indent, sort_keys=True, default=json_default)


def json_default(value: Any) -> Any:
    """Serialise what JSON has no type for."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return str(value)


def destroy() -> None:
    """Close the connection and forget this thread's state."""
    if db:
        db.close()
    release_local(local)


__all__ = [
    "AuthenticationError",
    "DoesNotExistError",
    "InReadOnlyMode",
    "SessionStopped",
]
