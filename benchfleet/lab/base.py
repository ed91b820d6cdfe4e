"""Base images: a plain Debian as a user's server has it, made once per release and kept.

The images lie below BASES as <release>/<recipe>: a change of the recipe (packages, mirror, trusted
roots) makes a new image beside the old one, which running labs go on using.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchfleet.shell import FleetError, free_bytes, locked, remove_tree, run, say

BASES = Path("/var/lib/benchfleet/base")
RELEASES = ("bookworm", "trixie")
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "iproute2",
    "ca-certificates",
    "procps",
    "cron",
)
BUILD_BYTES = 1536 * 1024**2
PRIVATE_ROOTS = Path("/usr/local/share/ca-certificates")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# What pip, uv, npm, git and Python's ssl each read; none of them uses Debian's bundle by default.
BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
APT_SETTINGS = re.compile(r"^Acquire::(Check-|Max-FutureTime|Retries|ForceIPv|https?::)", re.I)


@dataclass(frozen=True)
class Archive:
    """Where a release's packages come from; `None` where this machine has no such part."""

    main: str
    security: str | None
    updates: bool


def parse_targets(lines: Iterable[str], codename: str) -> Archive:
    """Find this machine's Debian archive in the output of `apt-get indextargets`.

    lines: "<uri>|<suite>|<component>" each. codename: this machine's own release.
    Raises FleetError when there is no archive of that release with component main.
    """
    names = {codename, "stable", "oldstable", "testing"}
    main = security = None
    updates = False
    for line in lines:
        uri, suite, component = line.strip().split("|")
        if component != "main":
            continue
        suite = suite.rstrip("/")
        if suite in names:
            main = main or uri
        elif suite.split("-")[0] in names and suite.endswith("-updates"):
            updates = True
        elif re.split(r"[-/]", suite)[0] in names and re.search(r"-security$|/updates$", suite):
            security = security or uri
    if main is None:
        raise FleetError(
            f"apt has no source of Debian {codename} with component main on this machine, and the"
            " lab's hosts are installed from it: add one in `/etc/apt/sources.list.d`"
        )
    return Archive(real_uri(main), real_uri(security) if security else None, updates)


def real_uri(uri: str) -> str:
    """Return an archive address that also works inside a host.

    apt's mirror lists (mirror+file:) become their first entry. Raises FleetError for an archive
    that lies in this machine's own file system.
    """
    if uri.startswith("mirror+file:"):
        listing = Path("/" + uri.removeprefix("mirror+file:").strip("/"))
        entries = [line.split()[0] for line in listing.read_text().splitlines() if line.strip()]
        uri = next((entry for entry in entries if not entry.startswith("#")), "")
    if not re.match(r"https?://", uri):
        raise FleetError(
            f"apt on this machine has Debian from {uri!r}, which the lab's hosts cannot reach: name"
            " one with http:// or https:// in `/etc/apt/sources.list.d`"
        )
    return uri.rstrip("/") + "/"


def sources_list(archive: Archive, release: str) -> str:
    """Return the lines of a host's apt sources."""
    lines = [f"deb [signed-by={KEYRING}] {archive.main} {release} main"]
    if archive.updates:
        lines.append(f"deb [signed-by={KEYRING}] {archive.main} {release}-updates main")
    if archive.security:
        lines.append(f"deb [signed-by={KEYRING}] {archive.security} {release}-security main")
    return "\n".join(lines) + "\n"


def apt_settings(dump: Iterable[str]) -> str:
    """Return those of this machine's apt settings that decide whether its archive can be used.

    dump: the lines of `apt-config dump`. A proxy on this machine's loopback is left out: a host
    cannot reach it.
    """
    kept = []
    for line in dump:
        name, _, value = line.strip().partition(" ")
        if not APT_SETTINGS.match(name) or value == '"";':
            continue
        if re.search(r"//(127\.|localhost|\[::1\])", value):
            continue
        kept.append(f"{name} {value}")
    return "\n".join(kept) + ("\n" if kept else "")


def this_release() -> str:
    """Return the code name of the Debian this machine runs."""
    facts = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    if facts.get("ID", "").strip('"') != "debian":
        raise FleetError(
            f"the lab needs Debian 12 or 13; /etc/os-release here says ID={facts.get('ID')}"
        )
    return facts.get("VERSION_CODENAME", "").strip('"')


@dataclass(frozen=True)
class Recipe:
    """All that decides how an image looks."""

    release: str
    sources: str
    settings: str
    roots: tuple[tuple[str, bytes], ...]

    @property
    def path(self) -> Path:
        """The image's place: the same recipe always lies in the same one."""
        digest = hashlib.sha256(
            repr((self, PACKAGES, Path(__file__).read_bytes())).encode()
        ).hexdigest()
        return BASES / self.release / digest[:12]


def recipe_for(release: str) -> Recipe:
    """Read the recipe of a release's image from this machine's own settings."""
    layout = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    targets = run(
        ["apt-get", "indextargets", "--no-release-info", "--format", layout, "Created-By: Packages"]
    )
    archive = parse_targets(targets.splitlines(), this_release())
    roots = sorted(PRIVATE_ROOTS.glob("**/*.crt")) if PRIVATE_ROOTS.is_dir() else []
    return Recipe(
        release,
        sources_list(archive, release),
        apt_settings(run(["apt-config", "dump"]).splitlines()),
        tuple((str(root.relative_to(PRIVATE_ROOTS)), root.read_bytes()) for root in roots),
    )


def ensure(release: str, in_use: Iterable[Path]) -> Path:
    """Return the root folder of a release's image, made first where there is none.

    in_use: images that labs stand on; others of this release with an old recipe are removed.
    Raises FleetError when the disk is too small or mmdebstrap fails; nothing incomplete stays.
    """
    recipe = recipe_for(release)
    busy = f"waiting for the {release} base image, which process {{pid}} is making"
    with locked(Path(f"/run/benchfleet/base-{release}.lock"), busy, wait=True):
        if not recipe.path.is_dir():
            sweep(recipe, set(in_use))
            build(recipe)
    return recipe.path


def sweep(recipe: Recipe, in_use: set[Path]) -> None:
    """Remove interrupted builds and images of old recipes that no lab stands on."""
    if recipe.path.parent.is_dir():
        for old in recipe.path.parent.iterdir():
            if old not in in_use:
                remove_tree(old)


def build(recipe: Recipe) -> None:
    """Make an image beside its place and move it there once it is whole."""
    free = free_bytes(recipe.path)
    if free < BUILD_BYTES:
        raise FleetError(
            f"{free // 1024**2} MiB are free for {recipe.path.parent}; making the {recipe.release}"
            f" base image needs {BUILD_BYTES // 1024**2}: free some, or mount a larger disk there"
        )
    say(f"making the {recipe.release} base image (once; kept in {recipe.path})")
    recipe.path.parent.mkdir(parents=True, exist_ok=True)
    partial = recipe.path.with_name(f".making-{os.getpid()}")
    log = Path("/var/log/benchfleet") / f"base-{recipe.release}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # Ends with this process, however that ends, and its own processes and mounts with it.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--mount-proc"]
    command += ["--pid", "--fork", "--kill-child"]
    command += ["mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase"]
    command += [f"--include={','.join(PACKAGES)}"]
    command += [f"--aptopt={line}" for line in recipe.settings.splitlines()]
    command += [recipe.release, str(partial), "-"]
    try:
        with log.open("w") as output:
            done = subprocess.run(
                command,
                input=recipe.sources,
                text=True,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            end = "\n".join(log.read_text().splitlines()[-15:])
            raise FleetError(f"mmdebstrap could not make the base image (log: {log}):\n{end}")
        finish(recipe, partial)
        partial.rename(recipe.path)
    finally:
        remove_tree(partial)
    sys.stderr.flush()


def finish(recipe: Recipe, root: Path) -> None:
    """Turn a bootstrapped tree into an image: without an identity, with this machine's roots."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (root / "etc/hostname").unlink(missing_ok=True)
    if not recipe.roots:
        return
    for name, content in recipe.roots:
        target = root / PRIVATE_ROOTS.relative_to("/") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    run(["chroot", root, "update-ca-certificates"])
    pairs = [f"{name}={BUNDLE}" for name in BUNDLE_VARIABLES]
    with (root / "etc/environment").open("a") as environment:
        environment.write("\n".join(pairs) + "\n")
    manager = root / "etc/systemd/system.conf.d/private-roots.conf"
    manager.parent.mkdir(parents=True, exist_ok=True)
    manager.write_text(f"[Manager]\nDefaultEnvironment={' '.join(pairs)}\n")
    sudoers = root / "etc/sudoers.d/private-roots"
    sudoers.write_text(f'Defaults env_keep += "{" ".join(BUNDLE_VARIABLES)}"\n')
    sudoers.chmod(0o440)
    (root / "etc/pip.conf").write_text(f"[global]\ncert = {BUNDLE}\n")
