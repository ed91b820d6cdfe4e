#!/usr/bin/python3 -I
# Made by Benchfleet; changes here are undone by its next run.
"""Restart the programs of the bench: `bench restart`, and the end of `bench update`, call this.

The programs that answer users come first; calls wait at the router meanwhile. The others follow one
after the other. A worker finishes its job first, so workers come last. The bench's account runs
this as root, so Python takes nothing from its environment or its home (-I), and supervisorctl runs
in a folder that belongs to root.
"""

import json
import sys
from contextlib import nullcontext

# web: the group that answers calls; others: groups of programs; hold: see fleet/calls.py, null
# where no router waits. python: the folder of Benchfleet's code.
SETTINGS = json.loads("""@settings@""")


def restart(group: str) -> bool:
    """Restart a group of programs, if there is one; returns whether that went well."""
    from fleet.supervisor.call import control_words, run

    command = control_words("restart", f"{group}:")
    return not group or run(command, timeout=None, seen=True).returncode == 0


def main() -> int:
    """Restart everything; returns 1 where a program did not come up."""
    sys.path.insert(0, SETTINGS["python"])
    from fleet.calls import held

    with held(**SETTINGS["hold"]) if SETTINGS["hold"] else nullcontext():
        done = [restart(SETTINGS["web"])]
    done += [restart(group) for group in SETTINGS["others"]]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
