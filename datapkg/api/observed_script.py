"""Run a script, and note which packages it and its children import or load and which nodes they read.

Each process that imports datapkg finds the file for what it reads in its environment, so that it does not matter how it
was started: by fork, spawn, or as a program of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shlex import join
from typing import IO, Any

from datapkg.api.lock_results import LockResult
from datapkg.api.observed_lock import lock_seen
from datapkg.errors import BuildFailed
from datapkg.home import Home
from datapkg.objects.files import no_such_path
from datapkg.project import nearest_requirements
from datapkg.reading.seen_facts import reported
from datapkg.settings import OBSERVED


def lock_script(
    home: Home, script: Path, arguments: Sequence[str], *, dry_run: bool = False, stdout: int | IO[Any] | None = None
) -> LockResult:
    """Run a script and pin what it used in its project, as `lock_seen` does.

    The project is that of the nearest `datapkg.yml` above the script, else above the working directory; without one it
    is made in the working directory if the script is below it, else beside the script. Raise `NoSuchFile`;
    `BuildFailed`, with nothing written, if the script fails.
    """
    if not script.is_file():
        raise no_such_path(script, "file")
    with tempfile.TemporaryDirectory(prefix="datapkg-") as folder:
        facts = Path(folder) / "facts"
        facts.touch(0o600)
        environ = {**home.settings.environ, OBSERVED: str(facts)}
        code = subprocess.run([sys.executable, script, *arguments], stdout=stdout, env=environ, check=False).returncode
        seen = reported(facts.read_bytes())
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        again = join([sys.executable, str(script), *arguments])
        raise BuildFailed(f"{script} {how}; nothing was written", hint=again)
    return lock_seen(home, seen, _project(script), dry_run=dry_run)


def _project(script: Path) -> Path:
    above, here = Path(os.path.realpath(script)).parent, Path.cwd()
    if path := nearest_requirements(above) or nearest_requirements(here):
        return path.parent
    return here if above.is_relative_to(here.resolve()) else above
