"""A bench made by hand, as preflight surveys it before it is adopted.

Reads only, and without the fleet's packages, which are not installed yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..nginx.look import look_at_nginx
from .bench import look_at_bench
from .crontabs import look_at_crontabs
from .database import look_at_database
from .programs import look_at_programs
from .sudo import look_at_sudo


def look(bench: str, ports: Iterable[int] = ()) -> dict[str, Any]:
    """Everything of this host by which an adoption is judged; ports: those of the fleet."""
    about = look_at_bench(bench)
    programs = look_at_programs(bench, about["owner"])
    names = {
        name.lower() for site, entry in about["sites"].items() for name in (site, *entry["names"])
    }
    return {
        "bench": about,
        "database": look_at_database(),
        "supervisor": programs["files"],
        "programs": programs,
        "nginx": look_at_nginx(bench, names, ports),
        "sudo": look_at_sudo(about["owner"]),
        "crontabs": look_at_crontabs(bench),
    }
