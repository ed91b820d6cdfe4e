"""A bench that somebody made by hand, as preflight has to know it before it is taken over.

Reads only, and without the fleet's own packages: nothing has been installed yet.
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
    """Everything about this host that an adoption is judged by; ports are the fleet's."""
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
