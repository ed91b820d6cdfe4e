"""Preflight: the fleet is checked before anything is changed, and all problems are shown at once.

The role preflight gathers facts, a survey of each host (library/survey.py) and the inventory.
roles/preflight/vars/main.yml makes one dict of each host, and one of the settings of the fleet.
The checks are pure functions of these, one file per subject. On the controller they read only files
of the roles and of the inventory, the secrets file and known_hosts.

To add a check:
    - In the file of its subject, define a `Kind` (problems.py) with an id, the texts and the facts,
      and write a function that takes (hosts, settings) and yields `KIND.found(...)` per problem.
    - Add the function to the list in checks.py; or, where it needs more than hosts and settings, to
      __preflight_found in roles/preflight/vars/main.yml.
    - Where it reads something of a host that is not there yet, add that to __preflight_host in
      those vars, or to the survey.
    - Add a trial to tests/unit/test_remedies.py that follows its remedy.

A host is a dict, __preflight_host in those vars. Its keys are mostly named like the variables. A
fact that a host does not have is "". These keys are different:
    address              the address by which other hosts reach it, "" when it has none
    system               its row of module_utils/fleet/systems.py, {} when it has none
    service_ip           router_service_ip
    networks             {setting: its addresses and networks}
    variables            names of all its inventory and extra variables
    type_errors          errors of Ansible's own validation of their types
    survey               the result of the module survey, None when it could not run
    trouble, away, target   why it could not run, see connection.py
"""
