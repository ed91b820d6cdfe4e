"""Assets: the apps' public/js/*.bundle.js under names by content, and the listings of them."""

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
        public = Path(importlib.import_module(app).__file__ or "").resolve().parent / "public"
        if not public.is_dir():
            continue
        folder = public / "dist" / "js"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for source in sorted(public.glob("js/*.bundle.js")):
            content = source.read_bytes()
            digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()[:8].upper()
            name = f"{source.stem}.{digest}.js"
            (folder / name).write_bytes(content)
            bundles[source.name] = f"/assets/{app}/dist/js/{name}"
        link = assets / app
        if link.is_symlink():
            link.unlink()
        shutil.rmtree(link, ignore_errors=True)
        if hard_link:
            shutil.copytree(public, link)
        else:
            link.symlink_to(public)
    for listing in ("assets.json", "assets-rtl.json"):
        file = assets / listing
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | bundles, indent=4, sort_keys=True))
    try:
        frappe.cache.delete_value("assets_json", shared=True)
    except redis.exceptions.RedisError as error:
        print(f"cache not cleared: {error}")
    return bundles
