"""What Benchfleet's packages need of a bench's Frappe and RQ, and whether the bench has it.

REQUIREMENTS is the whole list. A process calls ``fits`` before it uses a part: a part that does not
fit is left out as a whole, and the bench works there as stock Frappe does. ``python -m
benchfleet_jobs contract [guard]`` shows the operator what does not fit; it needs no site and no
database.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

# What a bench does without a part that does not fit.
PARTS = {
    "guard": "all calls stay on the primary",
    "reports": "prepared reports and those that are sent by e-mail read from the primary",
    "reads": "methods that the inventory adds read from the primary",
    "again": "a call that meets a change of a table fails",
    "jobs": "all jobs are done on the primary",
    "files": "all jobs are done on the primary, and with the guard all calls stay there",
    "scheduler": "scheduled jobs are done on the primary",
    "snapshots": "snapshot reports fail on the reporting nodes",
    "tls": "the sites' accounts do not require TLS",
    "config": "a node's bench may read with another account than the one made for it",
}

# The arguments that name a Database object's server. Frappe 14 and 15 have no ``socket``, 14 no
# ``cur_db_name``; some forks have them in another order.
CONNECTION = ("socket", "host", "user", "password", "port", "cur_db_name")
# Without one of these, the object would connect to another server, or not at all.
NEEDED = ("host", "user", "password", "port")

Look = Callable[[ModuleType], "str | None"]


@dataclass(frozen=True)
class Requirement:
    """One thing that a module must have.

    part: a key of PARTS. module: its dotted name. look: returns what was seen when the module does
    not fit, else None. optional: a bench without that module fits.
    """

    part: str
    module: str
    look: Look
    optional: bool = False


def takes(path: str, positional: int = 0, *names: str) -> Look:
    """Check that a callable accepts this number of positional arguments and these names.

    The object of a method counts as the first.
    """

    def look(module: ModuleType) -> str | None:
        called, missing = _found(module, path)
        return missing or _refusal(path, called, [None] * positional, dict.fromkeys(names))

    return look


def takes_if_there(path: str, positional: int) -> Look:
    """As ``takes``, but the callable may be missing, as in an older Frappe."""

    def look(module: ModuleType) -> str | None:
        return None if _found(module, path)[1] else takes(path, positional)(module)

    return look


def has(*paths: str) -> Look:
    """Check that all of these exist."""

    def look(module: ModuleType) -> str | None:
        return next((missing for path in paths if (missing := _found(module, path)[1])), None)

    return look


def mentions(path: str, *names: str) -> Look:
    """Check that the code of a function, or of a class' methods, uses all these names or keys."""

    def look(module: ModuleType) -> str | None:
        looked_at, missing = _found(module, path)
        if missing:
            return missing
        parts = vars(looked_at).values() if isinstance(looked_at, type) else (looked_at,)
        codes = (getattr(inspect.unwrap(part), "__code__", None) for part in parts)
        used = {name for code in codes if code for name in _names(code)}
        unused = [name for name in names if name not in used]
        return f"{path} does not use {', '.join(unused)}" if unused else None

    return look


def reads_replica_keys(path: str) -> Look:
    """Check that the function that signs in to the replica reads the keys that site.yml writes.

    The user's key is replica_db_user since Frappe 16, replica_db_name before.
    """

    def look(module: ModuleType) -> str | None:
        since_16 = int(module.__version__.partition(".")[0]) >= 16
        user = "replica_db_user" if since_16 else "replica_db_name"
        others = ("replica_host", "replica_db_port", "replica_db_password")
        return mentions(path, user, *others, "different_credentials_for_replica")(module)

    return look


def connects(path: str) -> Look:
    """Check that a Database class can be given the server to connect to."""

    def look(module: ModuleType) -> str | None:
        cls, missing = _found(module, path)
        if missing:
            return missing
        known = _parameters(cls.__init__)
        given = accepted(cls, dict.fromkeys(CONNECTION))
        lacking = [name for name in NEEDED if name not in given]
        if lacking:
            return f"{path} takes other arguments: {_listed(known)}, but no {', '.join(lacking)}"
        return _refusal(path, cls.__init__, [None], given)

    return look


def takes_over(path: str) -> Look:
    """Check that an object of a class can take over the whole state of another."""

    def look(module: ModuleType) -> str | None:
        cls, missing = _found(module, path)
        return missing or (None if cls.__dictoffset__ else f"{path} has no __dict__")

    return look


def accepted(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given arguments that a class' constructor accepts."""
    known = _parameters(cls.__init__)  # type: ignore[misc]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return given
    return {name: value for name, value in given.items() if name in known}


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def _listed(parameters: dict[str, inspect.Parameter]) -> str:
    return ", ".join(str(p.replace(annotation=p.empty)) for p in parameters.values())


def _refusal(path: str, called: Any, values: list[None], named: dict[str, Any]) -> str | None:
    if not callable(called):
        return f"{path} is not a function"
    try:
        signature = inspect.signature(called)
        signature.bind(*values, **named)
    except (TypeError, ValueError) as error:
        known = _listed(_parameters(called)) if isinstance(error, TypeError) else "?"
        return f"{path} takes other arguments: {known} ({error})"
    return None


def _found(module: ModuleType, path: str) -> tuple[Any, str | None]:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            return None, f"there is no {path}"
    return found, None


def _names(code: CodeType) -> Iterator[str]:
    yield from (*code.co_names, *code.co_varnames, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        else:
            # The names of a call's arguments are one tuple.
            for name in constant if isinstance(constant, tuple) else (constant,):
                if isinstance(name, str):
                    yield name


_CALLBACKS = ("before_commit", "after_commit", "before_rollback", "after_rollback")
_DATABASE = "frappe.database.database"
MARIADB = ("frappe.database.mariadb.database", "frappe.database.mariadb.mysqlclient")
_JOBS = "frappe.utils.background_jobs"
SCHEDULED = "frappe.core.doctype.scheduled_job_type.scheduled_job_type"
REPORTS = "frappe.core.doctype.report.report"
PREPARED_REPORTS = "frappe.core.doctype.prepared_report.prepared_report"
EMAILED_REPORTS = "frappe.email.doctype.auto_email_report.auto_email_report"
LISTS = "frappe.desk.reportview"
HANDLER = "frappe.handler"


def _of_drivers() -> Iterator[Requirement]:
    for module in MARIADB:
        looks = (
            connects("MariaDBDatabase"),
            takes_over("MariaDBDatabase"),
            takes("MariaDBDatabase.get_connection", 1),
            takes("MariaDBDatabase.get_connection_settings", 1),
            takes("MariaDBDatabase.connect", 1),
            takes("MariaDBDatabase.sql", 3),
            takes("MariaDBDatabase.commit", 1),
            takes("MariaDBDatabase.rollback", 1, "save_point"),
            takes("MariaDBDatabase.begin", 1, "read_only"),
            takes("MariaDBDatabase.close", 1),
            takes("MariaDBDatabase.unbuffered_cursor", 1),
            has("MariaDBDatabase.OperationalError"),
        )
        for look in looks:
            yield Requirement("guard", module, look, optional=module != MARIADB[0])
        for look in (
            takes("MariaDBDatabase.get_connection_settings", 1),
            has("MariaDBDatabase.OperationalError"),
        ):
            yield Requirement("tls", module, look, optional=module != MARIADB[0])


REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement("guard", "frappe", takes("connect_replica")),
    Requirement("guard", "frappe", takes("read_only")),
    Requirement(
        "guard",
        "frappe",
        mentions("read_only", "connect_replica", "read_from_replica", "primary_db", "close"),
    ),
    Requirement("guard", "frappe", takes("get_site_config")),
    Requirement("guard", "frappe", takes("throw", 1, "exc")),
    Requirement("guard", "frappe", has("local", "ValidationError", "InReadOnlyMode")),
    *_of_drivers(),
    Requirement(
        "guard", _DATABASE, mentions("Database.connect", "get_connection", "_conn", "_cursor")
    ),
    Requirement("guard", _DATABASE, mentions("Database", "transaction_writes", *_CALLBACKS)),
    Requirement("guard", "frappe.utils.redis_wrapper", takes("RedisWrapper.execute_command", 2)),
    Requirement("reports", PREPARED_REPORTS, has("generate_report_result")),
    Requirement("reports", PREPARED_REPORTS, mentions("generate_report", "generate_report_result")),
    Requirement(
        "reports",
        EMAILED_REPORTS,
        takes("AutoEmailReport.get_report_content", 1),
        optional=True,
    ),
    Requirement("reads", "frappe", takes("call", 1)),
    Requirement("reads", HANDLER, mentions("execute_cmd", "call")),
    Requirement("again", _DATABASE, mentions("Database.connect", "_cursor")),
    Requirement("again", _DATABASE, takes("Database.sql", 2)),
    Requirement("again", _DATABASE, takes("Database.commit", 1)),
    Requirement("again", "rq.queue", takes("Queue.enqueue_call", 2)),
    Requirement("jobs", "rq.queue", takes("Queue", 1, "connection", "is_async")),
    Requirement("jobs", "rq.queue", takes("Queue.enqueue_call", 2, "kwargs", "meta")),
    Requirement("jobs", "rq.worker", has("Worker.work", "Worker.execute_job")),
    Requirement(
        "jobs", _JOBS, takes("execute_job", 0, "site", "method", "event", "job_name", "kwargs")
    ),
    Requirement("jobs", _JOBS, mentions("enqueue", "enqueue_call", "kwargs")),
    Requirement("jobs", _JOBS, takes("get_queues_timeout")),
    Requirement("files", "frappe", takes("connect")),
    Requirement("files", "frappe", mentions("read_only", "primary_db")),
    Requirement("files", _DATABASE, takes("Database.commit", 1)),
    Requirement("files", _DATABASE, takes("Database.rollback", 1, "save_point")),
    Requirement("files", _DATABASE, takes("Database.close", 1)),
    Requirement(
        "files",
        _JOBS,
        takes("execute_job", 0, "site", "method", "event", "job_name", "kwargs", "is_async"),
    ),
    Requirement(
        "snapshots", REPORTS, takes_if_there("Report.execute_snapshot_report", 2), optional=True
    ),
    Requirement("config", "frappe", reads_replica_keys("connect_replica")),
    Requirement("scheduler", SCHEDULED, takes("ScheduledJobType.is_job_in_queue", 1)),
)


def unmet(part: str, module: ModuleType) -> list[str]:
    """What this module, as it is now, lacks for a part, in sentences for the operator."""
    wanted = [r for r in REQUIREMENTS if (r.part, r.module) == (part, module.__name__)]
    return [_sentence(r, seen) for r in wanted if (seen := _look(r, module))]


@functools.cache
def misfits(part: str) -> tuple[str, ...]:
    """What this bench lacks for a part; imports the modules that it checks."""
    found = []
    for requirement in REQUIREMENTS:
        if requirement.part != part:
            continue
        try:
            module = importlib.import_module(requirement.module)
        except Exception as error:
            if requirement.optional and isinstance(error, ImportError):
                continue
            where = f"{part}: this bench's {requirement.module} cannot be imported"
            found.append(f"{where}: {type(error).__name__}: {error}")
            # The checks of the other modules would fail for the same reason.
            break
        if seen := _look(requirement, module):
            found.append(_sentence(requirement, seen))
    return tuple(dict.fromkeys(found))


def fits(*parts: str) -> bool:
    """Whether this bench has all that these parts need."""
    return not any(misfits(part) for part in parts)


def _look(requirement: Requirement, module: ModuleType) -> str | None:
    try:
        return requirement.look(module)
    except Exception as error:
        return f"something cannot be checked: {type(error).__name__}: {error}"


def _sentence(requirement: Requirement, seen: str) -> str:
    return f"{requirement.part}: in this bench's {requirement.module}, {seen}"


def told(guard: bool) -> list[str]:
    """All that does not fit, and what the bench does instead, in sentences for the operator.

    guard: whether the bench is to run with the guard.
    """
    parts = [part for part in PARTS if guard or part not in ("guard", "reports", "reads")]
    return [f"{words}; so {PARTS[part]}" for part in parts for words in misfits(part)]
