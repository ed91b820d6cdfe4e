"""`bench setup supervisor`, which writes config/supervisor.conf.bench, not supervisor.conf.

supervisor.conf is what runs on this node: operators who follow bench's documentation link or copy
it. It is made from supervisor.conf.bench.

The common configuration is written only when it changes. The bench CLI rewrites it in place each
time, and a call that reads it at that moment gets half of it.
"""

import sys
from pathlib import Path
from typing import IO, Any

from bench.cli import cli  # type: ignore[import-not-found]
from bench.config import common_site_config as common  # type: ignore[import-not-found]
from bench.config import supervisor

write = common.put_config
written: list[str] = []


def put_config(content: dict[str, Any], bench_path: str = ".") -> None:
    """Write the configuration, if that changes it."""
    if content != common.get_config(bench_path):
        write(content, bench_path)


def open_beside(path: str, mode: str) -> IO[str]:
    """Open the file beside the one that the bench CLI means to write."""
    written.append(path)
    return Path(f"{path}.bench").open(mode)


common.put_config = put_config
supervisor.open = open_beside
sys.argv[0] = "bench"
try:
    cli()
except SystemExit as end:
    if not end.code and not written:
        sys.exit("the bench CLI did not write config/supervisor.conf; is it the pinned release?")
    raise
