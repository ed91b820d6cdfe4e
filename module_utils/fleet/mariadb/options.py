"""MariaDB's option files as the server of this host reads them, each option with its place.

MariaDB's own my_print_defaults says which options count, and in which order, but not where they
stand; and information_schema.SYSTEM_VARIABLES names a wrong file for what stands below an include.
So the files are read here as well, by the rules of MariaDB's reader, and the two are compared: an
option that only MariaDB's reader sees has no line, and one that only ours sees does not count.
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
# How deep files may include one another, and how many bytes of a line MariaDB reads as one.
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
    # What was installed by a statement is loaded at each start, too.
    " UNION ALL SELECT 'plugin_load', GROUP_CONCAT(PLUGIN_LIBRARY), 'SQL', '', 'YES', '', '', ''"
    " FROM information_schema.PLUGINS WHERE PLUGIN_LIBRARY IS NOT NULL"
)
# Options that nobody needs to see.
SECRET = re.compile(r"(?i)pass(word|wd|phrase)?$|[-_]auth$")
# In SHOW MASTER STATUS, after the log's name and position.
LOG_FILTERS = ("binlog_do_db", "binlog_ignore_db")
# Options that set the variable of another name.
ALIASES = {"slave_parallel_workers": "slave_parallel_threads", "table_cache": "table_open_cache"}
COMMAND_LINE = "the command line of mariadb.service"
NO_LINE = "an option file of MariaDB's"


class OptionsError(Exception):
    """No server starts with these files; the message says where and why."""


class Option(NamedTuple):
    """One option: as it is spelled, its value (None without one), and path:line."""

    spelled: str
    value: str | None
    place: str

    @property
    def word(self) -> str:
        """As MariaDB's own tools print it."""
        return f"--{self.spelled}" + ("" if self.value is None else f"={self.value}")


class Said(NamedTuple):
    """What an option says: variable, value as it is written, place, whether it wins over ours."""

    name: str
    value: str
    place: str
    after: bool


class Program(NamedTuple):
    """What mariadbd says of itself: the files and groups that it reads, and its options' names."""

    files: tuple[str, ...]
    groups: tuple[str, ...]
    names: frozenset[str]


def normal(value: Any) -> str:
    """One spelling for a value, so that 256M and 268435456, or ON and 1, compare equal.

    Not so YES and NO, which MariaDB takes for OFF both.
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
    """A setting's variable, without the prefix that lets an older server ignore it."""
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

    Where the file ``ours`` is read, or would be if it were there, stands an Option without a name.
    """

    def __init__(self, groups: Iterable[str], home: str, ours: str = "") -> None:
        self.groups = {group.lower() for group in groups}
        self.home = home
        self.ours = self.real(ours) if ours else ""
        self.seen: list[str] = []

    @staticmethod
    def real(path: str) -> str:
        """A path whose folder is no link; the file itself may be one, or be absent."""
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))

    def expanded(self, path: str) -> str:
        """A path with the home in it."""
        return self.home + path[1:] if path.startswith("~/") else path

    def read(self, path: str, depth: int = 0) -> Iterator[Option]:
        """The options of a file and of those that it includes, in order; none where it is absent.

        Raises OptionsError for what ends every program of MariaDB's. In an included file that only
        ends the reading of this file.
        """
        if self.ours and self.real(path) == self.ours:
            yield Option("", None, path)
        group, counts = None, False
        for number, line in self.lines(path):
            words = line.lstrip(BLANKS)
            wrong = ""
            if not words or words[0] in "#;":
                continue
            if words[0] == "!":
                yield from self.included(words[1:].strip(BLANKS), depth, f"{path}:{number}")
            elif words[0] == "[":
                group, closed, _ = words[1:].partition("]")
                counts = group.rstrip(BLANKS).lower() in self.groups
                wrong = "" if closed else "a group has no ]"
            elif group is None:
                wrong = "an option stands above the first group"
            elif counts:
                name, separator, value = uncommented(words).partition("=")
                told = unquoted(value.strip(BLANKS)) if separator else None
                yield Option(name.rstrip(BLANKS), told, f"{path}:{number}")
            if wrong and depth:
                return
            if wrong:
                raise OptionsError(f"{wrong}: {path}:{number}")

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Numbered lines of a file, in the pieces in which MariaDB reads long ones."""
        self.seen.append(path)
        try:
            if os.path.isfile(path) and os.stat(path).st_mode & 0o002:
                # What everybody can write is ignored.
                return
            content = Path(path).read_bytes()
        except OSError:
            return
        for number, line in enumerate(content.split(b"\n"), 1):
            for begin in range(0, len(line), LONGEST):
                piece = line[begin : begin + LONGEST].partition(b"\0")[0]
                yield number, piece.decode("utf-8", "surrogateescape")

    def included(self, words: str, depth: int, place: str) -> Iterator[Option]:
        """What an include brings."""
        found = re.fullmatch(r"(includedir|include)(?:[ \t\v\f\r]+(.*))?", words)
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
    """The home of the server's account: not that of whoever asks."""
    try:
        return pwd.getpwnam(ACCOUNT).pw_dir
    except KeyError:
        return "/nonexistent"


def asked(words: list[str]) -> str:
    """What a program of MariaDB's says, asked as the server's account; "" where it fails."""
    surroundings = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": home_of_server()}
    server: dict[str, Any] = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}
    # As somebody else where that account, or the right to be it, is missing.
    for account in (server, {}):
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                timeout=20,
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
    """What mariadbd says of itself; what Debian's servers have where it cannot be run."""
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
    """Words of the running server's command line; [] where it does not run by systemd."""
    number = asked(["systemctl", "show", "mariadb", "-p", "MainPID", "--value"]).strip()
    try:
        line = Path("/proc", number or "0", "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    return line.rstrip("\0").split("\0")[1:]


def leading(words: list[str]) -> list[str]:
    """Of a command line, the first words: which option files are read."""
    count = 0
    while count < len(words) and re.match(r"--(no-)?defaults(-|$)", words[count]):
        count += 1
    return words[:count]


def printed() -> list[str]:
    """The words that the option files of this host's server give it; [] where there are none."""
    first = leading(arguments())
    return asked(["my_print_defaults", *first, "--mysqld"]).splitlines()


def meaning(spelled: str, value: str | None, names: Iterable[str]) -> tuple[str, str]:
    """Variable and value of an option, as the server takes it.

    ``names`` are the server's options: it takes the beginning of a name for the name, too.
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
        # Two names of one variable.
        return "binlog_expire_logs_seconds", str(round(float(said) * 86400))
    return found, said


def server_options() -> dict[str, str]:
    """Option -> value of this host's server by its option files; {} where they cannot be read."""
    names = program().names
    parts = (word.removeprefix("--").partition("=") for word in printed())
    return dict(meaning(name, value if equals else None, names) for name, equals, value in parts)


def data_folder(told: Mapping[str, str] | None = None) -> str:
    """Where this host's server keeps its data; told: what server_options() says."""
    return ((told or server_options()).get("datadir") or "/var/lib/mysql").rstrip("/")


def look(ours: str) -> dict[str, Any]:
    """What this host's server is told: {trouble, own, said, seen}.

    trouble is why no server starts with these files, own the path by which our own file is read, or
    would be, "" where it is not; said is a list of Said, in the order in which it counts, and seen
    are the files and folders that were read.
    """
    about, words = program(), arguments()
    first = leading(words)
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
    for word in words[len(first) :]:
        name, separator, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            variable = meaning(name, value if separator else None, about.names)
            said.append(Said(*variable, COMMAND_LINE, True))
    return {"trouble": "", "own": own, "said": said, "seen": reader.seen}


def agreed(found: list[tuple[Option, bool]], words: list[str]) -> list[tuple[Option, bool]]:
    """What MariaDB's own reader sees (words), with the places that ours has found.

    Without a word of that one, what ours has found counts.
    """
    if not words:
        return found
    result: list[tuple[Option, bool]] = []
    ours = [option.word for option, _ in found]
    matcher = difflib.SequenceMatcher(None, ours, words, autojunk=False)
    for kind, begin, end, there, until in matcher.get_opcodes():
        if kind == "equal":
            result += found[begin:end]
            continue
        for word in words[there:until]:
            name, separator, value = word.removeprefix("--").partition("=")
            result.append((Option(name, value if separator else None, NO_LINE), True))
    return result
