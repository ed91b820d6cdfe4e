#!/usr/bin/python
"""Bring units of systemd back to the state that a record holds."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.snapshot import SnapshotError, unit_states

DOCUMENTATION = r"""
module: adopt_units
short_description: Units are enabled and run as they did before the fleet
options:
  units:
    description: Unit to its state, as C(module_utils/fleet/snapshot.py) records it.
    type: dict
    required: true
  gone:
    description: Units of the fleet, which shall neither run nor be enabled any more.
    type: list
    elements: str
    default: []
"""

GONE = {"enabled": "disabled", "active": "inactive"}


def steps(before: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> list[list[str]]:
    """Words for systemctl that bring the units back; a unit that is gone is left alone."""
    words = []
    for name, state in sorted(before.items()):
        here = now.get(name)
        if here is None:
            continue
        if state["enabled"] != here["enabled"] and state["enabled"] in ("enabled", "disabled"):
            words.append([state["enabled"].removesuffix("d"), name])
        if state["active"] != here["active"] and state["active"] in ("active", "inactive"):
            words.append(["start" if state["active"] == "active" else "stop", name])
    return words


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "units": {"type": "dict", "required": True},
            "gone": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    before = {**module.params["units"], **dict.fromkeys(module.params["gone"], GONE)}
    try:
        todo = steps(before, unit_states(list(before)))
    except SnapshotError as error:
        module.fail_json(msg=str(error))
    for words in [] if module.check_mode else todo:
        code, out, err = module.run_command(["systemctl", *words])
        if code != 0:
            module.fail_json(msg=f"systemctl {' '.join(words)} failed: {(out + err).strip()}")
    did = [" ".join(words) for words in todo]
    module.exit_json(
        changed=bool(did),
        did=did,
        diff={"before": "", "after": "".join(f"{words}\n" for words in did)},
    )


if __name__ == "__main__":
    main()
