"""What is wrong on a host, with an id: that of verify's check where there is one."""

from __future__ import annotations

from ..verify.catalogue import CATALOGUE

Trouble = dict[str, str]

# Ids that verify has no check for: what it means, and what to do.
OF_STATUS = {
    "disk_full": "A file system is 90 % full or more. Make room there: `./fleet status` lists what"
    " Benchfleet keeps on it.",
    "host_not_asked": "The host could not be reached, or was left out by --limit. The message says"
    " what to do.",
    "not_known": "A part of the status could not be read on the host. The message has the error.",
    "primary_closed": "MariaDB on the primary refuses writes (read_only). Run site.yml.",
    "primary_follows": "MariaDB on the primary is a replica of another server. Find out who set it"
    " up (`SHOW SLAVE STATUS`), and run site.yml after it is removed.",
    "program_stopped": "A program of the bench does not run. `supervisorctl status` and its log in"
    " the bench's logs folder say why.",
}


def trouble(name: str, what: str) -> Trouble:
    """Something that is wrong: {id, what}. Raises ValueError for an id that no page explains."""
    if name not in CATALOGUE and name not in OF_STATUS:
        raise ValueError(f"{name} is the id of no check and of no trouble")
    return {"id": name, "what": what}
