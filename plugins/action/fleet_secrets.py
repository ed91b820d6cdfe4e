"""Run the module fleet_secrets; a secrets file that ansible-vault has encrypted stays encrypted.

A module has no vault password, so an encrypted file is decrypted and written here. It keeps the
password and the vault id with which it was encrypted.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet import atomic

MARK = b"$ANSIBLE_VAULT;"


class ActionModule(ActionBase):
    """The module's own result."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run it once."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = Path(self._task.args["path"])
        try:
            encrypted = path.read_bytes().startswith(MARK)
        except OSError:
            # The module reports it, unless the file is just missing.
            encrypted = False
        if not encrypted:
            return {**result, **self.module(dict(self._task.args), task_vars)}
        try:
            return {**result, **self.encrypted(path, task_vars)}
        except AnsibleError as error:
            message = (
                f"{path} cannot be decrypted ({error.message}): pass"
                " `--vault-password-file FILE` or `--ask-vault-pass`"
            )
        except OSError as error:
            message = (
                f"{path} cannot be read or written ({error.strerror}): run as its owner, and check"
                " that the disk is not full"
            )
        return {**result, "failed": True, "msg": message}

    def module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module itself."""
        found: dict[str, Any] = self._execute_module(
            module_name="fleet_secrets", module_args=arguments, task_vars=task_vars
        )
        return found

    def encrypted(self, path: Path, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module on what is in an encrypted file. Raises AnsibleError, OSError."""
        vault = self._loader._vault
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            # As the module does for a file that is not encrypted: a second run waits.
            fcntl.flock(folder, fcntl.LOCK_EX)
            plain, vault_id, secret = vault.decrypt_and_get_vault_id(path.read_bytes())
            arguments = {**self._task.args, "decrypted": yaml.safe_load(plain)}
            found = self.module(arguments, task_vars)
            text = found.pop("text", None)
            if text:
                mode = stat.S_IMODE(path.stat().st_mode)
                atomic.write(path, vault.encrypt(text, secret, vault_id), mode)
        finally:
            os.close(folder)
        return found
