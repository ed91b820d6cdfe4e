#!/usr/bin/python
"""Make one nftables table in the kernel match a ruleset."""

from __future__ import annotations

import shutil

from ansible.module_utils.fleet.module import FleetModule, telling

DOCUMENTATION = r"""
module: nft_table
short_description: One nftables table of family inet matches a ruleset
description:
  - Loads a ruleset for one table in one transaction when the running table differs from it.
  - To compare, nft loads the ruleset into a temporary network namespace and lists it there. So the
    comparison does not depend on how a version of nft prints rules, and a table that was changed
    or deleted by hand is found.
options:
  name: {description: Name of the table., type: str, required: true}
  ruleset:
    description: Text for C(nft -f). It must replace the whole table, and name no other table.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Fleet's ports are open to the fleet alone
  nft_table:
    name: benchfleet
    ruleset: "{{ ruleset }}"
"""

RETURN = r"""
table:
  description: The table in the kernel after the run; empty in check mode on a bare host.
  returned: success
  type: str
"""


class NftError(Exception):
    """A command of nft failed; the message says which, why, and what to do."""


def explain(error: str) -> str:
    """Remedy for what nft or unshare wrote on standard error."""
    if "Operation not permitted" in error:
        return (
            "this host is not allowed to change its packet filter (a container without"
            " CAP_NET_ADMIN?); give it that capability, or take the host out of the firewall play"
        )
    if "not supported" in error or "No such file" in error or "Unable to initialize" in error:
        return (
            "the kernel has no nftables (module nf_tables); load it with `modprobe nf_tables` or"
            " boot Debian's own kernel"
        )
    return "see the rules in firewall.nft; `nft -c -f` on that file shows the line with the error"


def run(module: FleetModule, command: list[str], data: str | None = None) -> str:
    """Standard output of a command. Raises NftError with its output and a remedy if it fails."""
    code, out, err = module.run_command(command, data=data)
    if code != 0:
        raise NftError(f"`{' '.join(command)}` failed: {err.strip()}; {explain(err)}")
    return str(out)


def running_table(module: FleetModule, name: str) -> str:
    """The table as the kernel has it, without counters; empty when there is none."""
    code, out, err = module.run_command(["nft", "--stateless", "list", "table", "inet", name])
    if code == 0:
        return str(out)
    # Listing all tables shows whether the table is absent, or nft itself fails.
    if f"table inet {name}" in run(module, ["nft", "--stateless", "list", "tables"]).split("\n"):
        raise NftError(f"`nft list table inet {name}` failed: {err.strip()}; {explain(err)}")
    return ""


def wanted_table(module: FleetModule, name: str, ruleset: str) -> str:
    """The table as nft prints it after loading the ruleset into a temporary namespace."""
    script = f"nft -f - || exit 1\nexec nft --stateless list table inet {name}\n"
    return run(module, ["unshare", "--net", "sh", "-c", script], data=ruleset)


def main() -> None:
    module = FleetModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "ruleset": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    name, ruleset = module.params["name"], module.params["ruleset"]
    module.run_command_environ_update = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    if shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin") is None:
        if module.check_mode:
            module.exit_json(changed=True, table="", diff={"before": "", "after": ruleset})
        module.fail_json(msg="nft is not installed on this host; install the package nftables")
    with telling(module, NftError):
        wanted = wanted_table(module, name, ruleset)
        before = running_table(module, name)
        changed = before != wanted
        after = wanted
        if changed and not module.check_mode:
            run(module, ["nft", "-f", "-"], data=ruleset)
            after = running_table(module, name)
            if after != wanted:
                raise NftError(
                    f"table inet {name} differs from what was loaded into it:"
                    f"\n{after}\nwanted:\n{wanted}"
                )
    module.exit_json(changed=changed, table=after, diff={"before": before, "after": wanted})


if __name__ == "__main__":
    main()
