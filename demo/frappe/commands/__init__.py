"""The commands that `bench` passes on to the framework."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import frappe
from frappe import build as builder
from frappe import installer, model
from frappe.utils import background_jobs, backups, get_bench_path, scheduler

commands: list[click.Command] = []


def command(name: str, *, each_site: bool = False) -> Callable:
    """Register a command. each_site: run it per site, connected, and commit."""

    def decorate(fn: Callable) -> Callable:
        @functools.wraps(fn)
        @click.pass_obj
        def wrapper(context: Any, *args: Any, **kwargs: Any) -> None:
            if not each_site:
                fn(context, *args, **kwargs)
                return
            if not context.sites:
                raise click.UsageError("Please specify --site sitename")
            for site in context.sites:
                frappe.init(site, force=True)
                try:
                    frappe.connect()
                    fn(context, *args, **kwargs)
                    if frappe.local.db and frappe.local.db._conn:
                        frappe.local.db.commit()
                finally:
                    frappe.destroy()

        commands.append(click.command(name)(wrapper))
        return commands[-1]

    return decorate


_root_login = click.option("--db-root-username", "--mariadb-root-username", "root_login")
_root_password = click.option("--db-root-password", "--mariadb-root-password", "root_password")


@command("new-site")
@click.argument("site")
@click.option("--db-name")
@click.option("--db-password")
@click.option("--db-user")
@click.option("--db-type", default="mariadb", type=click.Choice(["mariadb"]))
@click.option("--db-host")
@click.option("--db-port", type=int)
@click.option("--db-socket", "--mariadb-db-socket", envvar="MYSQL_UNIX_PORT")
@_root_login
@_root_password
@click.option("--no-mariadb-socket", is_flag=True)
@click.option("--mariadb-user-host-login-scope")
@click.option("--admin-password")
@click.option("--install-app", "install_apps", multiple=True)
@click.option("--set-default", is_flag=True)
@click.option("--setup-db/--no-setup-db", default=True)
@click.option("--verbose", is_flag=True)
@click.option("--force", is_flag=True)
def new_site(
    context: Any,
    site: str,
    db_type: str,
    no_mariadb_socket: bool,
    mariadb_user_host_login_scope: str | None,
    install_apps: tuple[str, ...],
    set_default: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Create a new site."""
    # Kept fault: --mariadb-user-host-login-scope is accepted and ignored; the deprecated switch
    # alone makes the user for every host.
    scope = "%" if no_mariadb_socket else None
    if no_mariadb_socket:
        click.secho("--no-mariadb-socket is DEPRECATED", fg="yellow")
    try:
        installer.new_site(site, login_scope=scope, install_apps=list(install_apps), **options)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    if set_default:
        installer.update_site_config("default_site", site, "common_site_config.json")


@command("drop-site")
@click.argument("site")
@_root_login
@_root_password
@click.option("--archived-sites-path")
@click.option("--no-backup", is_flag=True)
@click.option("--force", is_flag=True)
def drop_site(
    context: Any,
    site: str,
    root_login: str | None,
    root_password: str | None,
    archived_sites_path: str | None,
    no_backup: bool,
    force: bool,
) -> None:
    """Drop a site's database and archive its folder."""
    frappe.init(site, force=True)
    if not no_backup:
        try:
            backups.backup(with_files=True)
        except Exception as error:
            if not (force or context.force):
                sys.exit(f"Error: the backup of {site} failed: {error}")
    print("Moved to", installer.drop_site(root_login, root_password, archived_sites_path))


@command("install-app", each_site=True)
@click.argument("apps", nargs=-1)
@click.option("--force", is_flag=True)
def install_app(context: Any, apps: tuple[str, ...], force: bool) -> None:
    """Install apps on a site."""
    for app in apps:
        installer.install_app(app, force or context.force)


@command("uninstall-app", each_site=True)
@click.argument("app")
@click.option("--yes", "-y", is_flag=True)
@click.option("--no-backup", is_flag=True)
@click.option("--force", is_flag=True)
def uninstall_app(context: Any, app: str, yes: bool, no_backup: bool, force: bool) -> None:
    """Take an app and its DocTypes off a site."""
    if not yes:
        click.confirm("All doctypes related to this app will be deleted. Continue?", abort=True)
    if not no_backup:
        backups.backup()
    installer.remove_app(app, force or context.force)


@command("remove-from-installed-apps", each_site=True)
@click.argument("app")
def remove_from_installed_apps(context: Any, app: str) -> None:
    """Take an app off the list of a site's apps, and leave its DocTypes."""
    installer.remove_from_installed_apps(app)


@command("list-apps")
@click.option("--format", "-f", "output", type=click.Choice(["text", "json"]), default="text")
def list_apps(context: Any, output: str) -> None:
    """List a site's apps."""
    found = {}
    for site in context.sites:
        frappe.init(site, force=True)
        frappe.connect()
        found[site] = frappe.get_installed_apps()
        if output == "text":
            lines = [f"{a} {importlib.import_module(a).__version__}" for a in found[site]]
            print("\n".join([site] * (len(context.sites) > 1) + lines))
        frappe.destroy()
    if output == "json":
        click.echo(frappe.as_json(found))


@command("migrate", each_site=True)
@click.option("--skip-failing", is_flag=True)
@click.option("--skip-search-index", is_flag=True)
def migrate(context: Any, skip_failing: bool, skip_search_index: bool) -> None:
    """Bring sites up to the code."""
    click.secho(f"Migrating {frappe.local.site}", fg="green")
    installer.migrate()


@command("clear-cache", each_site=True)
def clear_cache(context: Any) -> None:
    """Forget what is cached for a site."""
    model.clear_cache()


@command("enable-scheduler", each_site=True)
def enable_scheduler(context: Any) -> None:
    """Let a site's scheduler run."""
    scheduler.enable_scheduler()
    print("Enabled for", frappe.local.site)


@command("disable-scheduler", each_site=True)
def disable_scheduler(context: Any) -> None:
    """Stop a site's scheduler, on every bench."""
    scheduler.disable_scheduler()
    print("Disabled for", frappe.local.site)


@command("scheduler", each_site=True)
@click.argument("state", type=click.Choice(["pause", "resume", "disable", "enable", "status"]))
def scheduler_state(context: Any, state: str) -> None:
    """Show or change a site's scheduler state."""
    if state in ("pause", "resume"):
        installer.update_site_config("pause_scheduler", state == "pause")
    elif state != "status":
        scheduler.toggle_scheduler(state == "enable")
    inactive = scheduler.is_scheduler_inactive()
    word = ("disabled" if inactive else "enabled") if state == "status" else f"{state}d"
    print(f"Scheduler is {word} for site {frappe.local.site}")


@command("set-maintenance-mode", each_site=True)
@click.argument("state", type=click.Choice(["on", "off"]))
def set_maintenance_mode(context: Any, state: str) -> None:
    """Put a site into maintenance mode or out of it."""
    installer.update_site_config("maintenance_mode", int(state == "on"))


@command("set-config")
@click.argument("key")
@click.argument("value")
@click.option("-g", "--global", "everywhere", is_flag=True)
@click.option("-p", "--parse", is_flag=True)
def set_config(context: Any, key: str, value: Any, everywhere: bool, parse: bool) -> None:
    """Set a key of site_config.json, or with -g of common_site_config.json."""
    value = ast.literal_eval(value) if parse else value
    if everywhere:
        installer.update_site_config(key, value, "common_site_config.json")
    elif not context.sites:
        raise click.UsageError("Please specify --site sitename")
    for site in [] if everywhere else context.sites:
        installer.update_site_config(key, value, f"{site}/site_config.json")


@command("show-config", each_site=True)
@click.option("--format", "-f", "output", type=click.Choice(["text", "json"]), default="text")
def show_config(context: Any, output: str) -> None:
    """Print the configuration in force."""
    conf = dict(frappe.local.conf)
    if output == "json":
        click.echo(json.dumps({frappe.local.site: conf}, indent=1, sort_keys=True))
    else:
        print("\n".join(f"{key}\t{conf[key]}" for key in sorted(conf)))


@command("use")
@click.argument("site")
def use(context: Any, site: str) -> None:
    """Make a site the bench's default."""
    if not Path(site, "site_config.json").exists():
        sys.exit(f"Site {site} does not exist")
    installer.update_site_config("default_site", site, "common_site_config.json")
    print("Current Site set to", site)


@command("execute", each_site=True)
@click.argument("method")
@click.option("--args", "arguments")
@click.option("--kwargs", "keywords")
def execute(context: Any, method: str, arguments: str | None, keywords: str | None) -> None:
    """Call a function by its dotted name, or evaluate an expression, and print the result."""
    positional = _literal(arguments, ())
    positional = positional if isinstance(positional, (list, tuple)) else [positional]
    named = _literal(keywords, {})
    if not isinstance(named, dict):
        raise click.UsageError(f"--kwargs wants a Python dict, not {keywords}")
    try:
        target = frappe.get_attr(method)
    except (ImportError, AttributeError, ValueError):
        # An operator's own shell input, as in the original: `frappe.db.get_value`, `1 + 1`.
        target = eval(method, {"frappe": frappe})
    result = target(*positional, **named) if callable(target) else target
    if result:
        print(json.dumps(result, default=frappe.json_default).strip('"'))


def _literal(text: str | None, default: Any) -> Any:
    if not text:
        return default
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@command("version")
@click.option("-f", "--format", "output", default="legacy")
def version(context: Any, output: str) -> None:
    """Print the apps of the bench and their versions."""
    rows = []
    for app in sorted(frappe.get_all_apps(sites_path=".")):
        row = {
            "app": app,
            "branch": _git(app, "rev-parse", "--abbrev-ref", "HEAD"),
            "commit": _git(app, "rev-parse", "--short=7", "HEAD"),
            "version": importlib.import_module(app).__version__,
        }
        rows.append(row)
    if output == "json":
        click.echo(json.dumps(rows, indent=4))
        return
    for row in rows:
        more = f" {row['branch']} ({row['commit']})" if output != "legacy" else ""
        click.echo(f"{row['app']} {row['version']}{more}")


def _git(app: str, *arguments: str) -> str:
    folder = Path(get_bench_path(), "apps", app)
    run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    return run.stdout.strip()


@command("build")
@click.option("--app")
@click.option("--apps")
@click.option("--hard-link", is_flag=True, envvar="FRAPPE_HARD_LINK_ASSETS")
@click.option("--production", is_flag=True)
@click.option("--force", is_flag=True)
@click.option("--verbose", is_flag=True)
@click.option("--using-cached", is_flag=True, envvar="USING_CACHED")
def build(context: Any, app: str | None, apps: str | None, hard_link: bool, **_: Any) -> None:
    """Build the assets."""
    frappe.init("", force=True)
    named = (apps or app or "").split(",") if (apps or app) else frappe.get_all_apps()
    for name, url in builder.build(named, hard_link).items():
        print(name, url)


@command("backup", each_site=True)
@click.option("--with-files", is_flag=True)
@click.option("--verbose", is_flag=True)
def backup(context: Any, with_files: bool, verbose: bool) -> None:
    """Back up sites into their private/backups."""
    print("\n".join(backups.backup(with_files)))


@command("worker")
@click.option("--queue")
@click.option("--quiet", is_flag=True)
@click.option("--burst", is_flag=True)
def worker(context: Any, queue: str | None, quiet: bool, burst: bool) -> None:
    """Work on queues, comma-separated; on all without --queue."""
    background_jobs.start_worker(queue, burst=burst, quiet=quiet)


@command("schedule")
def schedule(context: Any) -> None:
    """Run the scheduler."""
    scheduler.start_scheduler()


@command("show-pending-jobs", each_site=True)
def show_pending_jobs(context: Any) -> None:
    """Print how many jobs wait on each queue."""
    for name in background_jobs.get_queues_timeout():
        print(name, len(background_jobs.get_queue(name)))


@command("doctor")
def doctor(context: Any) -> None:
    """Print the workers of the bench's queue server."""
    from rq import Worker

    with frappe.init_site():
        workers = Worker.all(connection=background_jobs.get_redis_conn())
        print("Workers online:", len(workers))
        for one in workers:
            print(one.hostname, ",".join(one.queue_names()), one.get_state())


@command("serve")
@click.option("--port", default=8000)
def serve(context: Any, port: int) -> None:
    """Serve for development."""
    from werkzeug.serving import run_simple

    from frappe.app import application

    run_simple("127.0.0.1", port, application, threaded=False)
