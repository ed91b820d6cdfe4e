"""What verify proves, and how it looks at a host."""
