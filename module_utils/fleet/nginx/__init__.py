"""nginx: our files, what it serves, the sites' certificates."""
