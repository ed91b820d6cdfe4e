"""Assets: one bundle an app, named by its content, and the two listings of bundles."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from pathlib import Path

import redis

import frappe


def build(apps: list[str], hard_link: bool = False) -> dict[str, str]:
    """Write the bundles, sites/assets/<app> and assets.json; returns {bundle: URL}."""
    assets = Path(frappe.local.sites_path, "assets").absolute()
    (assets / "css").mkdir(parents=True, exist_ok=True)
    bundles: dict[str, str] = {}
    for app in apps:
        module = importlib.import_module(app)
        public = Path(module.__file__ or "").resolve().parent / "public"
        folder = public / "dist" / "js"
        folder.mkdir(parents=True, exist_ok=True)
        version = getattr(module, "__version__", "0")
        name = "desk" if app == "frappe" else app
        text = f"/* {app} {version}: built by the demo framework */\n"
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8].upper()
        for old in folder.glob(f"{name}.bundle.*.js"):
            old.unlink()
        (folder / f"{name}.bundle.{digest}.js").write_text(text)
        bundles[f"{name}.bundle.js"] = f"/assets/{app}/dist/js/{name}.bundle.{digest}.js"
        link = assets / app
        if link.is_symlink() or link.exists():
            shutil.rmtree(link) if link.is_dir() and not link.is_symlink() else link.unlink()
        shutil.copytree(public, link) if hard_link else link.symlink_to(public)
    for listing in ("assets.json", "assets-rtl.json"):
        file = assets / listing
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | bundles, indent=4, sort_keys=True))
    try:
        frappe.cache.delete_value("assets_json", shared=True)
    except redis.exceptions.RedisError as error:
        print(f"cache not cleared: {error}")
    return bundles
