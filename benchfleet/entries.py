"""A node's entry in hosts.yml, put in or taken out as lines of text: comments stay as they are.

The result is parsed again: where anything but the entry differs, the change is refused.
"""

from __future__ import annotations

import copy
import difflib
import re
from pathlib import Path
from typing import Any

import yaml

# Names that Ansible takes as one host, and addresses.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9_.:-]*")
IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")


class RefusedError(Exception):
    """The file cannot be changed safely; the text says why."""


class Tagged(yaml.SafeLoader):
    """Reads values with tags of Ansible's, such as !vault, as (tag, value)."""


def _tagged(loader: Tagged, suffix: str, node: yaml.Node) -> Any:
    return (suffix, getattr(node, "value", None) if isinstance(node, yaml.ScalarNode) else "")


Tagged.add_multi_constructor("!", _tagged)


def content(text: str) -> Any:
    """Return what a file of YAML holds; RefusedError where it is none."""
    try:
        return yaml.load(text, Tagged)
    except yaml.YAMLError as error:
        raise RefusedError(f"it is no plain YAML: {' '.join(str(error).split())}") from error


def hosts_file(inventory: Path) -> Path:
    """Return the file of an inventory that names its hosts; RefusedError where there is none."""
    if inventory.is_file() and inventory.suffix in (".yml", ".yaml"):
        return inventory
    for name in ("hosts.yml", "hosts.yaml"):
        if (inventory / name).is_file():
            return inventory / name
    raise RefusedError(f"{inventory} has no hosts.yml")


def lines_of(name: str, address: str, *, lan_ip: bool = False) -> list[str]:
    """Return the lines of an entry, the first without indentation.

    lan_ip: say that the address is also the one between the hosts.
    """
    found = [f"{_scalar(name)}:", f"  ansible_host: {_scalar(address)}"]
    return [*found, f"  lan_ip: {_scalar(address)}"] if lan_ip else found


def with_entry(text: str, name: str, address: str) -> str:
    """Return the text of hosts.yml with one more reporting node.

    Where its neighbours have a `lan_ip` and the address is an IPv4 address, it gets one, too.
    """
    before = content(text)
    root = _root(text)
    groups, parsed = _groups(root, before)
    reporting = _value(groups, "reporting")
    hosts = _value(reporting, "hosts") if reporting is not None else None
    there = (parsed.get("reporting") or {}).get("hosts") or {}
    if name in there:
        raise RefusedError(f"{name} is in it already")
    has_lan_ip = any("lan_ip" in (entry or {}) for entry in there.values())
    entry = lines_of(name, address, lan_ip=bool(has_lan_ip and IPV4.fullmatch(address)))
    lines = _Lines(text)
    if hosts is not None and _is_block(hosts) and hosts.value:
        column = hosts.value[0][0].start_mark.column
        lines.insert(_end(lines, hosts.value[-1], column), column, entry)
    elif hosts is not None:
        key = _key(reporting, "hosts")
        lines.open(hosts, key)
        lines.insert(key.start_mark.line + 1, key.start_mark.column + 2, entry)
    elif reporting is not None and _is_block(reporting) and reporting.value:
        first = reporting.value[0][0].start_mark
        lines.insert(first.line, first.column, ["hosts:", *_deeper(entry)])
    elif reporting is not None:
        key = _key(groups, "reporting")
        lines.open(reporting, key)
        under = ["hosts:", *_deeper(entry)]
        lines.insert(key.start_mark.line + 1, key.start_mark.column + 2, under)
    else:
        if not _is_block(groups) or not groups.value:
            raise RefusedError("it has no group to which `reporting` could be added")
        column = groups.value[0][0].start_mark.column
        under = ["reporting:", "  hosts:", *_deeper(_deeper(entry))]
        lines.insert(_end(lines, groups.value[-1], column), column, under)
    wanted = copy.deepcopy(before)
    _, changed = _groups(root, wanted)
    group = changed.get("reporting") or {}
    values = {key: address for key in ("ansible_host", "lan_ip") if any(key in e for e in entry)}
    changed["reporting"] = {**group, "hosts": {**(group.get("hosts") or {}), name: values}}
    return _checked(lines.text(), wanted)


def without_entry(text: str, name: str) -> str:
    """Return the text of hosts.yml without a reporting node."""
    before = content(text)
    root = _root(text)
    groups, _ = _groups(root, before)
    reporting = _value(groups, "reporting")
    hosts = _value(reporting, "hosts") if reporting is not None else None
    if hosts is None or not _is_block(hosts):
        raise RefusedError("its group `reporting` has no `hosts` with one entry a line")
    pair = next((pair for pair in hosts.value if pair[0].value == name), None)
    if pair is None:
        raise RefusedError(f"its group `reporting` has no entry {name}")
    lines = _Lines(text)
    mark = pair[0].start_mark
    lines.remove(mark.line, _end(lines, pair, mark.column))
    wanted = copy.deepcopy(before)
    _, changed = _groups(root, wanted)
    changed["reporting"]["hosts"].pop(name)
    if not changed["reporting"]["hosts"]:
        changed["reporting"]["hosts"] = None
    return _checked(lines.text(), wanted)


def exchanged(text: str, name: str) -> str:
    """Return the text of hosts.yml with a reporting node as the primary, and that in its place.

    Each host takes its values and comments along; variables of the two groups stay.
    """
    before = content(text)
    root = _root(text)
    groups, _ = _groups(root, before)
    lines = _Lines(text)
    spans = []
    for group in ("primary", "reporting"):
        node = _value(groups, group)
        hosts = _value(node, "hosts") if node is not None else None
        if hosts is None or not _is_block(hosts):
            raise RefusedError(f"its group `{group}` has no `hosts` with one entry a line")
        if group == "primary" and len(hosts.value) != 1:
            raise RefusedError("its group `primary` has more than one host")
        chosen = [pair for pair in hosts.value if group == "primary" or pair[0].value == name]
        if not chosen:
            raise RefusedError(f"its group `{group}` has no entry {name}")
        mark = chosen[0][0].start_mark
        end = _end(lines, chosen[0], mark.column)
        spans.append((mark.line, end, mark.column, chosen[0][0].value))
    former = spans[0][3]
    moved = [
        _shifted(lines.lines[first:last], other[2] - column)
        for (first, last, column, _), other in zip(spans, reversed(spans), strict=True)
    ]
    # From the end of the file, so that lines before keep their numbers.
    for (first, last, _, _), entry in sorted(
        zip(spans, reversed(moved), strict=True), key=lambda one: one[0][0], reverse=True
    ):
        lines.lines[first:last] = entry
    wanted = copy.deepcopy(before)
    _, changed = _groups(root, wanted)
    primary, reporting = changed["primary"]["hosts"], changed["reporting"]["hosts"]
    primary[name], reporting[former] = reporting.pop(name), primary.pop(former)
    return _checked(lines.text(), wanted)


def difference(before: str, after: str, place: Path) -> str:
    """Return a change of a file as a diff."""
    told = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(place), str(place), "now", "then", lineterm=""
    )
    return "\n".join(told)


class _Lines:
    """The lines of a file, with its own ends of lines."""

    def __init__(self, text: str) -> None:
        self.end = "\r\n" if "\r\n" in text else "\n"
        self.lines = text.splitlines()

    def text(self) -> str:
        return self.end.join(self.lines) + self.end

    def insert(self, line: int, column: int, added: list[str]) -> None:
        self.lines[line:line] = [" " * column + one for one in added]

    def remove(self, first: int, last: int) -> None:
        del self.lines[first:last]

    def open(self, node: yaml.Node, key: yaml.Node) -> None:
        """Take out an empty value, so that lines can follow its key; its comment stays."""
        start, end = node.start_mark, node.end_mark
        if node.value or start.line != key.start_mark.line or end.line != start.line:
            name = key.value
            raise RefusedError(f"its `{name}` is not written with one entry a line")
        line = self.lines[start.line]
        self.lines[start.line] = (line[: start.column].rstrip() + line[end.column :]).rstrip()


def _scalar(value: str) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True).splitlines()[0])


def _deeper(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _shifted(lines: list[str], columns: int) -> list[str]:
    """Return lines with more, or less, space before them."""
    if columns >= 0:
        return [" " * columns + line if line.strip() else line for line in lines]
    return [line[min(-columns, len(line) - len(line.lstrip())) :] for line in lines]


def _root(text: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Tagged)
    except yaml.YAMLError as error:
        raise RefusedError(f"it is no plain YAML: {' '.join(str(error).split())}") from error
    if root is None or not _is_block(root):
        raise RefusedError("it does not hold groups, one a line")
    return root


def _groups(root: yaml.Node, parsed: Any) -> tuple[yaml.Node, dict[str, Any]]:
    """Return the mapping of groups, as a node and as parsed: the file's, or all's children."""
    everything = _value(root, "all")
    children = _value(everything, "children") if everything is not None else None
    if _value(root, "reporting") is None and children is not None and _is_block(children):
        return children, parsed["all"]["children"]
    return root, parsed


def _is_block(node: yaml.Node | None) -> bool:
    return isinstance(node, yaml.MappingNode) and not node.flow_style


def _pair(node: yaml.Node, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((pair for pair in pairs if pair[0].value == name), None)


def _value(node: yaml.Node, name: str) -> yaml.Node | None:
    pair = _pair(node, name)
    return pair[1] if pair else None


def _key(node: yaml.Node | None, name: str) -> yaml.Node:
    pair = _pair(node, name) if node is not None else None
    if pair is None:
        raise RefusedError(f"it has no `{name}`")
    return pair[0]


def _last(node: yaml.Node) -> int:
    """Return the last line of a value's own; the parser's mark is behind comments and space."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last(last[1] if isinstance(last, tuple) else last)
    end = node.end_mark
    return int(end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line)


def _end(lines: _Lines, pair: tuple[yaml.Node, yaml.Node], column: int) -> int:
    """Return the line after an entry, with the comments that are indented as a part of it."""
    line = max(_last(pair[1]), pair[0].end_mark.line) + 1
    while line < len(lines.lines):
        text = lines.lines[line]
        if not text.lstrip().startswith("#") or len(text) - len(text.lstrip()) <= column:
            break
        line += 1
    return line


def _checked(text: str, wanted: Any) -> str:
    """Return a text that holds what is wanted; RefusedError where it holds anything else."""
    if content(text) != wanted:
        raise RefusedError("more than the entry would change")
    return text
