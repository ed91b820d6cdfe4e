"""Make a public file of a site, or read and remove it, as a job of the bench would."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Make a site's file, or take it away and print it, as the last argument says."""
    import frappe

    site, name, action = sys.argv[1:]
    frappe.init(site=site, sites_path=".")
    frappe.connect()
    path = frappe.get_site_path("public", "files", name)
    if action == "make":
        with open(path, "w") as out:
            out.write(name)
        frappe.db.commit()
        return
    try:
        with open(path) as source:
            print(json.dumps(source.read()))
    finally:
        if os.path.exists(path):
            os.remove(path)
        frappe.db.commit()


if __name__ == "__main__":
    main()
