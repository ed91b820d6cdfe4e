"""An update of a bench: resumable, phase by phase; see the module bench_update."""
