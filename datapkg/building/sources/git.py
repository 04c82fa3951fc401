"""Run git where the repository, its configuration and its server may be hostile; no other module starts git.

Every setting of an untrusted repository is a possible attack: `core.sshCommand`, `ext::` remotes, hooks, file system
monitors, filters. Settings given on the command line override the repository's; environment variables cover what no
setting can: which protocols are allowed at all. With none allowed, git refuses before it starts a helper, ssh or
`core.gitProxy`, also where it would fetch a missing object on its own (a partial clone), which git before 2.44 always
tries.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

NO_PROTOCOL = "none"
ANSWER_SECONDS = 2.0
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "protocol.ext.allow=never",
    "protocol.file.allow=never",
    "http.followRedirects=initial",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "gc.auto=0",
    "maintenance.auto=false",
    "credential.interactive=false",
    "advice.detachedHead=false",
)
_VARIABLES = {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


@contextmanager
def run_git(
    arguments: list[str],
    *,
    folder: Path,
    protocols: str = NO_PROTOCOL,
    environ: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start git in a folder; when the block ends, kill it and all processes that it started.

    `protocols` are the allowed protocols, joined by colons. `environ` is the whole environment; None means that of this
    process. git runs in a session of its own, so that nothing can prompt on a terminal. Raise `FileNotFoundError` if
    git is not installed and `environ` is given.
    """
    variables = {**_VARIABLES, "GIT_ALLOW_PROTOCOL": protocols}
    command = ["git", *(part for setting in _SETTINGS for part in ("-c", setting)), *arguments]
    if environ is None:  # only `home` may read the environment, so env(1) adds to it
        command = ["env", *(f"{name}={value}" for name, value in variables.items()), *command]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=None if environ is None else {**environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def answer(folder: Path, *arguments: str, empty: int = 0) -> str | None:
    """Return the output of a git command in a folder; None if it fails or takes longer than `ANSWER_SECONDS`.

    `empty` is the exit code that means that nothing was found.
    """
    try:
        with run_git(list(arguments), folder=folder) as process:
            out, _ = process.communicate(timeout=ANSWER_SECONDS)
            return out.decode("utf-8", "replace") if process.returncode in (0, empty) else None
    except (OSError, subprocess.SubprocessError):
        return None
