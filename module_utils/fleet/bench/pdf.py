"""The programs with which a bench prints PDFs: those that its Frappe can use, and those here."""

from __future__ import annotations

import os
import re
import shutil
from typing import Any

from ..processes import SLOW_SECONDS, run
from ..systems import CHROMIUM, CHROMIUM_PATH, WKHTMLTOPDF
from .account import read_foreign
from .config import common_config

# Where the bench's programs look for commands.
PATH = "/usr/local/bin:/usr/bin:/bin"


def printing(bench: str) -> dict[str, Any]:
    """The programs with which a bench prints, by its code, its configuration and this host.

    real: whether its framework prints PDFs at all; False where there is no bench.
    tools: the generators that the framework can use, by its own names, each with its command,
    "" where there is none. packages: the system's packages for those that are missing.
    config: keys of the common site configuration by which the framework finds Chromium.
    """
    utils = f"{bench}/apps/frappe/frappe/utils"
    tools = {"wkhtmltopdf": shutil.which(WKHTMLTOPDF, path=PATH) or ""}
    found: dict[str, Any] = {"real": False, "tools": tools, "packages": [], "config": {}}
    if not os.path.isfile(f"{utils}/pdf.py"):
        return found
    found["real"] = True
    if not tools["wkhtmltopdf"]:
        found["packages"].append(WKHTMLTOPDF)
    # With this key Frappe 16 and later find the host's Chromium.
    if "chromium_path" in (read_foreign(f"{utils}/print_utils.py") or ""):
        chromium = own_chromium(bench)
        if chromium and not chromium.startswith(f"{bench}/"):
            found["config"] = {"chromium_path": chromium}
        elif not chromium:
            found["config"] = {"chromium_path": CHROMIUM_PATH}
            chromium = shutil.which(CHROMIUM_PATH) or ""
        tools["chrome"] = chromium
        if not chromium:
            found["packages"].append(CHROMIUM)
    return found


def own_chromium(bench: str) -> str:
    """The Chromium that the bench uses already: the one it names or has fetched; "" without one."""
    named = common_config(bench).get("chromium_path")
    if isinstance(named, str) and named and shutil.which(named, path=PATH):
        return named
    fetched = f"{bench}/chromium/chrome-linux/headless_shell"
    return fetched if os.access(fetched, os.X_OK) else ""


def offered(names: list[str]) -> list[str]:
    """Those of some packages that apt can install here, by its present lists."""
    ask = ["apt-cache", "policy", *names]
    return candidates(run(ask, seconds=SLOW_SECONDS).stdout) if names else []


def available(kit: dict[str, Any]) -> dict[str, Any]:
    """What ``printing`` found, with only those packages that apt can install here.

    If there is no Chromium and none can be installed, the framework gets no path of one.
    """
    packages = offered(kit["packages"])
    lacking = CHROMIUM in kit["packages"] and CHROMIUM not in packages
    return {**kit, "packages": packages, "config": {} if lacking else kit["config"]}


def candidates(policy: str) -> list[str]:
    """The packages that `apt-cache policy` has a candidate for."""
    found = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (\S+)", policy, re.MULTILINE)
    return [name for name, version in found if version != "(none)"]
