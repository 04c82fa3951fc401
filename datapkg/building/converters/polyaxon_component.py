"""Convert a file of Polyaxon 1: a component that runs a job, or an operation that runs one, maybe over a matrix."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from datapkg.building.converters.code_files import inner_path
from datapkg.building.converters.conversion import Conversion
from datapkg.building.converters.polyaxon_run import NAME, CommandTemplate, add_run, described, stop_rules
from datapkg.building.converters.sections import Section, plain_value, texts_of
from datapkg.building.spec.matrix_values import DISTRIBUTIONS, SEQUENCES
from datapkg.format.texts import quoted

KINDS = ("component", "operation")
_LISTS = {"choice": "values", "pchoice": "pvalues"}
_VALUE_KINDS = {**{kind: kind for kind in (*SEQUENCES, *DISTRIBUTIONS)}, **_LISTS}
_SEARCHES = ("grid", "random", "mapping")
_SHELLS = ("sh", "bash", "ash", "dash", "zsh")
_CPU = re.compile(r"(\d{1,9})m\Z")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGT]i?)\Z")
_GPU = "nvidia.com/gpu"
_OF_INPUT = ("type", "isOptional", "isList", "isFlag", "description", "options", "validation")


def convert_component(top: Section, kind: str, path: Path, conversion: Conversion) -> list[Path]:
    """Convert a component or an operation, and return the files that were read.

    Raise `InvalidInput` for a component that is not in these files, or that runs anything but a job.
    """
    files, component = [path], top
    stage: dict[str, Any] = {}
    if kind == "operation":
        component, files = _component_of(top, path, conversion)
        _matrix(top, stage)
    values = {**_inputs(component), **(_params(top) if kind == "operation" else {})}
    varied = [*stage.get("matrix", {}), *(stage.get("foreach") or [{}])[0]]
    stage["params"] = {name: value for name, value in values.items() if name not in varied}
    run = component.section("run")
    if run is None:
        raise component.wrong("run", "expected a job: run: {kind: job, container: …}")
    if (run_kind := run.text("kind")) != "job":
        raise run.wrong("kind", f"expected job, got {quoted(run_kind)}")
    run.leave_out("init", "put its files beside the build file, or name them as inputs of the stage")
    container = run.section("container")
    if container is None:
        raise run.wrong("container", "expected a container with a command")
    command = CommandTemplate([*stage["params"], *varied], container, "command", "inputs: [{{name: {name}, value: …}}]")
    lines = [*_exports(container, command), *_lines(container, command)]
    stage |= {"image": container.text("image"), "resources": _resources(container)}
    container.leave_out("workingDir", "a command runs in the folder of the build file")
    container.close()
    run.close()
    add_run(path, conversion, described(top, component), stage, lines, command.outputs)
    component.leave_out("outputs", "metrics are reported by the program: datapkg.log_metrics")
    component.close()
    top.close()
    return files


def _component_of(top: Section, path: Path, conversion: Conversion) -> tuple[Section, list[Path]]:
    """Return the component of an operation, from within it or from the file that it names."""
    if (inner := top.section("component")) is not None:
        return inner, [path]
    reference = top.text("pathRef")
    if not reference:
        raise top.wrong("component", "expected a component, or the path of its file: pathRef: ./polyaxonfile.yml")
    shown = inner_path(reference)
    if not shown:
        raise top.wrong("pathRef", f"{quoted(reference)} is not a file beside {path.name} or below it")
    component = Section.of_file(path.parent / shown, shown, conversion)
    component.take("version")
    if (kind := component.text("kind")) != "component":
        raise component.wrong("kind", f"expected component, got {quoted(kind)}")
    return component, [path, path.parent / shown]


def _matrix(top: Section, stage: dict[str, Any]) -> None:
    """Read the matrix of an operation: its values, how they are searched, and when it stops early."""
    matrix = top.section("matrix")
    if matrix is None:
        return
    kind = matrix.text("kind")
    stage["concurrency"] = matrix.value("concurrency")
    stage["early_stopping"] = stop_rules(matrix, "earlyStopping")
    if kind == "mapping":
        stage["foreach"] = matrix.value("values")
    else:
        stage["matrix"] = dict(_axes(matrix))
    seed, count = matrix.value("seed"), matrix.take("numRuns")
    if kind == "random":
        stage["search"] = {"random": {"n": None if count is None else plain_value(count)}}
        stage["search"]["random"] |= {} if seed is None else {"seed": seed}
    elif count is not None:
        matrix.leave_out("numRuns", "all combinations run; search: {random: {n: N}} takes some of them")
    if kind not in _SEARCHES:
        matrix.leave_out("kind", "a search that learns from runs; matrix and search: {random: …} do not")
    matrix.close()


def _axes(matrix: Section) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, axis in matrix.sections("params"):
        kind, value = axis.text("kind"), axis.value("value")
        axis.close()
        if kind not in _VALUE_KINDS or not NAME.match(name):
            matrix.conversion.leave_out(
                axis.shown,
                axis.item.line,
                axis.place,
                f"{quoted(name)} is not a name with one of: {', '.join(_VALUE_KINDS)}",
            )
        else:
            yield name, {_VALUE_KINDS[kind]: value}


def _inputs(component: Section) -> dict[str, Any]:
    """Return the values of the inputs of a component that have one."""
    found = {}
    item = component.take("inputs")
    for number, each in enumerate(item.values if item is not None and item.kind == "list" else (), 1):
        given = Section(each, component.shown, f"{component.where('inputs')}.{number}", component.conversion)
        name, value = given.text("name"), given.value("value")
        for word in _OF_INPUT:
            given.take(word)
        given.close()
        if not NAME.match(name):
            given.leave_out("name", f"{quoted(name)} is not a valid name of a param")
        elif value is not None:
            found[name] = value
    return found


def _params(top: Section) -> dict[str, Any]:
    """Return the values that an operation gives to inputs."""
    found = {}
    params = top.section("params")
    for key, item in params.pairs() if params is not None else ():
        value = plain_value(item)
        if isinstance(value, dict) and (value.keys() != {"value"} or not NAME.match(key.text)):
            what = "only a value is taken: {value: …}"
            top.conversion.leave_out(top.shown, key.line, f"{top.where('params')}.{key.text}", what)
        else:
            found[key.text] = value["value"] if isinstance(value, dict) else value
    return found


def _lines(container: Section, command: CommandTemplate) -> list[str]:
    words = [each.text for word in ("command", "args") for each in texts_of(container.take(word))]
    if not words:
        raise container.wrong("command", "expected a command")
    if len(words) == 3 and words[1] == "-c" and PurePosixPath(words[0]).name in _SHELLS:
        return command.text(words[2]).rstrip().split("\n")
    return [" ".join(command.text(each, is_word=True) for each in words)]


def _exports(container: Section, command: CommandTemplate) -> Iterator[str]:
    """Yield the lines that set the environment variables of a container."""
    item = container.take("env")
    for number, each in enumerate(item.values if item is not None and item.kind == "list" else (), 1):
        variable = Section(each, container.shown, f"{container.where('env')}.{number}", container.conversion)
        name, value = variable.text("name"), variable.text("value")
        variable.leave_out("valueFrom", "a secret; name the variable in the stage: env: [NAME]")
        variable.close()
        if NAME.match(name) and "value" in variable:
            yield f"export {name}={command.text(value, is_word=True) or shlex.quote('')}"


def _resources(container: Section) -> dict[str, Any]:
    """Return what a container requests, in the units of a stage; of GPUs Kubernetes has limits only."""
    resources = container.section("resources")
    if resources is None:
        return {}
    given: dict[str, Any] = {}
    for word in ("limits", "requests"):
        values = resources.value(word)
        given |= values if isinstance(values, dict) else {}
    resources.close()
    found: dict[str, Any] = {"gpu": given.get(_GPU)}
    cpu, memory = str(given.get("cpu", "")), str(given.get("memory", ""))
    found["cpu"] = int(cpu[:-1]) / 1000 if _CPU.match(cpu) else given.get("cpu")
    found["memory"] = f"{memory}B" if _MEMORY.match(memory) else given.get("memory")
    return {word: value for word, value in found.items() if value is not None}
