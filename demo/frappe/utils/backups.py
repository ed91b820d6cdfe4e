"""Backups into the site's private/backups."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import frappe
from frappe.utils import now_datetime


def backup(with_files: bool = False) -> list[str]:
    """Dump the loaded site's database (and files) and return the files written.

    Raises RuntimeError if the dump fails; a half-written dump is removed.
    """
    conf, site = frappe.local.conf, frappe.local.site.replace(".", "_")
    stem = f"{now_datetime():%Y%m%d_%H%M%S}-{site}"
    folder = Path(frappe.get_site_path("private", "backups"))
    folder.mkdir(parents=True, exist_ok=True)
    dump = folder / f"{stem}-database.sql.gz"
    binary = shutil.which("mariadb-dump") or shutil.which("mysqldump") or "mariadb-dump"
    where = (
        [f"--socket={conf.db_socket}"]
        if conf.db_socket
        else [f"--host={conf.db_host}", f"--port={conf.db_port}"]
    )
    command = [binary, f"--user={conf.db_user}", *where, "--single-transaction", "--quick"]
    with (
        gzip.open(dump, "wb") as target,
        subprocess.Popen(
            [*command, "--lock-tables=false", conf.db_name],
            stdout=subprocess.PIPE,
            env={**os.environ, "MYSQL_PWD": conf.db_password},
        ) as process,
    ):
        shutil.copyfileobj(process.stdout, target)
    if process.returncode:
        dump.unlink()
        raise RuntimeError(f"{binary} ended with {process.returncode}")
    written = [dump, folder / f"{stem}-site_config_backup.json"]
    shutil.copy(frappe.get_site_path("site_config.json"), written[1])
    if with_files:
        for kind, name in (("public", "files"), ("private", "private-files")):
            written.append(folder / f"{stem}-{name}.tar")
            with tarfile.open(written[-1], "w") as tar:
                tar.add(frappe.get_site_path(kind, "files"), f"{frappe.local.site}/{kind}/files")
    return [str(file) for file in written]
