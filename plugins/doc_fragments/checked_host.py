"""Documentation of fleet.verify.host.ARGUMENTS."""


class ModuleDocFragment:
    """Options of the modules that check a host."""

    DOCUMENTATION = r"""
options:
  about:
    description: The host, and what is planned for it.
    type: dict
    required: true
    suboptions:
      host: {description: Its name in the inventory., type: str, required: true}
      lan_ip: {description: Its LAN address., type: str, required: true}
      primary_ip: {description: The primary's LAN address., type: str, required: true}
      bench: {description: Directory of the bench., type: path, required: true}
      user_of_bench: {description: The bench's account., type: str, required: true}
      sites: {description: Names of the sites., type: list, elements: str, required: true}
      ports:
        description: Ports of C(mariadb), C(redis_cache), C(redis_queue) and C(web).
        type: dict
        required: true
      redis_password: {description: This host's password for Redis., type: str, required: true}
      web_workers: {description: Web workers of the bench., type: int, required: true}
      background_workers: {description: Its background workers., type: int, required: true}
      heavy_workers: {description: Its workers for heavy jobs., type: int, required: true}
      custom_workers:
        description: Whether workers of queues that an app adds are wanted.
        type: bool
        required: true
      settings:
        description: MariaDB's settings that depend on the host's role.
        type: dict
        required: true
      plan: {description: All planned settings of MariaDB., type: dict, required: true}
      option_file: {description: MariaDB's option file with them., type: path, required: true}
      package_dir: {description: Folder of the package benchfleet_jobs., type: path, required: true}
      certificates_dir: {description: The fleet's certificates., type: path, required: true}
      state_dir: {description: The fleet's state on this host., type: path, required: true}
      guarded:
        description: Whether the fleet has the guard of the read path.
        type: bool
        required: true
      routes: {description: Whether this host has a router., type: bool, required: true}
      service_ip: {description: "The users' address, or empty.", type: str, required: true}
  calls:
    description: How the sites are called.
    type: dict
    required: true
    suboptions:
      token: {description: Marks the calls of this run., type: str, required: true}
      router: {description: "{address, http, https}.", type: dict, required: true}
      user: {description: Account that signs in., type: str, required: true}
      passwords: {description: Its password at each site., type: dict, required: true}
"""
