"""Sites: their folders, their making, and the accounts for them."""
