"""Run a script in a process of its own, and note which packages it imports or loads and which nodes it reads."""

from __future__ import annotations

import json
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
from datapkg.api.seen_facts import Facts
from datapkg.errors import BuildFailed
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.files import no_such_path
from datapkg.project import nearest_requirements
from datapkg.reading.observers import observing

_RUN = "from datapkg.api.observed_script import run_observed as run; run()"


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
        command = [sys.executable, "-c", _RUN, str(facts), str(script), *arguments]
        code = subprocess.run(command, stdout=stdout, check=False).returncode
        seen = _seen(facts)
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        again = join([sys.executable, str(script), *arguments])
        raise BuildFailed(f"{script} {how}; nothing was written", hint=again)
    return lock_seen(home, seen, _project(script), dry_run=dry_run)


def _seen(facts: Path) -> Facts:
    seen = Facts()
    for line in facts.read_bytes().splitlines() if facts.exists() else ():
        kind, ref = json.loads(line)
        seen.note(kind, Ref.parse(ref))
    return seen


def _project(script: Path) -> Path:
    above, here = Path(os.path.realpath(script)).parent, Path.cwd()
    if path := nearest_requirements(above) or nearest_requirements(here):
        return path.parent
    return here if above.is_relative_to(here.resolve()) else above


def run_observed() -> None:
    """Run the script that `sys.argv` names, as Python runs it, and write what it uses into a file, a fact a line.

    Each fact is appended when it is new, so that they remain if the process is killed, and forked children add theirs.
    """
    facts, script, *arguments = sys.argv[1:]

    def report(kind: str, ref: Ref) -> None:
        file = os.open(facts, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, json.dumps([kind, str(ref)]).encode() + b"\n")
        finally:
            os.close(file)

    sys.argv = [script, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    module = sys.modules["__main__"].__dict__
    module.pop("run")
    module |= {"__file__": os.path.abspath(script), "__cached__": None}
    with observing(Facts(report)):
        exec(compile(Path(script).read_bytes(), script, "exec"), module)
