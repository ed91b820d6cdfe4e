"""Print the answers of the bench's Python in its environment, and the font families there.

No code of an app is run. Only the time zones of countries are compared: whether there are others
depends on packages that no report needs.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import locale
import os
import subprocess
import sys
import time
import zoneinfo
from collections.abc import Callable

# The first of January and of July 2026, in UTC.
MOMENTS = (1767225600, 1782864000)


def local_times() -> list[str]:
    """The moments in the environment's time zone."""
    return [time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in MOMENTS]


def zones() -> str:
    """The number of the countries' time zones, and a hash of the moments in all of them."""
    tables = [f"{folder}/zone.tab" for folder in zoneinfo.TZPATH]
    with open(next(filter(os.path.exists, tables))) as source:
        names = sorted(line.split()[2] for line in source if line[0] != "#")
    times = [
        [str(datetime.datetime.fromtimestamp(at, zoneinfo.ZoneInfo(name))) for at in MOMENTS]
        for name in names
    ]
    return f"{len(names)}, {hashlib.sha256(json.dumps(times).encode()).hexdigest()[:8]}"


def account_locale() -> str:
    """A month's name and the decimal point in the account's locale."""
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    found = datetime.date(2026, 3, 1).strftime("%B"), str(locale.localeconv()["decimal_point"])
    locale.setlocale(locale.LC_ALL, "C")
    return " ".join(found)


def file_encoding() -> str:
    """The encoding of a file that is opened without one."""
    with open(os.devnull) as nothing:
        return nothing.encoding.lower()


def output_of(*command: str) -> str:
    """What a command prints; "none" where there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=30)
    except OSError:
        return "none"
    return done.stdout.decode(errors="replace").strip()


def answer(question: Callable[[], object]) -> str:
    """An answer as text, or the error."""
    try:
        return str(question())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


QUESTIONS: dict[str, Callable[[], object]] = {
    "Python": lambda: "{}.{}".format(*sys.version_info),
    "time zone": local_times,
    "time zones": zones,
    "encoding of files": file_encoding,
    "encoding of file names": sys.getfilesystemencoding,
    "locale": account_locale,
    "wkhtmltopdf": lambda: output_of("wkhtmltopdf", "--version"),
}


def main() -> None:
    """Print the answers and the fonts."""
    answers = {name: answer(question) for name, question in QUESTIONS.items()}
    families = output_of("fc-list", "--format", "%{family[0]}\\n")
    print(json.dumps([answers, [] if families == "none" else sorted(set(families.splitlines()))]))


if __name__ == "__main__":
    main()
