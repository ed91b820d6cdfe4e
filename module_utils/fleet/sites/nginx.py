"""nginx's configuration of the sites, from the template that role router brings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

PLACEHOLDER, NAMES = "@site@", "@names@"
# In nginx's template, above what serves names by https; what serves others by http comes first.
SECURE = "# With a certificate\n"
CERTIFICATE, KEY = "@certificate@", "@key@"
# nginx refuses a plain name that fills more than a line of the processor's cache (64 bytes, with
# what it keeps beside it), unless somebody enlarges a table of the whole server's. Patterns have no
# limit.
PLAIN_NAME = 40


def server_name(name: str) -> str:
    """A name as nginx takes it in ``server_name``, whatever its length."""
    return name if len(name) <= PLAIN_NAME else f'"~^{re.escape(name)}$"'


def render_servers(
    template: str,
    sites: Mapping[str, Iterable[str]],
    certificate: Callable[[str, str], tuple[str, str] | None],
) -> str:
    """nginx's configuration of these sites, each with its further names.

    certificate: tells certificate and key for a name of a site; None for plain http.
    """
    plain, secure = template.split(SECURE)
    text = "# Made by Benchfleet; changes here are undone by its next run.\n"
    for site, further in sorted(sites.items()):
        alike: dict[tuple[str, str] | None, list[str]] = {}
        for name in (site, *further):
            alike.setdefault(certificate(site, name), []).append(name)
        for pair, names in alike.items():
            part = plain
            if pair is not None:
                part = secure.replace(CERTIFICATE, pair[0]).replace(KEY, pair[1])
            called = " ".join(map(server_name, names))
            text += part.replace(NAMES, called).replace(PLACEHOLDER, site)
    return text
