"""Run the command line: python -m benchfleet."""

from benchfleet.cli import main

raise SystemExit(main())
