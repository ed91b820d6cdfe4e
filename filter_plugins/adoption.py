"""Filters on the adoption of a bench made by hand: see module_utils/fleet/adoption."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.adoption import host, judge


class FilterModule:
    """Filters of role preflight."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {
            "adoption_notices": judge.notice_texts,
            "adoption_problems": judge.adoption_problems,
            "adoption_set_aside": host.set_aside,
        }
