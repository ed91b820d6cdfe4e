"""Make, read or remove a public file of a site, as a job of the bench would."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Make, read or remove a site's file, as the last argument says."""
    import frappe

    site, name, action = sys.argv[1:]
    frappe.init(site=site, sites_path=".")
    frappe.connect()
    path = frappe.get_site_path("public", "files", name)
    if action == "make":
        with open(path, "w") as out:
            out.write(name)
    elif action == "read":
        with open(path) as source:
            print(json.dumps(source.read()))
    elif os.path.exists(path):
        os.remove(path)
    frappe.db.commit()
    frappe.destroy()


if __name__ == "__main__":
    main()
