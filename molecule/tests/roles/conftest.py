"""The order of these tests, who saves meanwhile, and the table with which they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import opened
import pytest
from calls import Somebody
from moves import Moves
from nodes import Node, wait_until
from saves import Savers, Tally, headed

from benchfleet.lab import state

# Each test finds the fleet as the ones before have left it.
ORDER = ("planned", "cut", "lost")
TABLE: list[Tally] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests into the order of their files."""
    items.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table that docs/failures.md explains."""
    if TABLE:
        terminalreporter.section("saves while the primary changed")
        terminalreporter.write("\n".join([*headed(TABLE), ""]))


@pytest.fixture(scope="session")
def table() -> list[Tally]:
    """The rows of the table."""
    return TABLE


@pytest.fixture(scope="session")
def apart() -> list[tuple[float, float]]:
    """The times in which two hosts may be open: a primary that runs on was cut off."""
    return []


@pytest.fixture(scope="session")
def moves(lab: state.Lab) -> Iterator[Moves]:
    """Runs ./fleet; its seed is printed and is part of every failure."""
    found = Moves(lab, int(time.time()))
    print(f"seed of the kills: {found.seed}")
    yield found
    print("\n".join(found.done))


@pytest.fixture(scope="session", autouse=True)
def watched(nodes: dict[str, Node]) -> None:
    """Each host notes when its MariaDB is open, from now on."""
    for node in nodes.values():
        opened.start(node)


@pytest.fixture(scope="session")
def database(moves: Moves) -> str:
    """The site's database."""
    return moves.database()


@pytest.fixture(scope="session")
def savers(anybody: Callable[..., Somebody], lab: state.Lab) -> Callable[..., Savers]:
    """Users who save at the routers of these hosts while a block runs, and who are patient."""

    def at(*names: str) -> Savers:
        return Savers(partial(anybody, 60), [lab.host(name).ip for name in names])

    return at


@pytest.fixture
def one_is_open(nodes: dict[str, Node]) -> Callable[[str], None]:
    """Wait until this host alone takes writes."""

    def wait(name: str) -> None:
        ask = "mariadb -NBe 'SELECT @@read_only'"
        wanted = {host: str(int(host != name)) for host in nodes}

        def is_so() -> bool:
            return wanted == {host: node.says(ask) for host, node in nodes.items()}

        wait_until(f"{name} alone is open", is_so)

    return wait
