"""Programs that other Pythons of a host run, the bench's above all: see ``Host.run_probe``.

Each is imported for its text alone, so nothing but ``main`` imports what only the bench has.
"""
