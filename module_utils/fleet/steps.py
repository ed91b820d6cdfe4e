"""The work of several modules on one host in one execution; see the module host_steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .work import Work

# The modules whose work can be done so.
JOINED = ("bench_switch", "fleet_record", "forward", "mariadb_switch", "redis_switch")


def work_of(name: str) -> Work:
    """The work of a module; only its code is loaded."""
    if name == "bench_switch":
        from .bench.switch import WORK
    elif name == "fleet_record":
        from .record import WORK
    elif name == "forward":
        from .forward import WORK
    elif name == "mariadb_switch":
        from .mariadb.switch import WORK
    elif name == "redis_switch":
        from .redis.switch import WORK
    else:
        raise ValueError(f"{name} is none of {', '.join(JOINED)}")
    return WORK


def name_of(step: Mapping[str, Any]) -> str:
    """What the result of a step is called."""
    return str(step.get("name") or step["module"])


def do(module: Any, steps: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Do steps {module, arguments, name} up to the first that fails.

    seconds: after which no step is begun, 0 for no limit. Returns {changed, said, at}: the results
    by the steps' names, and the step that failed, "" for none; with failed and msg.
    """
    deadline = time.monotonic() + seconds
    result: dict[str, Any] = {"changed": False, "said": {}, "at": ""}
    for step in steps:
        name = name_of(step)
        if seconds and time.monotonic() > deadline:
            late = f"not begun, as the steps before it took {seconds:.0f} s"
            return {**result, "failed": True, "at": name, "msg": late}
        found = done(module, work_of(step["module"]), step.get("arguments") or {})
        result["said"][name] = found
        result["changed"] = result["changed"] or bool(found.get("changed"))
        if found.get("failed"):
            return {**result, "failed": True, "at": name, "msg": found["msg"]}
    return result


def done(module: Any, work: Work, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a module's work with arguments, which Ansible has not looked at."""
    judged = ArgumentSpecValidator(work.argument_spec, required_if=work.required_if).validate(
        dict(arguments)
    )
    if judged.error_messages:
        return {"failed": True, "msg": "; ".join(judged.error_messages)}
    params = judged.validated_parameters
    secret = [name for name, option in work.argument_spec.items() if option.get("no_log")]
    module.no_log_values |= {str(params[name]) for name in secret if params.get(name)}
    return work.result(module, params)
