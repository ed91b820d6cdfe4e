"""Says what supervisord could not read if a file of its configuration had another content.

Run before the file is put in place: PATH NEW.
"""

from __future__ import annotations

import sys
from pathlib import Path

# As a program it is in no package, and Python (-I) looks nowhere.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from fleet.supervisor.configuration import configuration, trouble_words


def try_out(path: str, new: str) -> None:
    """Ends with what supervisord could not read if the file ``path`` had the content of ``new``."""
    told = configuration({path: Path(new).read_text(encoding="utf-8")})
    if told["trouble"]:
        raise SystemExit(trouble_words(told["trouble"]))


if __name__ == "__main__":
    try_out(*sys.argv[1:])
