#!/usr/bin/python
"""Take a reporting node out of the router's choice, or put it back, without cutting a call off."""

from __future__ import annotations

import time
from pathlib import Path

from ansible.module_utils.fleet.calls import running_calls
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: node_drain
short_description: A reporting node gets no more calls, or gets them again
description:
  - The router looks at a file for each node at each report call, so nothing is reloaded.
  - Draining waits until the last call that the node has is answered. Calls are counted by the
    router's established connections to the node's web port, of which each call has one.
options:
  node: {description: Name of the node in the inventory., type: str, required: true}
  drained: {description: Whether it shall get no calls., type: bool, required: true}
  waiting:
    description:
      - Whether that is because it waits for apps that the sites get. It is apart from draining a
        node by hand, which site.yml leaves alone.
    type: bool
    default: false
  state_dir: {description: Directory of Benchfleet's state., type: path, required: true}
  nodes_file: {description: The nodes that the router knows., type: path, required: true}
  seconds: {description: How long to wait for the calls that run., type: int}
  known_only:
    description: Leave a node alone that the router does not know, rather than drain it beforehand.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Node rep1 gets no more calls, and has answered the last
  node_drain:
    node: rep1
    drained: true
    state_dir: "{{ fleet_state_dir }}"
    nodes_file: /etc/nginx/benchfleet/nodes
    seconds: 150
"""

RETURN = r"""
words: {description: What was done and what it means., returned: always, type: str}
calls: {description: Calls that the node had when it was drained., type: int}
waited: {description: Seconds until the last of them was answered., type: float}
"""

# From looking for a drained node's file to the connection, a call takes no longer than this:
# nodes.lua chooses for 1.5 s at most, and nginx has 1 s to connect.
UNDECIDED_SECONDS = 2.6
# Folders of the marks, in that of the state: by hand, and for want of apps.
REASONS = ("drained", "waiting")


def known_nodes(text: str) -> dict[str, tuple[str, int]]:
    """Address and web port of each node in the router's file of nodes."""
    nodes = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 6 and fields[0] == "node":
            nodes[fields[1]] = (fields[2].strip("[]"), int(fields[3]))
    return nodes


def counted(calls: int) -> str:
    """A number of calls in words."""
    return "1 call" if calls == 1 else f"{calls} calls"


def wait(
    module: FleetModule, address: tuple[str, int] | None, mark: Path
) -> tuple[int, int, float]:
    """Wait for a node's calls: (most at a time, those that still run, seconds until the last)."""
    since = time.monotonic()
    undecided = since + UNDECIDED_SECONDS - max(0.0, time.time() - mark.stat().st_mtime)
    most, last = 0, since
    while address:
        calls = running_calls(*address)
        now = time.monotonic()
        most = max(most, calls)
        if calls:
            last = now
            if now - since > module.params["seconds"]:
                return most, calls, now - since
        elif now >= undecided:
            break
        time.sleep(0.1)
    return most, 0, last - since


def is_out(state: Path, node: str) -> bool:
    """Whether the router sends a node no calls, for whatever reason."""
    return any((state / reason / node).exists() for reason in REASONS)


def drain(module: FleetModule, mark: Path, nodes: dict[str, tuple[str, int]]) -> None:
    """Put the mark there, and wait until the node has no call."""
    node = module.params["node"]
    if module.params["known_only"] and node not in nodes:
        module.exit_json(changed=False, words=f"the router sends {node} no calls")
    changed = not mark.exists()
    others = [name for name in nodes if name != node and not is_out(mark.parent.parent, name)]
    if module.check_mode:
        module.exit_json(changed=changed, words=f"{node} would get no more calls" * changed)
    if changed:
        mark.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        mark.touch(mode=0o644)
    most, still, waited = wait(module, nodes.get(node), mark)
    if still:
        module.fail_json(
            msg=f"{node} gets no new calls, but {counted(still)} still run there after"
            f" {waited:.0f} s. It stays drained: run the same command again to wait on, or"
            f" `./fleet undrain {node} -i INVENTORY` to put it back"
        )
    words = f"{node} gets no more calls"
    if node not in nodes:
        words += "; the router does not know it, site.yml makes it known"
    elif most:
        words += f"; {counted(most)} that it had ended well within {waited:.0f} s"
    else:
        words += "; it had none"
    if not others:
        words += (
            ". No reporting node is in service now: the primary answers reports itself, so many at"
            " a time as router_report_pool_calls says"
        )
    module.exit_json(changed=changed, words=words, calls=most, waited=round(waited, 1))


def undrain(module: FleetModule, mark: Path) -> None:
    """Take the mark away."""
    node = module.params["node"]
    changed = mark.exists()
    if changed and not module.check_mode:
        mark.unlink(missing_ok=True)
    words = f"{node} gets calls again" if changed else f"{node} was not drained"
    if changed and is_out(mark.parent.parent, node):
        words = f"{node} still gets no calls: " + (
            "it was drained by hand"
            if module.params["waiting"]
            else "it lacks an app of the sites, which site.yml brings"
        )
    module.exit_json(changed=changed, words=words)


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "drained": {"type": "bool", "required": True},
            "waiting": {"type": "bool", "default": False},
            "state_dir": {"type": "path", "required": True},
            "nodes_file": {"type": "path", "required": True},
            "seconds": {"type": "int"},
            "known_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    reason = REASONS[module.params["waiting"]]
    mark = Path(module.params["state_dir"]) / reason / module.params["node"]
    nodes_file = Path(module.params["nodes_file"])
    nodes = known_nodes(nodes_file.read_text()) if nodes_file.exists() else {}
    if module.params["drained"]:
        drain(module, mark, nodes)
    undrain(module, mark)


if __name__ == "__main__":
    main()
