"""What preflight needs to know of one host."""
