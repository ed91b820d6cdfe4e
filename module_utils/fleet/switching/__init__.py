"""Whether the primary may change, to which host, and what that would lose; pure functions.

The roles and playbooks act; what they do on a host is in mariadb/switch.py and its neighbours.
"""
