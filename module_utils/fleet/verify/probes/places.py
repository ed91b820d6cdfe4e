"""What a bench's Python says of itself: its prefix, and where it finds apps; runs none of them."""

from __future__ import annotations

import importlib.util
import json
import sys


def main() -> None:
    """Look for the apps that the arguments name."""
    found = {}
    for app in sys.argv[1:]:
        spec = importlib.util.find_spec(app)
        found[app] = spec.origin if spec else None
    print(json.dumps([sys.prefix, found]))


if __name__ == "__main__":
    main()
