"""Preflight: a fleet is judged before anything is touched, with all problems at once.

The role preflight gathers facts, a survey of each host (library/survey.py) and the inventory;
roles/preflight/vars/main.yml makes of them a host dict each, and the settings of the whole fleet.
The checks are pure functions on these, in one file a subject. Of the controller's files they
read the roles' own, the inventory's, the secrets file and known_hosts.

To add a check: write a function in the file of its subject that takes (hosts, settings) and yields
a `problem` (problems.py) for each thing to mend, and add it to the list in checks.py, or, where it
needs more than these two, to __preflight_found of those vars. What it reads
of a host and is not there yet is added to roles/preflight/vars/main.yml, or to the survey. Then
have tests/unit/test_remedies.py follow its remedy.

A host is a dict, __preflight_host of those vars; its keys are mostly named like the variables. Of
what the facts say "" stands for what a host does not have, and
    address              is the one that the others reach it by, "" when it has none
    system               its row of module_utils/fleet/systems.py, {} for one that has none
    networks             {setting: addresses and networks that it names}
    variables            names of all its inventory and extra variables
    type_errors          what Ansible's own validation said about their types
    survey               what the module survey found, None when it could not run
    trouble, away, target   why it could not, see connection.py
"""
