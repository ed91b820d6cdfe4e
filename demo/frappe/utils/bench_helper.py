"""What the bench CLI runs: python -m frappe.utils.bench_helper frappe [--site S] COMMAND."""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import dataclass

import click

import frappe
from frappe.utils import get_sites


@dataclass
class Context:
    """What every command gets: the sites meant and the common flags."""

    sites: list[str]
    force: bool
    verbose: bool


def chosen_sites(site: str | None) -> list[str]:
    """Return the sites of --site, else FRAPPE_SITE, else default_site; "all" means every one."""
    if site == "all":
        return get_sites(".")
    site = site or os.environ.get("FRAPPE_SITE") or frappe.get_common_site_config(".").default_site
    return [site] if site else []


@click.option("--site")
@click.option("--profile", is_flag=True)
@click.option("--verbose", is_flag=True)
@click.option("--force", is_flag=True)
@click.pass_context
def _group(context: click.Context, site: str, profile: bool, verbose: bool, force: bool) -> None:
    context.obj = Context(chosen_sites(site), force, verbose)


def commands() -> dict[str, click.Command]:
    """Return the commands of all apps of the bench by name."""
    found: dict[str, click.Command] = {}
    for app in frappe.get_all_apps(sites_path="."):
        try:
            module = importlib.import_module(f"{app}.commands")
        except ModuleNotFoundError as error:
            if error.name != f"{app}.commands":
                raise
            continue
        found.update({command.name: command for command in getattr(module, "commands", [])})
    return found


def main() -> None:
    """Run a command line."""
    group = click.Group(
        "frappe", commands=commands(), callback=_group, params=_group.__click_params__
    )
    names = click.Command(
        "get-frappe-commands", callback=lambda: print(json.dumps([*group.commands]))
    )
    text = click.Command("get-frappe-help", callback=lambda: print(click.Context(group).get_help()))
    click.Group(commands={"frappe": group, names.name: names, text.name: text})(prog_name="bench")


if __name__ == "__main__":
    main()
