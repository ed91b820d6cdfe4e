"""The guard of a reporting bench's read path.

Loaded by the entry points of the bench's web workers (``benchfleet_guard.wsgi``) and background
workers (``python -m benchfleet_guard``), it replaces ``frappe.connect_replica``: a read_only call
reads from the replica only when that has all that the primary had when the call began, reads from
the primary, within limits, when it cannot, and what it writes goes to the primary. Nothing of
Frappe is changed on disk and nothing is installed on the site.
"""
