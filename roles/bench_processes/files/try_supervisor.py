#!/usr/bin/python3 -I
# Made by Benchfleet; changes here are undone by its next run.
"""Say what supervisord could not read if a file of its configuration had new content.

Run before the file is put in place: `try-supervisor PATH NEW`.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.supervisor.configuration import configuration, trouble_text


def main(path: str, new: str) -> None:
    """End with what supervisord could not read if the file ``path`` had the content of ``new``."""
    told = configuration({path: Path(new).read_text(encoding="utf-8")})
    if told["trouble"]:
        raise SystemExit(trouble_text(told["trouble"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
