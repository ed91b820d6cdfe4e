"""`bench setup supervisor`, which leaves the common configuration alone while it says the same.

The bench CLI writes it anew each time, in place, and whoever's call reads it just then finds half.
"""

import sys

from bench.cli import cli
from bench.config import common_site_config as common

write = common.put_config


def put_config(content: dict, bench_path: str = ".") -> None:
    """Write the configuration, if that changes it."""
    if content != common.get_config(bench_path):
        write(content, bench_path)


common.put_config = put_config
sys.argv[0] = "bench"
cli()
