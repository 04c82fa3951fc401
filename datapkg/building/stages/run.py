"""Run one stage: fresh inputs, its command, and what it wrote as the files of its outputs.

`{out}` is a fresh path. What the command leaves there becomes the output only after it has ended well.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapkg.building.sources.file import open_source, put_file
from datapkg.building.sources.function import source_files
from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.model import Stage
from datapkg.building.spec.stage_names import PLACEHOLDER
from datapkg.building.stages import metrics
from datapkg.building.stages.capacity import VISIBLE_GPUS
from datapkg.building.stages.container import NOT_STARTED, container_for
from datapkg.building.stages.inputs import Input, place_all
from datapkg.building.stages.noted_files import MODULES_VARIABLE, ROOT_VARIABLE, noted_code, unnoted, write_site
from datapkg.building.stages.process import Processes, tail
from datapkg.building.stages.shell_text import filled_shell, is_script
from datapkg.errors import DatapkgError, DiskFull, StageFailed, exhausted
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, GroupNode, Node
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects
from datapkg.objects.files import NO_ROOM
from datapkg.objects.free_space import OTHER_DISK, free_bytes
from datapkg.settings import METRICS_VARIABLE

# Calls the function of a stage: module, function, then paths and params as JSON.
_CALL = """
import importlib, json, pathlib, sys
sys.path.insert(0, sys.argv[1])
module, function, given = sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
paths = {name: pathlib.Path(path) for name, path in given["paths"].items()}
getattr(importlib.import_module(module), function)(**paths, **given["params"])
"""
# Of an isolated stage: what a program needs to find its files, beside the variables that the stage names.
_ISOLATED_ENV = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")
_RETRY_PAUSE_S = 1.0  # doubled after each retry
_FULL_BYTES = 64 << 10
_MAX_NAME_BYTES = 255
_NAME_START_BYTES = 200


@dataclass(frozen=True)
class StageRun:
    """What a run gave: the nodes of outputs and metrics, the code that it used by path, how long it took, warnings.

    `absent` are the paths of modules that it imported in vain.
    """

    nodes: list[Node]
    code: list[str]
    seconds: float
    warnings: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Workplace:
    """Where a stage runs: the build folder, an empty folder for its files, its log, and the environment."""

    root: Path
    folder: Path
    log: Path
    environ: Mapping[str, str]


def run_stage(
    stage: Stage, inputs: Mapping[str, Input], place: Workplace, objects: Objects, processes: Processes
) -> StageRun:
    """Run a stage, again where it failed as often as it allows, and store its outputs.

    Raise `StageFailed` with the end of its log; `DiskFull` where there is no room for its outputs.
    """
    start = time.monotonic()
    for number in range(stage.retries + 1):
        folder = place.folder / f"try{number}"
        try:
            problem, paths, notes = _run_once(stage, inputs, place, folder, processes)
        except StageFailed as error:
            what = f"stage {quoted(stage.name)} ({stage.place}): {error}"
            raise StageFailed(what, hint=error.hint, stage=stage.name) from error
        problem = problem or _missing_output(stage, paths)
        if not problem:
            break
        if number < stage.retries and not processes.is_stopped:
            time.sleep(min(_RETRY_PAUSE_S * 2**number, 30))
    if problem:
        raise _failure(stage, problem, place)
    with objects.batch():
        nodes = [node for name in stage.outputs for node in _stored(stage, name, paths[name], objects)]
        reported, warnings = metrics.kept_metrics(folder / metrics.FOLDER / metrics.FILE, objects)
    warnings += [*_beside_outputs(stage, folder / "outputs"), *unnoted(stage.run, notes)]
    code, absent = noted_code(notes, place.root, folder)
    warnings = [f"stage {quoted(stage.name)}: {each}" for each in warnings]
    return StageRun([*nodes, *reported], code, time.monotonic() - start, warnings, absent)


def _failure(stage: Stage, problem: str, place: Workplace) -> DatapkgError:
    end, log = tail(place.log), str(place.log)
    printed = f"; the end of its output:\n{end}" if end else ""
    failed = f"stage {quoted(stage.name)} ({stage.place}) {problem}"
    # Its log is on the same disk, and may not have what the command printed about it.
    if (free := free_bytes(place.folder)) < _FULL_BYTES:
        what = f"{failed}, and the disk of {place.folder.parent} has {free:,} bytes free{printed}"
        return DiskFull(what, hint=OTHER_DISK, stage=stage.name, log=log)
    return StageFailed(f"{failed}{printed}", hint=log_hint(place.log), stage=stage.name, log=log)


def system_failure(stage: Stage, error: OSError) -> DatapkgError:
    """Return the failure of a stage for an error of the system, such as a full disk, while its files were moved."""
    doing = f"stage {quoted(stage.name)} cannot run"
    if lack := exhausted(error, doing):
        return lack
    if error.errno in NO_ROOM:
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return DiskFull(f"{doing}: {place}{error.strerror}", hint=OTHER_DISK, stage=stage.name)
    hint = f"ls -ld {shlex.quote(os.fsdecode(error.filename))}" if error.filename else ""
    return StageFailed(f"{doing}: {error}", hint=hint, stage=stage.name)


def log_folder(logs: Path, stage: str) -> Path:
    """Return the folder of the logs of a stage; values of a matrix can make its name too long for a file system."""
    name = os.fsencode(stage)
    if len(name) <= _MAX_NAME_BYTES:
        return logs / stage
    return logs / f"{name[:_NAME_START_BYTES].decode(errors='ignore')}-{hash_bytes(name)[:16]}"


def log_hint(log: Path) -> str:
    """Return the line that shows a log."""
    return f"see all of its output: less {shlex.quote(str(log))}"


def _run_once(
    stage: Stage, inputs: Mapping[str, Input], place: Workplace, folder: Path, processes: Processes
) -> tuple[str, dict[str, Path], Path]:
    """Run the command once; return what went wrong, the paths of the outputs, and where imports are noted."""
    for name in ("inputs", "outputs", "code", "notes", "site", metrics.FOLDER):
        (folder / name).mkdir(parents=True)
    write_site(folder / "site")
    given = place_all(inputs, folder / "inputs")
    outputs = {}
    for name, text in stage.outputs.items():
        (folder / "outputs" / name).mkdir()
        outputs[name] = folder / "outputs" / name / text.rstrip("/")
        if text.endswith("/"):
            outputs[name].mkdir()
    root = place.root
    if stage.isolated:
        root = folder / "code"
        _copy_code(stage, place.root, root)
    command = _command(stage, {**given, **outputs}, place, root)
    problem = _run_command(command, stage, place, folder, root, processes)
    return problem, outputs, folder / "notes"


def _run_command(
    command: list[str], stage: Stage, place: Workplace, folder: Path, root: Path, processes: Processes
) -> str:
    """Run the command, in a container where the stage has an image; return what went wrong."""
    how: dict[str, Any] = {"folder": root, "log": place.log, "timeout_s": stage.timeout_s}
    if not stage.image:
        return processes.run(command, environ=_environ(stage, place.environ, folder, root), **how)
    own = _own_variables(stage, "", folder, root)
    own |= {VISIBLE_GPUS: place.environ[VISIBLE_GPUS]} if stage.resources.gpu else {}
    container = container_for(stage, place.environ, root, folder, own)
    problem = processes.run(container.command(command), environ=place.environ, **how)
    if problem:
        container.remove(place.environ)
    is_of_engine = problem == f"ended with exit code {NOT_STARTED}"
    return f"was not started by {Path(container.engine).name}" if is_of_engine else problem


def _command(stage: Stage, paths: Mapping[str, Path], place: Workplace, root: Path) -> list[str]:
    """Return the words of the command with all names in braces replaced."""
    if stage.python:
        module = ".".join(stage.python.module.relative_to(place.root).with_suffix("").parts)
        given = json.dumps({"paths": {name: str(path) for name, path in paths.items()}, "params": stage.params})
        python = "python3" if stage.image else sys.executable
        return [python, "-c", _CALL, str(root), module, stage.python.function, given]
    values = {**{name: str(path) for name, path in paths.items()}, **{k: _text(v) for k, v in stage.params.items()}}
    if stage.shell:
        return ["/bin/sh", "-c", filled_shell(stage.run[0], values)]
    fill = [filled_shell if is_script(stage.run, index) else _filled for index in range(len(stage.run))]
    return [filled(word, values) for filled, word in zip(fill, stage.run, strict=True)]


def _filled(word: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: values[match[1]] if match[1] else match[0][0], word)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _environ(stage: Stage, environ: Mapping[str, str], folder: Path, root: Path) -> dict[str, str]:
    names = {*_ISOLATED_ENV, *stage.env} if stage.isolated else environ.keys()
    found = {name: environ[name] for name in names if name in environ}
    return {**found, **_own_variables(stage, found.get("PYTHONPATH", ""), folder, root)}


def _own_variables(stage: Stage, python_path: str, folder: Path, root: Path) -> dict[str, str]:
    """Return the variables by which the modules are noted that a Python imports."""
    path = os.pathsep.join(filter(None, [str(folder / "site"), python_path]))
    noted = {MODULES_VARIABLE: str(folder / "notes"), ROOT_VARIABLE: os.path.realpath(root)}
    own = {"DATAPKG_STAGE": stage.name, METRICS_VARIABLE: str(folder / metrics.FOLDER / metrics.FILE)}
    return {**noted, "PYTHONPATH": path, **own}


def _copy_code(stage: Stage, root: Path, target: Path) -> None:
    """Copy the code of an isolated stage, which sees no other file of the build folder."""
    paths = [each.path for each in stage.code]
    paths += source_files(stage.python.module) if stage.python else []
    for path in {path.absolute(): None for path in paths}:
        place = target / path.relative_to(root.absolute())
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _missing_output(stage: Stage, paths: Mapping[str, Path]) -> str:
    for name, path in paths.items():
        if stage.outputs[name].endswith("/") and not path.is_dir():
            return f"left no folder at the path of its output {quoted(name)}"
        if not stage.outputs[name].endswith("/") and not path.is_file():
            return f"did not write the file of its output {quoted(name)}, whose path is {{{name}}} in the command"
    return ""


def _beside_outputs(stage: Stage, folder: Path) -> Iterator[str]:
    """Yield a warning for each file that a command left beside the path of an output, where it belongs to none."""
    for name, text in stage.outputs.items():
        place = folder / name
        names = () if place.is_symlink() else sorted(each for each in os.listdir(place) if each != text.rstrip("/"))
        if names:
            more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            yield (
                f"{quoted(names[0])}{more} beside the path of its output {quoted(name)} belongs to no output, and was "
                f"not kept; a folder takes all files: {name}: {name}/"
            )


def _stored(stage: Stage, name: str, path: Path, objects: Objects) -> Iterator[Node]:
    """Store the files of an output, and yield their nodes below its name."""
    if path.parent.is_symlink() or path.parent.parent.is_symlink():
        raise _not_a_file(stage, name, "the path of its folder")
    if path.is_dir() and not path.is_symlink():
        files = sorted(_files(stage, name, path, ()))
        if not files:
            yield GroupNode(path=name)
        for parts, file in files:
            yield _file_node("/".join((name, *parts)), file, objects)
    else:
        _check_regular(stage, name, path)
        yield _file_node(name, path, objects)


def _file_node(path: str, file: Path, objects: Objects) -> FileNode:
    with open_source(file, file.name) as stream:
        hash, size = put_file(stream, objects)
    return FileNode(path=path, hash=hash, size=size, file_name=file.name)


def _files(stage: Stage, name: str, folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Path]]:
    for entry in os.scandir(folder):
        here = (*parts, entry.name)
        if problem := name_problem((name, *here)):
            raise StageFailed(
                f"stage {quoted(stage.name)}: output {quoted(name)} has a file that cannot be a node: {problem}"
            )
        if entry.is_dir(follow_symlinks=False):
            yield from _files(stage, name, Path(entry.path), here)
        else:
            _check_regular(stage, name, Path(entry.path))
            yield here, Path(entry.path)


def _check_regular(stage: Stage, name: str, path: Path) -> None:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise _not_a_file(stage, name, quoted(path.name))


def _not_a_file(stage: Stage, name: str, shown: str) -> StageFailed:
    what = f"stage {quoted(stage.name)}: {shown} in output {quoted(name)} is not a regular file"
    return StageFailed(what, hint="write files, not links", stage=stage.name)
