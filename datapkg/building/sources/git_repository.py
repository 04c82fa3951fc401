"""Fetch a folder of a git repository at one commit, without history and without running any of its code.

git fetches with the user's settings, because credentials and proxies are theirs, and checks out without them, because a
filter among them would run on untrusted files. Only https and ssh (and http on this machine) are allowed, whatever a
redirect or setting demands. Hooks, filters, monitors, submodules and credential prompts are disabled, and nothing is
checked out before its size is known.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from datapkg.building.sources import git
from datapkg.building.spec.git_address import SCHEME, Address
from datapkg.errors import BuildFailed, MissingDependency, NotFound, Unreachable
from datapkg.format.texts import quoted
from datapkg.objects.files import temp_path

MAX_FILES = 500_000
MAX_SECONDS = 3_600.0
_LOCAL_SECONDS = 600.0
_LIST_SECONDS = 60.0
_REMOTE = ("fetch", "ls-remote")
_POLL_S = 0.2
_MAX_SAID = 64 << 10  # of the output of git, for messages and commit ids
# Users have Git LFS as a filter in their settings; it would contact a server that the repository names.
_NO_LFS = ("-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false")
# Others, such as GIT_DIR where a hook starts a build, would lead git to another repository.
_KEPT_VARIABLES = re.compile(r"GIT_(?:SSH|SSH_COMMAND|SSH_VARIANT|SSL_\w+|PROXY_SSL_\w+|HTTP_\w+|EXEC_PATH)\Z")


@dataclass(frozen=True)
class Checkout:
    """The checked-out folder on this machine, and its origin for the build record."""

    folder: Path
    record: dict[str, str]


@contextmanager
def open_checkout(address: Address, under: Path, environ: Mapping[str, str], limit_bytes: int) -> Iterator[Checkout]:
    """Fetch a commit and yield its checkout, in a new folder below `under` that is deleted when the block ends.

    Raise `Unreachable`, `NotFound`, or `BuildFailed` for more than `limit_bytes` or `MAX_FILES`.
    """
    root = temp_path(under, "repository")
    root.mkdir(mode=0o700)
    try:
        work = _Git(root, address, environ, limit_bytes)
        commit = work.fetch()
        work.check_out(commit)
        folder = root / "work" / address.folder if address.folder else root / "work"
        record = {"remote": address.shown, "commit": commit}
        yield Checkout(folder, {**record, **({"folder": address.folder} if address.folder else {})})
    finally:
        shutil.rmtree(root, ignore_errors=True)


def remote_commit(address: Address, under: Path, environ: Mapping[str, str]) -> str:
    """Return the commit that an address means now, without fetching it; raise `Unreachable` or `NotFound`."""
    if re.fullmatch(r"[0-9a-f]{40}", address.rev):
        return address.rev
    root = temp_path(under, "repository")
    root.mkdir(mode=0o700, parents=True)
    try:
        return _Git(root, address, environ, _MAX_SAID).listed_commit()
    finally:
        shutil.rmtree(root, ignore_errors=True)


class _Git:
    """git commands in a private folder, with limits on time and size."""

    def __init__(self, root: Path, address: Address, environ: Mapping[str, str], limit_bytes: int) -> None:
        self._root, self._address, self._limit_bytes = root, address, limit_bytes
        self._work = root / "work"
        scheme = urlsplit(address.remote).scheme if SCHEME.match(address.remote) else "ssh"
        self._protocols = "http" if scheme == "http" else "https:ssh"
        kept = {
            name: value for name, value in environ.items() if not name.startswith("GIT_") or _KEPT_VARIABLES.match(name)
        }
        self._environ = {
            **kept,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ASKPASS": "false",
            "SSH_ASKPASS": "false",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_CEILING_DIRECTORIES": str(root),
        }

    def fetch(self) -> str:
        """Fetch the commit without history and return its hash."""
        # No template, which could bring hooks.
        self._run("init", "--quiet", "--template=", str(self._work), folder=self._root, own_settings=False)
        wanted = self._address.rev or "HEAD"
        options = ("--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-gc")
        self._run("fetch", *options, "--", self._address.remote, wanted, seconds=MAX_SECONDS)
        return self._run("rev-parse", "--verify", "FETCH_HEAD^{commit}", own_settings=False).strip()

    def listed_commit(self) -> str:
        """Return the commit of the revision, as `git fetch` would choose it: a tag before a branch."""
        wanted = self._address.rev or "HEAD"
        patterns = [wanted, f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}", f"refs/heads/{wanted}"]
        out = self._run("ls-remote", "--", self._address.remote, *patterns, folder=self._root, seconds=_LIST_SECONDS)
        names = {name: commit for commit, _, name in (line.partition("\t") for line in out.splitlines())}
        for name in (*patterns[1:], wanted):
            if name in names:
                return names[name]
        raise NotFound(f"{self._address.shown} has no revision {quoted(wanted)}")

    def check_out(self, commit: str) -> None:
        """Write the files, after checking their number and size."""
        self._measure(commit)
        if not self._address.folder:
            self._run("checkout", "--quiet", "--force", "--detach", commit, own_settings=False)
            return
        # With a folder, only its files are written: the index is filled without a checkout of the rest.
        self._run("update-ref", "--no-deref", "HEAD", commit, own_settings=False)
        self._run("read-tree", commit, own_settings=False)
        where = f":(literal){self._address.folder}"
        self._run("checkout", "--quiet", commit, "--", where, own_settings=False)

    def _measure(self, commit: str) -> None:
        """Enforce the limits on files: a small repository may expand to any number of files of any size."""
        command = ["ls-tree", "-r", "-l", "-z", "--full-tree", commit]
        if self._address.folder:
            command += ["--", f"{self._address.folder}/"]
        count = size = 0
        with self._process(command, own_settings=False) as process:
            assert process.stdout is not None
            rest = b""
            while piece := process.stdout.read(1 << 16):
                *lines, rest = (rest + piece).split(b"\0")
                for line in lines:
                    number = line.split(b"\t", 1)[0].split()[-1]
                    count += 1
                    size += int(number) if number.isdigit() else 0
                if count > MAX_FILES or size > self._limit_bytes:
                    raise self._too_big(count, size)
            if process.wait():
                raise self._failure("ls-tree", (self._root / "stderr").read_bytes()[-_MAX_SAID:])
        if not count:
            what = f"no folder {quoted(self._address.folder)}" if self._address.folder else "no files"
            raise NotFound(f"{self._address.shown} has {what} at {commit[:12]}")

    def _too_big(self, count: int, size: int) -> BuildFailed:
        if count > MAX_FILES:
            return BuildFailed(f"{self._address.shown} has more than {MAX_FILES:,} files, which is the bound")
        return BuildFailed(
            f"{self._address.shown} has more than {self._limit_bytes:,} bytes, the bound that max_source_bytes sets",
            hint=f"datapkg config max_source_bytes {max(size, 2 * self._limit_bytes)}",
        )

    def _run(
        self, *arguments: str, folder: Path | None = None, seconds: float = _LOCAL_SECONDS, own_settings: bool = True
    ) -> str:
        """Return the output of git; raise a datapkg error with git's message as the reason."""
        end = time.monotonic() + seconds
        with self._process(list(arguments), folder=folder, own_settings=own_settings) as process:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
                if time.monotonic() > end:
                    raise Unreachable(f"{self._address.shown} was not fetched within {seconds:,.0f} s")
                if (size := _size(self._work / ".git")) > 2 * self._limit_bytes:
                    raise self._too_big(0, size)
            out = (self._root / "stdout").read_bytes()[:_MAX_SAID].decode("utf-8", "replace")
            if process.returncode:
                raise self._failure(arguments[0], (self._root / "stderr").read_bytes()[-_MAX_SAID:])
        return out

    @contextmanager
    def _process(
        self, arguments: list[str], *, folder: Path | None = None, own_settings: bool
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start git; when the block ends, kill it and all processes that it started.

        `own_settings` are the user's: credentials and proxies. Files are written without them, since a filter in them
        would run, and without any protocol, since the whole commit has been fetched.
        """
        environ = self._environ if own_settings else {**self._environ, "GIT_CONFIG_GLOBAL": os.devnull}
        with open(self._root / "stdout", "wb") as stdout, open(self._root / "stderr", "wb") as stderr:
            try:
                with git.run_git(
                    [*_NO_LFS, *arguments],
                    folder=folder or self._work,
                    protocols=self._protocols if arguments[0] in _REMOTE else git.NO_PROTOCOL,
                    environ=environ,
                    stdout=subprocess.PIPE if arguments[0] == "ls-tree" else stdout,
                    stderr=stderr,
                ) as process:
                    yield process
            except FileNotFoundError:
                raise MissingDependency("building from a repository needs git", hint="apt-get install git") from None

    def _failure(self, verb: str, stderr: bytes) -> Unreachable | NotFound | BuildFailed:
        lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
        lines = [
            line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:", "Permission", "Host"))
        ]
        text = "; ".join(line.partition(":")[2].strip() or line for line in lines)[:400] or "git gives no reason"
        text = text.replace(self._address.remote, self._address.shown).replace(str(self._root), "…")
        what = f"{self._address.shown} cannot be fetched: {text}"
        if verb not in _REMOTE:
            return BuildFailed(f"{self._address.shown} cannot be written out: {text}")
        if "couldn't find remote ref" in text or "not our ref" in text or "not found" in text.lower():
            return NotFound(
                what, hint="look whether the address and the revision are right; a commit has all 40 digits"
            )
        return Unreachable(what, hint="try it by hand: git ls-remote " + self._address.shown)


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder; files that vanish meanwhile are skipped."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total
