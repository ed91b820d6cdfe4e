"""All that preflight needs to know of one host, gathered in one call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..adoption.look import look as look_at_adoption
from ..bench import code, jobs
from ..bench.cli import cli_releases
from ..bench.pdf import printing
from ..mariadb.options import data_folder, program, server_options
from ..nginx.certificates import certificate_trouble
from ..packet_filters import look_at_filters, look_at_ways
from ..runs import other_run
from . import state
from .benches import find_benches, find_commands, folder_state, gone_sites
from .database import read_database
from .notes import adoption_pending, known_hosts, read_mark, read_record, read_update
from .ports import find_listeners, try_connect
from .system import (
    env_python,
    free_bytes,
    look_at_supervisor,
    python_version,
    system_pythons,
    time_zone,
)

# Time limit of one connection.
CONNECT_SECONDS = 3


def survey(asked: Mapping[str, Any]) -> dict[str, Any]:
    """All that preflight needs to know of this host.

    asked: the options of the module survey. Raises BenchError.
    """
    started = time.time()
    about = program()
    data_dir = data_folder(server_options(about))
    # Other programs answer these two. Nothing else runs meanwhile: the rest of the survey takes on
    # the bench's account, which would be that of the whole process.
    with ThreadPoolExecutor() as pool:
        database = pool.submit(read_database, data_dir, asked["state_dir"], about)
        supervisor = pool.submit(look_at_supervisor)
    pythons, reader = asked["pythons"] + system_pythons(), code.reader(asked["bench_user"])
    found: dict[str, Any] = {
        "mark": read_mark(asked["config_dir"]),
        "known_hosts": known_hosts(asked["config_dir"]),
        "lease": other_run(),
        "record": read_record(asked["state_dir"]),
        "update": read_update(asked["state_dir"]),
        "database": database.result(),
        "disk": {
            "data": free_bytes(data_dir),
            "bench": free_bytes(asked["bench_dir"]),
        },
        "benches": find_benches(asked["bench_dir"]),
        "folders": {
            "bench": folder_state(asked["bench_dir"]),
            "cli": folder_state(asked["cli_dir"]),
        },
        "commands": find_commands(["/root", asked["bench_home"]]),
        "listeners": find_listeners(asked["ports"]),
        "pythons": {path: python_version(path, reader) for path in pythons},
        "env": env_python(asked["bench_dir"], asked["bench_user"]),
        "code": code.look(asked["bench_dir"], asked["apps"], asked["bench_user"]),
        "tools": cli_releases(asked["cli_dir"]),
        "time_zone": time_zone(),
        **supervisor.result(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "gone_sites": gone_sites(asked["bench_dir"], asked["state_dir"]),
        "printing": printing(asked["bench_dir"]),
        "jobs": jobs.look(asked["bench_dir"], asked["jobs"]),
        "certificates": [
            {**pair, "trouble": certificate_trouble(pair["certificate"], pair["key"])}
            for pair in asked["certificates"]
        ],
        "lan": None,
        "dropped": look_at_ways(asked["ways"], CONNECT_SECONDS),
        "filters": look_at_filters(),
        "state": state.look([asked[name] for name in ("config_dir", "lib_dir", "state_dir")]),
        "adoption": None,
    }
    wished = asked["adopt"] and found["mark"]["state"] == "absent"
    if wished or adoption_pending(asked["state_dir"]):
        found["adoption"] = look_at_adoption(asked["bench_dir"], asked["ports"])
        found["env"] = found["adoption"]["bench"]["python"]
    if asked["connect_to"]:
        found["lan"] = try_connect(asked["connect_to"], asked["connect_port"], CONNECT_SECONDS)
    found["time"] = {"started": started, "ended": time.time()}
    return found
