"""supervisor: programs as they are configured, and as they run."""
