"""A bench that somebody made by hand, which becomes a fleet's primary."""
