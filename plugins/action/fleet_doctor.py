"""Put together what is wrong on the hosts of a fleet."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

NEEDED = {"type": "dict", "required": True}

DOCUMENTATION = r"""
module: fleet_doctor
short_description: What is wrong on each host that was asked, and why others were not
description:
  - Only puts results together. It fails where something is wrong, or a host was not asked.
options:
  hosts:
    description: Results of host_doctor by host, C({causes, done}); empty for one without an answer.
    type: dict
    required: true
  unasked:
    description: "Why hosts could not be asked: C({problems, causes, text})."
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Causes of all hosts are put together
  fleet_doctor:
    hosts: "{{ asked }}"
    unasked: "{{ silent | unasked }}"
"""

RETURN = r"""
doctor:
  description: "By host: {host, asked, trouble, causes, done}; trouble: why it was not asked."
  type: list
problems:
  description: "Why hosts could not be asked: {id, what, place, remedy, facts}."
  type: list
text: {description: The same for people., type: str}
"""


def sentences(row: dict[str, Any]) -> list[str]:
    """What is wrong on a host, for ansible-playbook's own output."""
    return [
        f"{row['host']}: {cause['title']} (id: {cause['id']}). {cause['explanation']}"
        + "".join(f"\n    {line['where']}: {line['command']}" for line in cause["cure"])
        for cause in row["causes"]
    ]


class ActionModule(ActionBase):
    """What is wrong on all hosts, put together."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the result; no module is started for it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(dict.fromkeys(("hosts", "unasked"), NEEDED))
        hosts, unasked = given["hosts"], given["unasked"]
        rows = [
            {
                "host": host,
                "asked": bool(found),
                "trouble": "" if found else unasked["causes"].get(host, "it gave no answer"),
                "causes": found.get("causes") or [],
                "done": found.get("done") or [],
            }
            for host, found in hosts.items()
        ]
        left = [sentence for row in rows for sentence in sentences(row)]
        about = {"doctor": rows, "problems": unasked["problems"], "text": unasked["text"]}
        result |= {"changed": False, **about}
        if left or not all(row["asked"] for row in rows):
            result |= {"failed": True, "msg": "\n".join([*left, unasked["text"]]).strip()}
        return result
