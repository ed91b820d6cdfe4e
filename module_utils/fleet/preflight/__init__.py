"""Preflight: a fleet is judged before anything is touched, with all problems at once.

The role preflight gathers facts, a survey of each host (library/survey.py) and the inventory;
roles/preflight/vars/main.yml makes of them a host dict each, and the settings of the whole fleet.
The checks are pure functions on these, in one file a subject. Only the roles' own files and the
secrets file are read from disk, on the controller.

To add a check: write a function in the file of its subject that takes (hosts, settings) and yields
a `problem` (problems.py) for each thing to mend, and add it to the list in checks.py. What it reads
of a host and is not there yet is added to roles/preflight/vars/main.yml, or to the survey. Then
have tests/unit/test_remedies.py follow its remedy.

A host is a dict:
    name, groups                 inventory name, names of its groups
    lan_ip                       as the inventory has it, "" when it has none
    default, addresses           default IPv4 address and all addresses, from the facts
    distribution, version        e.g. Debian, 12.5
    system                       its row of module_utils/fleet/systems.py, {} for one that has none
    untried_system               fleet_untried_system
    address                      the address that the others reach it by, "" when it has none
    ssh_key                      its ed25519 host key, "" when it has none
    server_id                    mariadb_server_id, "" when unset
    branch, python               bench_frappe_branch, bench_python
    bench_home, bench_dir        fleet_bench_home, fleet_bench_dir
    cli_dir                      bench_cli_dir
    asked_versions               releases of the bench's tools, see versions.py
    proxy                        fleet_http_proxy, "" when unset
    keep                         fleet_keep
    networks                     {setting: addresses and networks that it names}
    background_workers           bench_background_workers
    placement, away_seconds      jobs_placement, jobs_away_seconds
    apps                         bench_apps
    sites                        fleet_sites as this host sees it
    mariadb_extra                mariadb_settings_extra
    variables                    names of all its inventory and extra variables
    type_errors                  what Ansible's own validation said about their types
    survey                       what the module survey found, None when it could not run
    trouble, away, target        why it could not, see connection.py
"""
