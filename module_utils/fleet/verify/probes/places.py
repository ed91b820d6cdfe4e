"""Print the prefix of the bench's Python and where it finds apps; no app's code is run."""

from __future__ import annotations

import importlib.util
import json
import sys


def main() -> None:
    """Print [prefix, {app: path}] for the apps in the arguments."""
    found = {}
    for app in sys.argv[1:]:
        spec = importlib.util.find_spec(app)
        found[app] = spec.origin if spec else None
    print(json.dumps([sys.prefix, found]))


if __name__ == "__main__":
    main()
