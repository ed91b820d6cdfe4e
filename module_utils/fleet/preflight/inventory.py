"""An inventory that was not given, or that cannot be decrypted."""

from __future__ import annotations

from .problems import Kind

INVENTORY_MISSING = Kind(
    "inventory_missing",
    "no inventory was given, and none is guessed",
    "-i on the command line",
    "give -i inventory/mine (your copy of inventory/example), or -i inventory/lab for a lab",
)
VAULT_FILE = (
    "--ask-vault-pass or --vault-password-file to the command, or name the file in"
    " ANSIBLE_VAULT_PASSWORD_FILE"
)
VAULT_PASSWORD_MISSING = Kind(
    "vault_password_missing",
    "{value} cannot be read: no vault password was given",
    "{where}",
    f"add {VAULT_FILE}",
)
VAULT_PASSWORD_WRONG = Kind(
    "vault_password_wrong",
    "{value} cannot be read: the vault password that was given does not fit",
    "{where}",
    f"give the right one: add {VAULT_FILE}",
)
