"""The program that reads supervisor's whole configuration with supervisor's own reader."""

from __future__ import annotations

# Runs supervisor's own reader with the interpreter of supervisord. Messages of that reader quote
# values, which may be secrets: here only the option is named.
READER = r"""
import fnmatch, glob, io, json, os, pwd, sys, types
from supervisor import options

asked = json.load(sys.stdin)
key = lambda path: os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
instead = {key(path): text for path, text in asked["instead"].items()}
files, processes, failures = [], [], []


def found(pattern):
    there = [path for path in glob.glob(pattern) if key(path) not in instead]
    folder, name = os.path.split(pattern)
    folders = {key(os.path.join(f, "x")): f for f in glob.glob(folder)}
    for path, text in instead.items():
        inside = folders.get(key(os.path.join(os.path.dirname(path), "x")))
        last = os.path.basename(path)
        if text is not None and inside is not None and fnmatch.fnmatch(last, name):
            there.append(os.path.join(inside, last))
    return there


def note(path, parser):
    files.append({"path": path, "sections": {s: dict(parser.items(s)) for s in parser.sections()}})


Parser = options.UnhosedConfigParser


def take(parser, text, name, here):
    alone = Parser()
    try:
        for each in (alone, parser):
            options.ConfigParser.RawConfigParser.read_file(each, io.StringIO(text), name)
    except options.ConfigParser.ParsingError as error:
        line = getattr(error, "lineno", None) or [number for number, _ in error.errors][0]
        fail("line", "line %s is neither an option nor a section" % line, "", [name])
        raise
    if here:
        alone.expand_here(os.path.dirname(os.path.abspath(name)))
    note(name, alone)


def read_one(self, name):
    text = instead.get(key(name))
    if text is None:
        with open(name) as source:
            text = source.read()
    take(self, text, name, True)


def read_main(self, source):
    take(self, source.read(), source.name, False)


def fail(reason, what, section="", holders=()):
    holders = list(holders) or [asked["path"]]
    failures.append({"reason": reason, "what": what, "section": section, "files": holders})


def holders_of(section, option=""):
    holders = [f["path"] for f in files if section in f["sections"]]
    return [f["path"] for f in files if option in f["sections"].get(section, {})][-1:] or holders


def expand(value, names, where, whole=options.expand):
    try:
        return whole(value, names, where)
    except ValueError as error:
        reason, word = "name", "a name after % that supervisor does not know"
        if "badly formatted" in str(error):
            reason, word = "percent", "a % without a name: write %% for a plain %"
        # An environment is named without its section there.
        section, _, option = where.rpartition(".")
        section = section or (now[-1] if now else "")
        what = "its option %s has %s" % (option, word)
        fail(reason, what, section, holders_of(section, option))
        raise


def pairs(value, whole=options.dict_of_key_value_pairs):
    try:
        return whole(value)
    except ValueError:
        section = now[-1] if now else "supervisord"
        what = 'its environment is not NAME="value",NAME="value"'
        fail("environment", what, section, holders_of(section, "environment"))
        raise


now, whole_section = [], options.ServerOptions._processes_from_section


def processes_of(self, parser, section, group, klass=None):
    now.append(section)
    try:
        made = whole_section(self, parser, section, group, klass)
    except ValueError as error:
        lacks = "does not specify a command" in str(error)
        reason = "no_command" if lacks else "other"
        fail(reason, "it has no command" if lacks else str(error), section, holders_of(section))
        raise
    now.pop()
    for one in made:
        logs = [one.stdout_logfile, one.stderr_logfile]
        processes.append({
            "section": section, "group": group, "name": one.name, "command": one.command,
            "directory": one.directory or "", "environment": sorted(one.environment),
            "user": pwd.getpwuid(one.uid or 0).pw_name,
            "logs": [path for path in logs if isinstance(path, str)],
        })
    return made


# Code that a file names is loaded by supervisord alone.
options.ServerOptions.import_spec = lambda self, spec: None
options.glob = types.SimpleNamespace(glob=found)
Parser.read, Parser.read_file = read_one, read_main
options.expand, options.dict_of_key_value_pairs = expand, pairs
options.ServerOptions._processes_from_section = processes_of
reader = options.ServerOptions()
reader.configfile = asked["path"]
reader.here = os.path.dirname(os.path.abspath(asked["path"]))
try:
    reader.read_config(asked["path"])
except Exception as error:
    fail("other", str(error) or type(error).__name__)
trouble = failures[0] if failures else None
json.dump({"trouble": trouble, "files": files, "processes": processes}, sys.stdout)
"""
