"""The throwaway lab: a fleet of real Debian hosts on this machine."""
