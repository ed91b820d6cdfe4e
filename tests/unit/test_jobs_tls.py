"""A bench reaches MariaDB over TLS, whatever its Frappe says of it: with a server of the test's."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pymysql
import pytest
from benchfleet_jobs import contract, tls
from fleet.secrets import certificates

SERVER = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
# As a server of the fleet has.
ADDRESS = "127.0.0.2"


class Place:
    """A MariaDB that lets a site's account in over TLS alone, and CAs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server((ADDRESS, 0)) as listener:
            self.port: int = listener.getsockname()[1]
        ours, others = (certificates.make_authority(name) for name in ("ours", "others"))
        pair = certificates.make_certificate(ours, "erp1", ADDRESS)
        for name, text in (
            ("ca.crt", ours["certificate"]),
            ("other.crt", others["certificate"]),
            ("server.crt", pair["certificate"]),
            ("server.key", pair["key"]),
        ):
            (folder / name).write_text(text)
        mine = ["mariadb-install-db", "--no-defaults", "--skip-test-db", f"--datadir={folder}/data"]
        subprocess.run([*mine, "--user=root"], capture_output=True, check=True)
        words = [f"--datadir={folder}/data", f"--socket={folder}/s", f"--port={self.port}"]
        words += [f"--bind-address={ADDRESS}", f"--pid-file={folder}/pid", "--user=root"]
        words += [f"--ssl-ca={folder}/ca.crt", f"--ssl-cert={folder}/server.crt"]
        words += [f"--ssl-key={folder}/server.key", f"--tmpdir={folder}/data"]
        with (folder / "log").open("wb") as log:
            self.server = subprocess.Popen(
                [str(SERVER), "--no-defaults", "--skip-name-resolve", *words],
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            try:
                root = pymysql.connect(unix_socket=f"{folder}/s", user="root")
                break
            except pymysql.MySQLError:
                assert self.server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        with root, root.cursor() as cursor:
            cursor.execute(f"CREATE USER site@'{ADDRESS}' IDENTIFIED BY 'p' REQUIRE SSL")

    def stop(self) -> None:
        self.server.terminate()
        self.server.wait(60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if SERVER is None:
        pytest.skip("no MariaDB server is installed here")
    found = Place(tmp_path_factory.mktemp("mariadb"))
    yield found
    found.stop()


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
