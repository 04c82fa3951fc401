"""Convert a Polyaxon file: an experiment, a group of them over a matrix of values, or what version 1 has for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datapkg.building.converters.conversion import Conversion
from datapkg.building.converters.polyaxon_component import KINDS as COMPONENT_KINDS
from datapkg.building.converters.polyaxon_component import convert_component
from datapkg.building.converters.polyaxon_run import NAME, CommandTemplate, add_run, described, stop_rules
from datapkg.building.converters.sections import Section, texts_of
from datapkg.format.texts import quoted

_SPACE = (
    "values",
    "range",
    "linspace",
    "logspace",
    "geomspace",
    "uniform",
    "quniform",
    "loguniform",
    "normal",
    "pvalues",
)
_KINDS = ("", "group", "experiment", "job")


def convert_polyaxon(path: Path, conversion: Conversion) -> list[Path]:
    """Convert one file, and return it; raise `InvalidInput` for kinds without a command."""
    top = Section.of_file(path, path.name, conversion)
    top.take("version")
    kind = top.text("kind")
    if kind in COMPONENT_KINDS:
        return convert_component(top, kind, path, conversion)
    if kind not in _KINDS:
        raise top.wrong("kind", f"expected {', '.join(_KINDS[1:])}, component or operation, got {quoted(kind)}")
    params = _params(top)
    stage: dict[str, Any] = {}
    _tuning(top, stage)
    _place(top, stage)
    varied = stage.get("matrix", {})
    stage["params"] = {name: value for name, value in params.items() if name not in varied}
    run = top.section("run")
    if run is None:
        raise top.wrong("run", "expected a command: run: {cmd: …}")
    command = CommandTemplate([*stage["params"], *varied], run, "cmd", "declarations: {{{name}: …}}")
    lines = [command.text(each.text) for each in texts_of(run.take("cmd"))]
    if not lines:
        raise run.wrong("cmd", "expected a command")
    run.close()
    add_run(path, conversion, described(top), stage, lines, command.outputs)
    for word, reason in (("framework", "a stage runs any program"), ("logging", "the log of each run is kept")):
        top.leave_out(word, reason)
    top.close()
    return [path]


def _params(top: Section) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in ("declarations", "params"):
        values = top.value(word)
        if values is not None and not isinstance(values, dict):
            raise top.wrong(word, "expected a mapping of names to values")
        for name, value in (values or {}).items():
            if NAME.match(name):
                found[name] = value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value
            else:
                top.leave_out(
                    word, f"{quoted(name)} is not a valid name of a param; use letters, digits and underscores"
                )
    return found


def _axes(tuning: Section) -> dict[str, Any]:
    """Return the values of each name of a matrix."""
    matrix: dict[str, Any] = {}
    for name, axis in tuning.sections("matrix"):
        values = {word: axis.value(word) for word in _SPACE if word in axis}
        axis.close()
        if len(values) != 1 or not NAME.match(name):
            tuning.leave_out("matrix", f"{quoted(name)} is not a name with one of: {', '.join(_SPACE)}")
        else:
            matrix[name] = values
    return matrix


def _tuning(top: Section, stage: dict[str, Any]) -> None:
    """Read the matrix, how it is searched, how many runs there are at once, and when they stop early."""
    tuning = top.section("hptuning")
    if tuning is None:
        if "matrix" in top:  # of the first versions, which had no `hptuning`
            stage["matrix"] = _axes(top)
        return
    stage["matrix"] = _axes(tuning)
    seed = tuning.value("seed")
    random = tuning.section("random_search")
    if random is not None:
        count, own = random.value("n_experiments"), random.value("seed")
        stage["search"] = {"random": {"n": count, "seed": seed if own is None else own}}
        if stage["search"]["random"]["seed"] is None:
            del stage["search"]["random"]["seed"]
        random.close()
    grid = tuning.section("grid_search")
    if grid is not None:
        grid.leave_out("n_experiments", "all combinations run; search: {random: {n: N}} takes some of them")
        grid.close()
    for word in ("hyperband", "bo"):
        tuning.leave_out(word, "a search that learns from runs; matrix and search: {random: …} do not")
    stage["concurrency"] = tuning.value("concurrency")
    stage["early_stopping"] = stop_rules(tuning, "early_stopping")
    tuning.close()


def _place(top: Section, stage: dict[str, Any]) -> None:
    """Read the image in which a command runs, the environment variables and what a run needs."""
    build = top.section("build")
    if build is not None:
        stage["image"] = build.text("image")
        build.leave_out("build_steps", "name an image in which this is done")
        build.leave_out("env_vars", "name an image in which these are set")
        build.close()
    environment = top.section("environment")
    if environment is None:
        return
    resources = environment.section("resources")
    if resources is not None:
        found = {}
        for word in ("cpu", "memory", "gpu"):
            value = resources.value(word)
            value = value.get("requests", value.get("limits")) if isinstance(value, dict) else value
            if value is not None:
                # A number is MiB in Polyaxon.
                found[word] = f"{value}MiB" if word == "memory" and isinstance(value, int | float) else value
        resources.close()
        stage["resources"] = found
    environment.close()
