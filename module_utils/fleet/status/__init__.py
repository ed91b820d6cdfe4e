"""What the servers of a fleet are doing."""
