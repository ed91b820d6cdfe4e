"""The secrets of a fleet, kept in one file on the controller; see the module fleet_secrets."""
