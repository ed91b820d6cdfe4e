"""A bench: its account, its files, its apps and its jobs."""
