"""What is wrong on a host, in words, and how an operator mends it."""
