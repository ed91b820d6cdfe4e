"""Print a page with each PDF generator named, as a bench's web workers do."""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def main() -> None:
    """Print a page of a site; in the end kill all that was started, as Chromium would stay."""
    import frappe
    from frappe.utils import pdf

    # run_as has given this process a session of its own.
    site, *generators = sys.argv[1:]
    frappe.init(site=site, sites_path=".")
    frappe.connect()
    page = "<html><head></head><body><p>Benchfleet</p></body></html>"
    seen = {}
    for generator in generators:
        since = time.monotonic()
        try:
            if generator == "chrome":
                made = pdf.get_chrome_pdf("Standard", page, {}, None, pdf_generator="chrome")
            else:
                made = pdf.get_pdf(page)
            good = made[:4] == b"%PDF"
            answer = f"{len(made)} bytes" if good else f"no PDF but {made[:40]!r}"
        except Exception as error:
            good, answer = False, f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}"
        seen[generator] = [good, f"{answer} after {time.monotonic() - since:.1f} s"]
    frappe.db.rollback()
    print(json.dumps(seen), flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main()
