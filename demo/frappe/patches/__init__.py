"""What a migration does once for each site, by the names in patches.txt."""
