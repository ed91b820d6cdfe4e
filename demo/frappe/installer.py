"""Making, changing and dropping sites."""

from __future__ import annotations

import getpass
import importlib
import json
import secrets
import shutil
import string
import sys
from pathlib import Path
from typing import Any

import frappe
from frappe import model, schema
from frappe.config import update
from frappe.core.doctype.scheduled_job_type.scheduled_job_type import sync_jobs
from frappe.database import get_db
from frappe.utils import scheduler
from frappe.utils.password import update_password

_SITE_FOLDERS = ("public/files", "private/backups", "private/files", "locks", "logs")


def new_site(
    site: str,
    *,
    db_name: str | None,
    db_password: str | None,
    db_user: str | None,
    db_host: str | None,
    db_port: int | None,
    db_socket: str | None,
    root_login: str | None,
    root_password: str | None,
    admin_password: str | None,
    login_scope: str | None,
    install_apps: list[str],
    force: bool,
    setup_db: bool = True,
) -> None:
    """Create a site's folder, user, database and first content; exits 1 if it exists.

    Kept fault: the database user is made before the database's name is checked, so a refused
    attempt leaves the user behind.
    """
    if not force and Path(site).exists():
        print(f"Site {site} already exists, use `--force` to proceed anyway")
        sys.exit(1)
    frappe.init(site, new_site=True, force=True)
    for folder in _SITE_FOLDERS:
        Path(frappe.get_site_path(folder)).mkdir(parents=True, exist_ok=True)
    _make_site_config(db_name, db_password, db_user, db_host, db_port, db_socket)
    frappe.destroy()
    frappe.init(site, force=True)
    frappe.local.session.user = "Administrator"
    if setup_db:
        _setup_database(root_login, root_password, login_scope, force)
    frappe.connect()
    schema.sync()
    frappe.db.set_default("installed_apps", "[]")
    _make_users(admin_password)
    for app in ["frappe", *install_apps]:
        install_app(app)
    scheduler.disable_scheduler()
    frappe.db.commit()
    print("*** Scheduler is disabled ***")


def _make_site_config(
    db_name: str | None,
    db_password: str | None,
    db_user: str | None,
    db_host: str | None,
    db_port: int | None,
    db_socket: str | None,
) -> None:
    file = Path(frappe.get_site_path("site_config.json"))
    if file.exists():
        return
    alphabet = string.ascii_letters + string.digits
    name = db_name or f"_{secrets.token_hex(8)}"
    content: dict[str, Any] = {
        "db_name": name,
        "db_password": db_password or "".join(secrets.choice(alphabet) for _ in range(16)),
        "db_type": "mariadb",
        "db_user": db_user or name,
    }
    given = {"db_host": db_host, "db_port": db_port, "db_socket": db_socket}
    content |= {key: value for key, value in given.items() if value}
    file.write_text(json.dumps(content, indent=1, sort_keys=True))


def _root_connection(login: str | None, password: str | None) -> Any:
    conf = frappe.local.conf
    login = login or conf.root_login or "root"
    if password is None:
        password = conf.root_password or getpass.getpass("MySQL root password: ")
    return get_db(
        socket=conf.db_socket,
        host=conf.db_host,
        user=login,
        password=password,
        port=conf.db_port,
    )


def _setup_database(
    login: str | None, password: str | None, login_scope: str | None, force: bool
) -> None:
    conf = frappe.local.conf
    root = _root_connection(login, password)
    host = login_scope or root.sql("SELECT user()")[0][0].rpartition("@")[2]
    account = (conf.db_user, host)
    root.sql("CREATE USER IF NOT EXISTS %s@%s IDENTIFIED BY %s", (*account, conf.db_password))
    if not force and root.sql("SHOW DATABASES LIKE %s", conf.db_name.replace("_", r"\_")):
        print(f"Database {conf.db_name} already exists, please drop it manually or pass `--force`.")
        sys.exit(1)
    root.sql(f"DROP DATABASE IF EXISTS `{conf.db_name}`")
    root.sql(f"CREATE DATABASE `{conf.db_name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    root.sql(f"GRANT ALL PRIVILEGES ON `{conf.db_name}`.* TO %s@%s", account)
    root.sql("FLUSH PRIVILEGES")
    root.close()


def _make_users(admin_password: str | None) -> None:
    while not admin_password:
        admin_password = getpass.getpass("Set Administrator password: ")
    for name in ("Administrator", "Guest"):
        if not frappe.db.exists("User", name):
            frappe.get_doc(
                doctype="User", name=name, first_name=name, enabled=1, user_type="System User"
            ).insert()
    update_password("Administrator", admin_password)


def install_app(app: str, force: bool = False) -> None:
    """Install an app of the bench on the site: its DocTypes, its scheduled jobs; note it.

    `force` does so again.
    """
    importlib.import_module(f"{app}.hooks")
    model.clear_cache()
    installed = frappe.get_installed_apps()
    if app in installed and not force:
        print(f"App {app} already installed")
        return
    print(f"\nInstalling {app}...")
    schema.sync_for(app)
    if app not in installed:
        frappe.db.set_default("installed_apps", json.dumps([*installed, app]))
        frappe.db.commit()
        model.clear_cache()
        for patch in patches(app):
            log_patch(patch)
    sync_jobs()
    model.clear_cache()


def remove_from_installed_apps(app: str) -> None:
    """Take an app off the list of the site's apps.

    Kept fault: the cache is cleared before the commit, so a process that reads meanwhile caches
    the old list.
    """
    left = [one for one in frappe.get_installed_apps() if one != app]
    frappe.db.set_default("installed_apps", json.dumps(left))
    model.clear_cache()
    frappe.db.commit()


def remove_app(app: str, force: bool = False) -> None:
    """Take an app off the site: its DocTypes with their tables, its scheduled jobs, then its name.

    Kept fault: until the end its hooks are run at every save, while its tables go. `force` does
    so for an app that is not on the list, too.
    """
    if app not in frappe.get_installed_apps() and not force:
        print(f"App {app} not installed on Site {frappe.local.site}")
        return
    print(f"Uninstalling App {app} from Site {frappe.local.site}...")
    for doctype in schema.doctypes_of(app):
        schema.drop(doctype["name"])
    frappe.db.sql("DELETE FROM `tabScheduled Job Type` WHERE method LIKE %s", f"{app}.%")
    remove_from_installed_apps(app)


def migrate() -> None:
    """Bring the site's database up to the code: tables, patches, scheduled jobs, cache.

    As in the original: each patch is committed with its line of the log, and one that fails ends
    the migration where it is; the next one begins with that patch.
    """
    model.clear_cache()
    schema.sync()
    for app in frappe.get_installed_apps():
        schema.sync_for(app)
        for patch in patches(app):
            if not frappe.db.exists("Patch Log", {"patch": patch}):
                run_patch(patch)
    sync_jobs()
    frappe.db.set_default("last_migrated", frappe.utils.now())
    frappe.db.commit()
    model.clear_cache()


def patches(app: str) -> list[str]:
    """Modules of an app's patches, in their order; each has a function `execute`."""
    listing = Path(importlib.import_module(app).__file__ or "").parent / "patches.txt"
    return listing.read_text().split() if listing.exists() else []


def log_patch(patch: str) -> None:
    """Note that a patch was done, or that a new site needs none."""
    frappe.get_doc(doctype="Patch Log", patch=patch).insert()


def run_patch(patch: str) -> None:
    """Call the function `execute` of a patch's module, and note that it was done."""
    print(f"Executing {patch} in {frappe.local.site} ({frappe.local.conf.db_name})", flush=True)
    importlib.import_module(patch).execute()
    log_patch(patch)
    frappe.db.commit()


def drop_site(login: str | None, password: str | None, archive: str | None) -> str:
    """Drop the loaded site's database and users, move its folder away; returns where to."""
    conf = frappe.local.conf
    root = _root_connection(login, password)
    root.sql(f"DROP DATABASE IF EXISTS `{conf.db_name}`")
    for host in ("%", root.sql("SELECT user()")[0][0].rpartition("@")[2]):
        root.sql("DROP USER IF EXISTS %s@%s", (conf.db_user, host))
    root.close()
    folder = Path(archive or Path(frappe.utils.get_bench_path(), "archived", "sites"))
    folder.mkdir(parents=True, exist_ok=True)
    target, count = folder / frappe.local.site, 0
    while target.exists():
        count += 1
        target = folder / f"{frappe.local.site}{count}"
    shutil.move(frappe.local.site_path, target)
    return str(target)


def update_site_config(key: str, value: Any, site_config_path: str | None = None) -> None:
    """Set a key of the site's configuration file, or of the file named."""
    update(site_config_path or frappe.get_site_path("site_config.json"), key, value)
