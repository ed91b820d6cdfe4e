"""A bench made by hand that becomes the primary of a fleet."""
