"""Everything about one host that preflight judges."""
