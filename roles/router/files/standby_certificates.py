#!/usr/bin/python3
"""Fetch the primary's certificates, and have this host's router use those that changed.

Run by a timer on the standby. Exit status: 0 all is as on the primary, or it does not
answer, or its certificate does not fit its key, which its own checks show; 1 something failed (the
line says what). The next run tries again.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.bench.account import BenchError
from fleet.channel import AwayError, ChannelError, answer, command
from fleet.files import FileError
from fleet.folders import folder
from fleet.nginx.files import run_here
from fleet.nginx.renewed import Renewal
from fleet.nginx.standby import CopyError
from fleet.nginx.syntax import NginxError

# Hundreds of sites have less.
MOST = 16 * 1024**2
SECONDS = 60


def main() -> int:
    """One run; returns the exit status."""
    file = folder("config") / "standby-certificates.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    renewal, primary = Renewal(settings, run_here), settings["primary"]
    if not renewal.pairs.paths():
        return 0
    try:
        renewal.bring(json.loads(answer(command(**primary, word="certificates"), MOST, SECONDS)))
    except AwayError as error:
        print(f"the primary did not answer, which is tried again: {error}")
        return 0
    except ChannelError as error:
        print(f"the primary sent no certificates: {error}")
        return 1
    except (TypeError, ValueError):
        # Not its words: they may have parts of keys.
        print("the primary sent something else than certificates")
        return 1
    except (BenchError, CopyError, FileError, NginxError, OSError) as error:
        print(f"certificates of the primary are not in use here: {error}")
        return 1
    for path in renewal.changed:
        print(f"{path} is that of the primary")
    for line in renewal.refused:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
