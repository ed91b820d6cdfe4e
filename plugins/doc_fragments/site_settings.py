"""Documentation of fleet.sites.reconcile.SETTINGS and fleet.nginx.certificates.OPTIONS."""

from textwrap import indent

CERTIFICATES = r"""
certificates:
  description: Those that the inventory names, C({site, certificate, key}) each.
  type: list
  elements: dict
  default: []
acme:
  description: How a CA is asked for the other sites' certificates.
  type: dict
  required: true
  suboptions:
    email: {description: Address of the account., type: str, required: true}
    server: {description: Address of the CA's directory., type: str, required: true}
    webroot: {description: Folder of the answers to its challenges., type: path, required: true}
    environment: {description: Of certbot., type: dict, default: {}}
"""


class ModuleDocFragment:
    """Option of the modules that look after the sites."""

    DOCUMENTATION = r"""
options:
  settings:
    description: Settings of the timer that does the same between two runs.
    type: dict
    required: true
    suboptions:
      bench: {description: Directory of the bench., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
      cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
      state_dir: {description: The fleet's state on this host., type: path, required: true}
      listed:
        description: Names of the inventory's sites.
        type: list
        elements: str
        required: true
      names: {description: Further names of a site., type: dict, default: {}}
      hosts:
        description: Addresses of the reporting hosts.
        type: list
        elements: str
        required: true
      passwords:
        description: Site to the password of its reading account, where that is not derived.
        type: dict
        required: true
      site_key: {description: What the others are derived from., type: str, required: true}
      besides:
        description: In a rotation, C({passwords, site_key}) that are accepted, too; else empty.
        type: dict
        required: true
      max_statement_time:
        description: Seconds of a statement of a reading account; 0 is unlimited.
        type: float
        required: true
      max_user_connections:
        description: Its connections at once; 0 is unlimited.
        type: int
        required: true
      nginx:
        description: How nginx serves the sites, see the module nginx_files.
        type: dict
        required: true
        suboptions:
          template: {description: Configuration of one site., type: path, required: true}
          target: {description: Configuration of all sites., type: path, required: true}
          loaded_file: {description: What nginx took at last., type: path, required: true}
""" + indent(CERTIFICATES, " " * 10)

    # Of the module that asks a CA.
    ASKED = r"""
options:
  settings:
    description: What nginx_files knows of certificates.
    type: dict
    required: true
    suboptions:
""" + indent(CERTIFICATES, " " * 6)
