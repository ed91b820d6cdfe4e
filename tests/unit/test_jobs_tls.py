"""A bench reaches MariaDB over TLS, whatever its Frappe says of it: with a server of the test's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pymysql
import pytest
from benchfleet_jobs import contract, tls
from fleet.secrets import certificates

from tests.mariadb import MariaDB, needs_mariadb

# As a server of the fleet has.
ADDRESS = "127.0.0.2"


class Place:
    """A MariaDB that lets a site's account in over TLS alone, and CAs."""

    def __init__(self, installed: Path, folder: Path) -> None:
        self.folder = folder
        ours, others = (certificates.make_authority(name) for name in ("ours", "others"))
        pair = certificates.make_certificate(ours, "erp1", ADDRESS)
        for name, text in (
            ("ca.crt", ours["certificate"]),
            ("other.crt", others["certificate"]),
            ("server.crt", pair["certificate"]),
            ("server.key", pair["key"]),
        ):
            (folder / name).write_text(text)
        self.server = MariaDB(installed, folder)
        self.port = self.server.port
        words = [f"--bind-address={ADDRESS}", f"--ssl-ca={folder}/ca.crt"]
        words += [f"--ssl-cert={folder}/server.crt", f"--ssl-key={folder}/server.key"]
        self.server.start("--no-defaults", "--skip-name-resolve", *words)
        root = pymysql.connect(unix_socket=self.server.socket, user="root")
        with root, root.cursor() as cursor:
            cursor.execute(f"CREATE USER site@'{ADDRESS}' IDENTIFIED BY 'p' REQUIRE SSL")


@pytest.fixture(scope="module")
def place(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(installed, tmp_path_factory.mktemp("mariadb"))
    yield found
    found.server.stop()


def frappe_of(given: dict[str, Any], driver: str = "pymysql") -> ModuleType:
    """Frappe's module of a driver, whose settings are these."""
    module = ModuleType(contract.MARIADB[driver != "pymysql"])

    class MariaDBDatabase:
        OperationalError = type("OperationalError", (Exception,), {"__module__": driver})

        def get_connection_settings(self) -> dict[str, Any]:
            return dict(given)

    module.MariaDBDatabase = MariaDBDatabase  # type: ignore[attr-defined]
    return module


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the driver is told, once the bench has been changed."""

    def ask(ca: str, driver: str = "pymysql", **given: Any) -> dict[str, Any]:
        module = frappe_of(given, driver)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        assert contract.unmet("tls", module) == []
        tls.install(ca, [ADDRESS])
        found: dict[str, Any] = module.MariaDBDatabase().get_connection_settings()
        return found

    return ask


@needs_mariadb
def test_the_sites_account_comes_over_tls(place: Place, settings: Any) -> None:
    own = {"host": ADDRESS, "port": place.port, "user": "site", "password": "p"}
    own["bind_address"] = ADDRESS
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        pymysql.connect(**own, ssl_disabled=True)
    told = settings(str(place.folder / "ca.crt"), **own)
    with pymysql.connect(**told) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cursor.fetchone()[1]
    # The guard keeps them as a part of what it compares.
    assert hash(tuple(told.items()))
    told = settings(str(place.folder / "other.crt"), **own)
    with pytest.raises(pymysql.OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        pymysql.connect(**told)


@needs_mariadb
def test_a_new_ca_is_trusted_without_a_restart(place: Place, settings: Any) -> None:
    ca = place.folder / "changing.crt"
    shutil.copy(place.folder / "other.crt", ca)
    module = frappe_of({"host": ADDRESS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        tls.install(str(ca), [ADDRESS])
    before = module.MariaDBDatabase().get_connection_settings()["ssl"]
    assert module.MariaDBDatabase().get_connection_settings()["ssl"] is before
    (place.folder / "newer.crt").write_text((place.folder / "ca.crt").read_text())
    (place.folder / "newer.crt").replace(ca)
    assert module.MariaDBDatabase().get_connection_settings()["ssl"] is not before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "", None])
def test_another_server_is_called_as_before(settings: Any, host: Any) -> None:
    assert settings("/none", host=host, user="u") == {"host": host, "user": "u"}


def test_what_frappe_says_itself_and_the_other_driver(settings: Any) -> None:
    own = {"ca": "/own", "cert": "/c"}
    assert settings("/none", host=ADDRESS, ssl=own)["ssl"] == own
    assert settings("/ca", driver="MySQLdb", host=ADDRESS)["ssl"] == {"ca": "/ca"}
