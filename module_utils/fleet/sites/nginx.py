"""nginx's configuration of the sites, from the template of the role router."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

HEADER = "# Made by Benchfleet; changes here are undone by its next run."
PLACEHOLDER, NAMES = "@site@", "@names@"
# In nginx's template, this line is between the part for plain http and the part for https.
SECURE = "# With a certificate\n"
CERTIFICATE, KEY = "@certificate@", "@key@"
# nginx refuses a plain name that is longer than a line of the processor's cache (64 bytes, with
# other data), unless a table of the whole server is enlarged. Patterns have no limit.
PLAIN_NAME = 40


def server_name(name: str) -> str:
    """A name of any length as nginx accepts it in ``server_name``."""
    return name if len(name) <= PLAIN_NAME else f'"~^{re.escape(name)}$"'


def render_servers(
    template: str,
    sites: Mapping[str, Iterable[str]],
    certificate: Callable[[str, str], tuple[str, str] | None],
) -> str:
    """nginx's configuration of these sites, each with its further names.

    certificate: gives certificate and key for a site and one of its names; None for plain http.
    """
    plain, secure = template.split(SECURE)
    text = f"{HEADER}\n"
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
