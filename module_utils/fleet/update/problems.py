"""Why an update is refused: its kinds of problems, and the error that carries them."""

from __future__ import annotations

from collections.abc import Sequence

from ..bench.account import BenchError
from ..preflight.problems import Kind, Problem, listed

COMMAND = "the command line"
INVENTORY = "the inventory"

APP_UNKNOWN = Kind(
    "update_app_unknown",
    "update_commits names {app}, and the bench has no such app; it has {apps}",
    COMMAND,
    "correct the name, or leave {app} out of update_commits",
)
APP_GONE = Kind(
    "update_app_gone",
    "{app} is part of the unfinished update, and its repository is gone",
    "{folder}",
    "put the repository back there",
)
NODES_BEHIND = Kind(
    "update_nodes_behind",
    "the update of {app} to {commit} is not finished on the reporting nodes",
    COMMAND,
    "run the command without update_commits first",
)
BRANCH_UNKNOWN = Kind(
    "update_branch_unknown",
    "{app} is on no branch, and the inventory names none",
    "{folder}",
    "set the app's branch in the inventory, or name a commit:"
    ' `-e \'{{"update_commits": {{"{app}": "COMMIT"}}}}\'`',
)
REFERENCE_INVALID = Kind(
    "update_reference_invalid",
    "{reference!r}, which {app} is to be updated to, cannot be the name of a commit, tag or branch",
    "update_commits, or the app in the inventory",
    "correct it",
)
REFERENCE_UNKNOWN = Kind(
    "update_reference_unknown",
    "{remote} of {app} has no commit, tag or branch {reference}; git reports: {message}",
    "{url}",
    "correct the name, or push it to that repository",
)
COMMIT_UNKNOWN = Kind(
    "update_commit_unknown",
    "{remote} of {app} has no commit {reference}",
    "{url}",
    "correct the name, or push the commit to that repository",
)
PIN_DIFFERS = Kind(
    "update_pin_differs",
    "update_commits wants commit {commit} of {app}, and the inventory pins {pin}",
    INVENTORY,
    "change the app's commit there, or remove it",
)
COMMIT_NOT_IN_BRANCH = Kind(
    "update_commit_not_in_branch",
    "{app} is at {here}, which is not in {branch} of its remote: it is a commit of your own, or the"
    " branch was rewritten",
    "{folder}",
    "to replace it by {commit} all the same, name {commit} in update_commits",
)
REMOTE_MISSING = Kind(
    "update_remote_missing",
    "{app} is to be updated to {reference}, and its repository has no remote {remotes}",
    "{folder}",
    "add one with `git remote add upstream URL`, or leave {app} out of update_commits and without"
    " a commit in the inventory",
)
CHANGES_LOST = Kind(
    "update_changes_lost",
    "{app} has changes that are in no commit and would be lost: {files}{more}",
    "{folder}",
    "commit them, `git stash` them, or remove them",
)
NODE_OUT_OF_STEP = Kind(
    "update_node_out_of_step",
    "the apps of {node} differ from the primary's: {differences}",
    "{node}",
    "run site.yml, or remove the node from the inventory",
)
PYTHON_UNFIT = Kind(
    "update_python_unfit",
    "the bench runs on Python {version}, which the wanted commits do not accept: {asked}",
    "{host}",
    "choose commits that accept this Python (update_commits), as an update does not change it; or"
    " build a new fleet on other hosts for these commits and restore the sites there",
)
NODEJS_UNFIT = Kind(
    "update_nodejs_unfit",
    "the fleet's Node.js is {version}, which the wanted commits do not accept: {asked}",
    "bench_node_version in the inventory",
    "set it to a release that fits, run site.yml, then the update again",
)
FOLDER_OWNER = Kind(
    "update_folder_owner",
    "{folders} belongs to another account, and {user} must replace what is in it",
    "{folders}",
    "run `chown -R {user}: {path}`",
)
DATABASE_MISSING = Kind(
    "update_database_missing",
    "the database {database} of {site} is not on this server, so it cannot be backed up",
    "{config}",
    "restore the database, or move the site's folder out of {sites}",
)
SITE_UNFINISHED = Kind(
    "update_site_unfinished",
    "{site} is still being made",
    "{config}",
    "wait until new-site has ended. If it was interrupted: where site.yml began it, run site.yml;"
    " else remove the rest with `drop-site {site}` (docs/sites.md)",
)
SITE_UNREADABLE = Kind(
    "update_site_unreadable",
    "{site} cannot be backed up: {message}",
    "{config}",
    "correct it, or move the site's folder out of {sites}",
)
DATABASE_RESERVED = Kind(
    "update_database_reserved",
    "db_name of {site} is {database!r}, which cannot be the database of a site",
    "{config}",
    "correct it, or move the site's folder out of {sites}",
)
NO_ROOM = "the backups do not fit there: {lack}"
BACKUPS_NO_ROOM = Kind(
    "update_backups_no_room",
    NO_ROOM,
    "{folder}",
    "make room there, or name another update_backup_dir",
)
FORMER_BACKUPS_NO_ROOM = Kind(
    "update_former_backups_no_room",
    NO_ROOM,
    "{folder}",
    "make room there, or name another update_backup_dir; `./fleet status` shows the backups of"
    " former updates in {folder}",
)
CODE_NO_ROOM = Kind("update_code_no_room", NO_ROOM, "{folder}", "make room there")
BACK_BEGUN = Kind(
    "update_back_begun",
    "the update of {stamp} is being taken back, and that is not finished",
    COMMAND,
    "run `./fleet rollback` first",
)
BACK_TOO_LATE = Kind(
    "update_back_too_late",
    "the update of {stamp} cannot be taken back: users have been let in, and restoring the backups"
    " would lose what they did since",
    COMMAND,
    "`./fleet update` ends the update; with `--app` it goes to other commits",
)
BACK_AFTER_END = Kind(
    "update_back_after_end",
    BACK_TOO_LATE.what,
    COMMAND,
    "`./fleet update` ends the update; another update can bring other commits then",
)


class UpdateRefusedError(BenchError):
    """An update does not begin or go on; problems: what must be corrected first."""

    def __init__(self, problems: Sequence[Problem], head: str = "") -> None:
        text = listed(problems, numbered=bool(head))
        super().__init__(f"{head}\n{text}" if head else text.lstrip("\n"))
        self.problems = list(problems)
