"""What every module of Benchfleet begins with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from . import runs
from .changes import diff
from .work import required

__all__ = ["FleetModule", "new_lines", "required", "telling"]


class FleetModule(AnsibleModule):
    """A module whose files and commands do not depend on the account's sessions: umask, folder.

    Hardened hosts set 077 or 027: what root made would be closed to the bench's account. And a
    program that looks into the folder in which it is called would find what is another's there.
    """

    def __init__(self, **options: Any) -> None:
        os.umask(0o022)
        os.chdir("/")
        super().__init__(**options)
        runs.keep_renewed()


@contextmanager
def telling(module: AnsibleModule, *errors: type[Exception]) -> Iterator[None]:
    """Fail with an error's own words: those for the operator, from what the block calls."""
    try:
        yield
    except errors as error:
        module.fail_json(msg=str(error))


def new_lines(lines: Iterable[str]) -> dict[str, str]:
    """A diff of what is done, or would be, a line each."""
    return diff((), lines)
