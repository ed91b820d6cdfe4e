"""How a module that asks MariaDB ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module import FleetModule
from .server import MariaDBError, ServerAbsentError, describe, pymysql


def answer(
    module: FleetModule,
    work: Callable[[], dict[str, Any]],
    *errors: type[Exception],
    would: dict[str, Any] | None = None,
) -> None:
    """End a module with the result of its work.

    errors: what else the work raises with words for the operator. would: the result, beside
    ``changed``, of a dry run on a host that has no server yet; without it that is an error, too.
    """
    told: tuple[type[Exception], ...] = (MariaDBError, *errors)
    result: dict[str, Any] | str
    try:
        result = work()
    except ServerAbsentError as absent:
        result = str(absent)
        if would is not None and module.check_mode:
            result = {"changed": True, **would, "diff": {"before": f"{absent}\n", **would["diff"]}}
    except told as error:
        result = str(error)
    except pymysql.MySQLError as error:
        result = f"MariaDB refused a statement: {describe(error)}"
    if isinstance(result, str):
        module.fail_json(msg=result)
    else:
        module.exit_json(**result)
