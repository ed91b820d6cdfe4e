"""The state of the servers of a fleet."""
