"""The guard of a reporting bench's read path.

Loaded by the entry points of the bench's web workers (``benchfleet_guard.wsgi``) and background
workers (``python -m benchfleet_guard``), it replaces ``frappe.connect_replica``. A read_only call
reads from the replica once that has all that the primary had when the call began, and otherwise
from the primary, within limits. What it writes goes to the primary. Frappe's files are not changed,
and nothing is installed on the site.
"""
