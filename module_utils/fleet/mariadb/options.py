"""MariaDB's option files as the server of this host reads them, each option with its place.

MariaDB's own my_print_defaults shows which options count, and in which order, but not their files
and lines; and information_schema.SYSTEM_VARIABLES has a wrong file for options below an include. So
the files are also read here, by the rules of MariaDB's reader, and the results are compared: an
option that only MariaDB's reader finds has no line, and one that only ours finds does not count.
"""

from __future__ import annotations

import difflib
import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

BINARY = "/usr/sbin/mariadbd"
ACCOUNT = "mysql"
# A variable of the server, as RUNNING asks for it.
Row = Mapping[str, Any]
FILES = ("/etc/my.cnf", "/etc/mysql/my.cnf", "~/.my.cnf")
GROUPS = ("mysqld", "server", "mariadb", "mariadbd", "client-server", "galera")
# How deep includes may be nested, and how many bytes of a line MariaDB reads at once.
DEEPEST = 10
LONGEST = 4094
BLANKS = " \t\n\v\f\r"
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "s": " ", '"': '"', "'": "'", "\\": "\\"}
UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
RUNNING = (
    "SELECT LOWER(VARIABLE_NAME) AS name, GLOBAL_VALUE AS value, GLOBAL_VALUE_ORIGIN AS origin,"
    " GLOBAL_VALUE_PATH AS path, READ_ONLY AS fixed, NUMERIC_MIN_VALUE AS low,"
    " NUMERIC_MAX_VALUE AS high, NUMERIC_BLOCK_SIZE AS block"
    " FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE <> 'SESSION ONLY'"
    # Plugins that were installed by a statement are loaded at each start, too.
    " UNION ALL SELECT 'plugin_load', GROUP_CONCAT(PLUGIN_LIBRARY), 'SQL', '', 'YES', '', '', ''"
    " FROM information_schema.PLUGINS WHERE PLUGIN_LIBRARY IS NOT NULL"
)
# Options whose values are secret.
SECRET = re.compile(r"(?i)pass(word|wd|phrase)?$|[-_]auth$")
# In SHOW MASTER STATUS, after the log's name and position.
LOG_FILTERS = ("binlog_do_db", "binlog_ignore_db")
# Options that set the variable of another name.
ALIASES = {"slave_parallel_workers": "slave_parallel_threads", "table_cache": "table_open_cache"}
COMMAND_LINE = "the command line of mariadb.service"
NO_LINE = "an option file of MariaDB's"


class OptionsError(Exception):
    """No server starts with these files; the message has the reason and the place."""


class Option(NamedTuple):
    """An option as it is written, its value (None without one), and path:line."""

    spelled: str
    value: str | None
    place: str

    @property
    def word(self) -> str:
        """The option as MariaDB's own tools print it."""
        return f"--{self.spelled}" + ("" if self.value is None else f"={self.value}")


class Said(NamedTuple):
    """What an option sets: variable, value as written, place, whether it wins over our file."""

    name: str
    value: str
    place: str
    after: bool


class Program(NamedTuple):
    """The files and groups that mariadbd reads, and the names of its options."""

    files: tuple[str, ...]
    groups: tuple[str, ...]
    names: frozenset[str]


def normal(value: Any) -> str:
    """A value in a normal form, so that 256M and 268435456, or ON and 1, compare equal.

    Not YES and NO: MariaDB reads both as OFF.
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    text = str(value).strip().strip("'\"")
    if text.upper() in ("ON", "TRUE"):
        return "1"
    if text.upper() in ("OFF", "FALSE"):
        return "0"
    size = re.fullmatch(r"(\d+)([KMGT])", text.upper())
    if size:
        return str(int(size.group(1)) * UNITS[size.group(2)])
    if re.fullmatch(r"-?\d+\.\d+", text):
        text = text.rstrip("0").rstrip(".")
    return text.lower()


def bare(name: str) -> str:
    """The variable of a setting, without the prefix with which older servers ignore it."""
    return name.replace("-", "_").lower().removeprefix("loose_")


def uncommented(line: str) -> str:
    """A line up to a # that is not in quotes."""
    quote, escaped = "", False
    for position, letter in enumerate(line):
        if letter in "'\"" and not escaped:
            quote = letter if not quote else "" if quote == letter else quote
        if not quote and letter == "#":
            return line[:position]
        escaped = bool(quote) and letter == "\\" and not escaped
    return line


def unquoted(text: str) -> str:
    """A value without the quotes around it, its escapes replaced."""
    if len(text) > 1 and text[0] in "'\"" and text[0] == text[-1]:
        text = text[1:-1]
    return re.sub(r"(?s)\\(.)", lambda found: ESCAPES.get(found[1], found[0]), text)


class Reader:
    """Reads option files as MariaDB does, for some groups.

    At the point where the file ``ours`` is read, or would be, there is an Option without a name.
    """

    def __init__(self, groups: Iterable[str], home: str, ours: str = "") -> None:
        self.groups = {group.lower() for group in groups}
        self.home = home
        self.ours = self.real(ours) if ours else ""
        self.seen: list[str] = []

    @staticmethod
    def real(path: str) -> str:
        """The path with its folder's links resolved; the file may be a link, or be absent."""
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))

    def expanded(self, path: str) -> str:
        """The path with ~ replaced by the home folder."""
        return self.home + path[1:] if path.startswith("~/") else path

    def read(self, path: str, depth: int = 0) -> Iterator[Option]:
        """The options of a file and of its includes, in order; none where it is absent.

        Raises OptionsError for a fault that ends every program of MariaDB's. In an included file,
        such a fault only ends the reading of this file.
        """
        if self.ours and self.real(path) == self.ours:
            yield Option("", None, path)
        group, counts = None, False
        for number, line in self.lines(path):
            text = line.lstrip(BLANKS)
            wrong = ""
            if not text or text[0] in "#;":
                continue
            if text[0] == "!":
                yield from self.included(text[1:].strip(BLANKS), depth, f"{path}:{number}")
            elif text[0] == "[":
                group, closed, _ = text[1:].partition("]")
                counts = group.rstrip(BLANKS).lower() in self.groups
                wrong = "" if closed else "a group's name has no closing ]"
            elif group is None:
                wrong = "an option is above the first group"
            elif counts:
                name, separator, value = uncommented(text).partition("=")
                found = unquoted(value.strip(BLANKS)) if separator else None
                yield Option(name.rstrip(BLANKS), found, f"{path}:{number}")
            if wrong and depth:
                return
            if wrong:
                raise OptionsError(f"{wrong}: {path}:{number}")

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Numbered lines of a file; long ones in the pieces in which MariaDB reads them."""
        self.seen.append(path)
        try:
            if os.path.isfile(path) and os.stat(path).st_mode & 0o002:
                # MariaDB ignores a file that every account can write.
                return
            content = Path(path).read_bytes()
        except OSError:
            return
        for number, line in enumerate(content.split(b"\n"), 1):
            for begin in range(0, len(line), LONGEST):
                piece = line[begin : begin + LONGEST].partition(b"\0")[0]
                yield number, piece.decode("utf-8", "surrogateescape")

    def included(self, directive: str, depth: int, place: str) -> Iterator[Option]:
        """The options of included files."""
        found = re.fullmatch(r"(includedir|include)(?:[ \t\v\f\r]+(.*))?", directive)
        if not found or depth >= DEEPEST:
            return
        kind, path = found[1], (found[2] or "").strip(BLANKS)
        if not path:
            raise OptionsError(f"!{kind} without a path: {place}")
        if kind == "include":
            yield from self.read(self.expanded(path), depth + 1)
            return
        self.seen.append(path)
        try:
            names = set(os.listdir(path))
        except OSError as error:
            raise OptionsError(f"{path} cannot be read ({error.strerror}): {place}") from error
        if os.path.realpath(path) == os.path.dirname(self.ours):
            names.add(os.path.basename(self.ours))
        for name in sorted(names, key=os.fsencode):
            if name.endswith(".cnf"):
                yield from self.read(f"{path.rstrip('/')}/{name}", depth + 1)


def home_of_server() -> str:
    """The home folder of the server's account."""
    try:
        return pwd.getpwnam(ACCOUNT).pw_dir
    except KeyError:
        return "/nonexistent"


def asked(command: list[str]) -> str:
    """The output of a program of MariaDB's, run as the server's account; "" where it fails."""
    surroundings = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": home_of_server()}
    server: dict[str, Any] = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}
    # As the current account where that one is missing or cannot be used.
    for account in (server, {}):
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                # Without an answer, options are misread: a busy host needs more than a few seconds.
                timeout=120,
                check=False,
                env=surroundings,
                cwd="/",
                **account,
            )
        except (OSError, KeyError, ValueError):
            continue
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""
    return ""


def program() -> Program:
    """What mariadbd reads and knows; the values of Debian's servers where it cannot be run."""
    text = asked([BINARY, "--no-defaults", "--help", "--verbose"])
    files = re.search(r"in the given order:\n(.+)", text)
    groups = re.search(r"groups are read: (.+)", text)
    names = re.findall(r"^ +(?:-\S, )?--([a-z0-9][\w-]*)", text, re.MULTILINE)
    return Program(
        tuple(files[1].split()) if files else FILES,
        tuple(groups[1].split()) if groups else GROUPS,
        frozenset(bare(name) for name in names),
    )


def arguments() -> list[str]:
    """Arguments of the running server; [] where systemd does not run it."""
    number = asked(["systemctl", "show", "mariadb", "-p", "MainPID", "--value"]).strip()
    try:
        line = Path("/proc", number or "0", "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    return line.rstrip("\0").split("\0")[1:]


def leading(options: list[str]) -> list[str]:
    """The first options of a command line, which choose the option files."""
    count = 0
    while count < len(options) and re.match(r"--(no-)?defaults(-|$)", options[count]):
        count += 1
    return options[:count]


def printed() -> list[str]:
    """The options in the files of this host's server; [] where there are none."""
    first = leading(arguments())
    return asked(["my_print_defaults", *first, "--mysqld"]).splitlines()


def meaning(spelled: str, value: str | None, names: Iterable[str]) -> tuple[str, str]:
    """Variable and value of an option, as the server reads it.

    ``names`` are the server's options: the server also accepts the beginning of a name.
    """

    def known(word: str) -> str:
        if word in names:
            return word
        longer = [name for name in names if name.startswith(word)] if word else []
        return longer[0] if len(longer) == 1 else ""

    word = bare(spelled)
    found, said = known(word), "1" if value is None else value
    if not found:
        for prefix, forced in (("skip_", "0"), ("disable_", "0"), ("enable_", "1")):
            if word.startswith(prefix) and (rest := known(word.removeprefix(prefix))):
                found, said = rest, forced
    found = ALIASES.get(found, found or word)
    if found == "expire_logs_days" and re.fullmatch(r"\d+(\.\d+)?", said.strip()):
        # Two names for one variable.
        return "binlog_expire_logs_seconds", str(round(float(said) * 86400))
    return found, said


def server_options(about: Program | None = None) -> dict[str, str]:
    """Option -> value from the files of this host's server; {} where they cannot be read.

    about: the result of program(), where it is known already.
    """
    names = (about or program()).names
    parts = (word.removeprefix("--").partition("=") for word in printed())
    return dict(meaning(name, value if equals else None, names) for name, equals, value in parts)


def data_folder(options: Mapping[str, str] | None = None) -> str:
    """The data folder of this host's server. options: the result of server_options()."""
    return ((options or server_options()).get("datadir") or "/var/lib/mysql").rstrip("/")


def look(ours: str, known: Program | None = None) -> dict[str, Any]:
    """The options of this host's server: {trouble, own, said, seen}.

    trouble: why no server starts with these files, or "". own: the path by which our own file is
    read, or would be; "" where it is not. said: a list of Said, in the order of their effect. seen:
    the files and folders that were read. known: the result of program(), where it is known already.
    """
    about, options = known or program(), arguments()
    first = leading(options)
    files, groups = list(about.files), list(about.groups)
    for word in first:
        kind, _, value = word.partition("=")
        if kind in ("--no-defaults", "--defaults-file"):
            files = [value] if value else []
        elif kind == "--defaults-extra-file":
            files.insert(len(files) - 1, value)
        elif kind == "--defaults-group-suffix":
            groups += [group + value for group in groups]
    reader = Reader(groups, home_of_server(), ours)
    try:
        found = [option for file in files for option in reader.read(reader.expanded(file))]
    except OptionsError as error:
        return {"trouble": str(error), "own": ours, "said": [], "seen": reader.seen}
    marks = [number for number, option in enumerate(found) if not option.spelled]
    last = marks[-1] if marks else len(found)
    own = found[last].place if marks else ""
    places = [
        (option, number > last and not option.place.startswith(f"{own}:"))
        for number, option in enumerate(found)
        if option.spelled
    ]
    said = [
        Said(*meaning(option.spelled, option.value, about.names), option.place, after)
        for option, after in agreed(places, printed())
        if not SECRET.search(option.spelled)
    ]
    for word in options[len(first) :]:
        name, separator, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            variable = meaning(name, value if separator else None, about.names)
            said.append(Said(*variable, COMMAND_LINE, True))
    return {"trouble": "", "own": own, "said": said, "seen": reader.seen}


def agreed(found: list[tuple[Option, bool]], theirs: list[str]) -> list[tuple[Option, bool]]:
    """The options that MariaDB's own reader finds (theirs), with the places that ours has found.

    Where MariaDB's reader has no output, the options that ours has found count.
    """
    if not theirs:
        return found
    result: list[tuple[Option, bool]] = []
    ours = [option.word for option, _ in found]
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for kind, begin, end, there, until in matcher.get_opcodes():
        if kind == "equal":
            result += found[begin:end]
            continue
        for word in theirs[there:until]:
            name, separator, value = word.removeprefix("--").partition("=")
            result.append((Option(name, value if separator else None, NO_LINE), True))
    return result
