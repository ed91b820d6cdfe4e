"""The forms of a page, as a browser would fill them in and send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Form:
    """One form. fields: name to the value that it is sent with as it stands; labels: by name.

    buttons: what sends it; options: what each list offers.
    """

    id: str
    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    buttons: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)


class Reader(HTMLParser):
    """Collects a page's forms."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.inside: Form | None = None
        self.label: str | None = None
        self.select = ""
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = Form(found.get("id", ""), found["method"], found["action"])
            self.forms.append(self.inside)
        if self.inside is None:
            return
        name = found.get("name", "")
        if tag == "label":
            self.label = self.text = ""
        if tag in ("input", "select"):
            self.inside.fields[name] = found.get("value", "")
            if found.get("type") == "hidden":
                self.inside.hidden.add(name)
            if self.label is not None:
                self.inside.labels[name] = self.text.strip()
        if tag == "select":
            self.select = name
            self.inside.options[name] = []
        if tag in ("option", "button"):
            self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if self.inside is None:
            return
        if tag == "option":
            self.inside.options[self.select].append(self.text)
            self.inside.fields[self.select] = self.inside.options[self.select][0]
        if tag == "button":
            self.inside.buttons.append(self.text)
        if tag == "label":
            self.label = None
        if tag == "form":
            self.inside = None


def forms(page: str) -> list[Form]:
    """Return the forms of a page, in their order."""
    reader = Reader()
    reader.feed(page)
    return reader.forms
