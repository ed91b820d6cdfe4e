"""The repository from which a lab's apps come, and new commits in it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchfleet.lab import framework, state


def git(folder: Path, *words: str) -> str:
    """Run git in a folder with an author."""
    author = ["-c", "user.name=Lifecycle", "-c", "user.email=lifecycle@lab.invalid"]
    command = ["git", *author, "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@dataclass
class Upstream:
    """The repository from which the lab's apps come."""

    store: Path
    folder: Path

    @classmethod
    def of(cls, lab: state.Lab, parent: Path) -> Upstream:
        """The repository of a lab, with a clone below a folder, in which commits are made."""
        store = framework.repository(lab) / ".git"
        folder = parent / "upstream"
        subprocess.run(["git", "clone", "--quiet", str(store), str(folder)], check=True)
        return cls(store, folder)

    def release(self, subject: str, files: dict[str, str], patch: str = "") -> str:
        """Add a commit to the branch; files: texts to append, patch: code of a new patch."""
        number = git(self.folder, "rev-list", "--count", "HEAD")
        if patch:
            name = f"lifecycle_{number}"
            files = {**files, f"frappe/patches/{name}.py": patch}
            files["frappe/patches.txt"] = f"frappe.patches.{name}\n"
        for name, text in files.items():
            with (self.folder / name).open("a") as out:
                out.write(text)
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--message", subject)
        self.publish()
        return git(self.folder, "rev-parse", "HEAD")

    def withdraw(self) -> None:
        """Remove the last commit from the branch."""
        git(self.folder, "reset", "--quiet", "--hard", "HEAD~1")
        self.publish()

    def publish(self) -> None:
        """Set the branch to the folder's commit."""
        refs = f"+HEAD:refs/heads/{framework.BRANCH}"
        fetch = ["fetch", "--quiet", "--update-head-ok", str(self.folder), refs]
        subprocess.run(["git", f"--git-dir={self.store}", *fetch], check=True)
