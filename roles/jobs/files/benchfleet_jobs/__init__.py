"""Jobs run on the server that the inventory names for them.

Loaded by a .pth file into every process of the bench's Python, on all nodes, it changes these
things, most of them when RQ and Frappe are imported, and nothing on disk:

- a job that is placed on a server goes to the queue that only this server's workers serve;
- workers report that they run, and the primary's take over the jobs of a server that is down;
- on a reporting node, changes of a transaction to a site's files are sent to the primary, a file
  that is not here yet is fetched from there, and snapshot reports run on the primary;
- a call that fails because a table was changed meanwhile starts over;
- a reporting node's bench connects to MariaDB over TLS;
- processes that were started before find an app that is added to the bench.
"""

from __future__ import annotations

from benchfleet_jobs.settings import load

_started = False


def start(path: str) -> None:
    """Called at the start of every process with the file of settings; without one, does nothing.

    Python reads the .pth files of a virtual environment twice; once is enough here.
    """
    global _started
    settings = load(path)
    if settings is None or _started:
        return
    _started = True
    from benchfleet_jobs import again, arrivals, placement, presence

    again.install()
    arrivals.install(settings.bench)
    placement.install(path)
    presence.install(path)
    if settings.ca:
        from benchfleet_jobs import tls

        tls.install(settings.ca, settings.servers)
    if settings.site_sync:
        from benchfleet_jobs import files, snapshots

        files.install(settings)
        snapshots.install()
