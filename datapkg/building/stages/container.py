"""Run the command of a stage in a container of an image, with podman or docker.

The container sees the build folder and the inputs read-only at the same paths as here, and writes to its outputs. It
runs as the user of this process, without a network unless the stage asks for one.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datapkg.building.spec.model import Stage
from datapkg.building.stages import metrics
from datapkg.building.stages.capacity import VISIBLE_GPUS
from datapkg.errors import MissingDependency, StageFailed
from datapkg.format.texts import quoted

ENGINES = ("podman", "docker")
INSTALL = "sudo apt-get install podman"
NOT_STARTED = 125
"""The exit code of both engines when they have not run the command at all."""
_INSPECT_S = 60
_IN_QUOTES = re.compile(r'[",\n]')
_LINE_CHARS = 500
# A container is no child of its engine's program: it goes on when that is killed, and the first process in it ignores
# SIGTERM. So a shell between waits for that signal, which a build, its timeout or its watchdog sends to the group, and
# has the container killed where it does not end by itself.
_UNTIL_TERMINATED = """
engine=$1 name=$2
shift 2
trap 'is_over=1' TERM
"$@" &
wait $!
code=$?
if [ "$is_over" ]; then
    for second in 1 2; do kill -0 $! 2> /dev/null && sleep 1; done
    "$engine" kill "$name" > /dev/null 2>&1
fi
exit $code
"""


def check_engine(stages: Iterable[Stage], environ: Mapping[str, str]) -> None:
    """Raise `MissingDependency` if a stage names an image and no engine is here."""
    for stage in stages:
        if stage.image and _engine(environ) is None:
            what = (
                f"{stage.place}: stage {quoted(stage.name.partition('@')[0])} runs in the image {quoted(stage.image)}"
            )
            raise MissingDependency(f"{what}, which needs podman or docker; neither is installed", hint=INSTALL)


def _engine(environ: Mapping[str, str]) -> str | None:
    path = environ.get("PATH")
    return next((found for each in ENGINES if (found := shutil.which(each, path=path))), None)


@dataclass
class Images:
    """The images of a build: their ids, each asked once; one that is not here is fetched, unless in a dry run."""

    environ: Mapping[str, str]
    dry_run: bool
    _ids: dict[str, str] = field(default_factory=dict)

    def id_of(self, stage: Stage) -> str:
        """Return the hash of the content of a stage's image; "" if it is not here in a dry run.

        Raise `StageFailed` for an image that cannot be fetched or inspected.
        """
        if stage.image not in self._ids:
            check_engine([stage], self.environ)
            engine = str(_engine(self.environ))
            found = self._inspect(engine, stage)
            if not found and not self.dry_run:
                self._call(stage, [engine, "pull", "--quiet", stage.image], None)
                found = self._inspect(engine, stage)
            self._ids[stage.image] = found
        return self._ids[stage.image]

    def _inspect(self, engine: str, stage: Stage) -> str:
        with contextlib.suppress(StageFailed):
            command = [engine, "image", "inspect", "--format", "{{.Id}}", stage.image]
            return self._call(stage, command, _INSPECT_S).strip().removeprefix("sha256:")
        return ""

    def _call(self, stage: Stage, command: Sequence[str], timeout_s: float | None) -> str:
        try:
            done = subprocess.run(
                command,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
            problem = (
                "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        if problem:
            raise StageFailed(
                f"stage {quoted(stage.name)} ({stage.place}) cannot use the image {quoted(stage.image)}: "
                f"{problem[:_LINE_CHARS]}",
                hint=shlex.join([Path(command[0]).name, "pull", stage.image]),
                stage=stage.name,
            )
        return done.stdout


@dataclass(frozen=True)
class Container:
    """How the command of one run is given to the engine: `readable` and `writable` are seen at the same paths."""

    engine: str
    name: str
    image: str
    network: bool
    readable: Sequence[Path]
    writable: Sequence[Path]
    folder: Path
    passed: Sequence[str]
    given: Mapping[str, str]

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the command line of the engine, below a shell that ends the container on SIGTERM.

        Values of the user's own variables do not appear in it.
        """
        is_podman = Path(self.engine).name == "podman"
        # With SELinux's labels, the container could not read what is mounted; new labels would change the user's files.
        found = [self.engine, "run", "--rm", "--name", self.name, "--security-opt", "label=disable"]
        # Podman without root maps the user to root inside, unless told to keep it.
        is_kept = is_podman and os.getuid() != 0
        found += ["--userns", "keep-id"] if is_kept else ["--user", f"{os.getuid()}:{os.getgid()}"]
        found += [] if self.network else ["--network", "none"]
        for mode, paths in (("ro", self.readable), ("rw", self.writable)):
            for path in paths:
                found += ["--mount", _mount(path, mode)]
        found += ["--workdir", str(self.folder)]
        for name in self.passed:
            found += ["--env", name]
        for name, value in self.given.items():
            found += ["--env", f"{name}={value}"]
        if gpus := self.given.get(VISIBLE_GPUS):
            ours = [f"--device=nvidia.com/gpu={each}" for each in gpus.split(",")]
            found += ours if is_podman else ["--gpus", f'"device={gpus}"']
        return ["/bin/sh", "-c", _UNTIL_TERMINATED, "sh", self.engine, self.name, *found, self.image, *words]

    def remove(self, environ: Mapping[str, str]) -> None:
        """End the container if it still runs: the engine's program does not always take it along."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = [self.engine, "rm", "--force", self.name]
            subprocess.run(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_INSPECT_S,
                check=False,
            )


def _mount(path: Path, mode: str) -> str:
    """Return the fields that mount a path at the same path: CSV, since `--volume` would end a path at a colon."""
    fields = ["type=bind", f"source={path}", f"target={path}", *(["readonly"] if mode == "ro" else [])]
    return ",".join(f'"{each}"' if _IN_QUOTES.search(each) else each for each in (f.replace('"', '""') for f in fields))


def container_for(
    stage: Stage, environ: Mapping[str, str], root: Path, folder: Path, given: Mapping[str, str]
) -> Container:
    """Return the container of a run in `folder`, with the code at `root`; `given` are the variables that are ours."""
    check_engine([stage], environ)
    # An engine refuses relative paths, and the build folder is `.` where a build begins in it.
    root, folder = root.absolute(), folder.absolute()
    own = [folder / name for name in ("inputs", "site")]
    return Container(
        str(_engine(environ)),
        f"datapkg-{secrets.token_hex(8)}",
        stage.image,
        stage.network,
        list(dict.fromkeys([root, *own])),
        [folder / name for name in ("outputs", "notes", metrics.FOLDER)],
        root,
        [name for name in stage.env if name in environ and name not in given],
        # The user has no home folder in the image.
        {"HOME": "/tmp", **given},
    )
