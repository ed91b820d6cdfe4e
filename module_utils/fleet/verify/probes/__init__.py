"""Programs that the bench's Python runs: see ``Host.run_probe``.

We import each of them only for its source, so only ``main`` imports what the bench alone has.
"""
