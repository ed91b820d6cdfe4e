"""The end of each module that works with MariaDB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module import FleetModule
from .server import MariaDBError, ServerAbsentError, pymysql, refusal


def answer(
    module: FleetModule,
    work: Callable[[], dict[str, Any]],
    *errors: type[Exception],
    would: dict[str, Any] | None = None,
) -> None:
    """End a module with the result of its work.

    errors: further exceptions of the work whose message is for the operator. would: the result,
    besides ``changed``, of a dry run on a host without a server; without it that is an error.
    """
    reported: tuple[type[Exception], ...] = (MariaDBError, *errors)
    result: dict[str, Any] | str
    try:
        result = work()
    except ServerAbsentError as absent:
        result = str(absent)
        if would is not None and module.check_mode:
            result = {"changed": True, **would, "diff": {"before": f"{absent}\n", **would["diff"]}}
    except reported as error:
        result = str(error)
    except pymysql.MySQLError as error:
        result = refusal(error)
    if isinstance(result, str):
        module.fail_json(msg=result)
    else:
        module.exit_json(**result)
