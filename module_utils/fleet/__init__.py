"""What Benchfleet's modules share with its programs on the hosts."""
