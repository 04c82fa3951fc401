"""Convert a Polyaxon file: an experiment, or a group of them over a matrix of values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from datapkg.building.converters.code_files import named_files, with_modules
from datapkg.building.converters.conversion import Conversion, escaped, free_name
from datapkg.building.converters.sections import Section, texts_of
from datapkg.building.spec.early_stopping import RULE_KEYS
from datapkg.building.spec.node_mapping import kind_of
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

# Where a program of Polyaxon finds the folder of its outputs, in its versions before and since 1.0.
OUTPUTS = ("POLYAXON_RUN_OUTPUTS_PATH", "POLYAXON_OUTPUTS_PATH")
_TEMPLATE = re.compile(r"\{\{\s*([^{}]{0,200}?)\s*\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_ALL_PARAMS = ("params", "declarations")
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
    if kind not in _KINDS:
        raise top.wrong("kind", f"expected group, experiment or job, got {quoted(kind)}")
    name = free_name(top.text("name") or "run", ())
    params = _params(top)
    stage: dict[str, Any] = {"run": "", "shell": True, "params": params}
    _tuning(top, stage)
    _place(top, stage)
    varied = stage.get("matrix", {})
    stage["params"] = {name: value for name, value in params.items() if name not in varied}
    outputs = free_name("outputs", {*params, *varied})
    run = top.section("run")
    if run is None:
        raise top.wrong("run", "expected a command: run: {cmd: …}")
    lines = [_command(each.text, [*stage["params"], *varied], run) for each in texts_of(run.take("cmd"))]
    if not lines:
        raise run.wrong("cmd", "expected a command")
    run.close()
    code = with_modules([file for line in lines for file in named_files(line, path.parent)], path.parent)
    exported = " ".join(f"{each}={{{outputs}}}" for each in OUTPUTS)
    stage["run"] = "\n".join(["set -e", f"export {exported}", *lines])
    conversion.add_stage(name, {**stage, "code": code, "outputs": {outputs: "outputs/"}})
    meta = {word: value for word in ("description", "tags") if (value := top.value(word))}
    conversion.add_node(
        "runs" if varied else "outputs", {"stage": name, **({"meta": meta} if meta else {})}, is_group=True
    )
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
            if _NAME.match(name):
                found[name] = value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value
            else:
                top.leave_out(
                    word, f"{quoted(name)} is not a valid name of a param; use letters, digits and underscores"
                )
    return found


def _tuning(top: Section, stage: dict[str, Any]) -> None:
    """Read the matrix, how it is searched, how many runs there are at once, and when they stop early."""
    tuning = top.section("hptuning")
    if tuning is None:
        return
    matrix: dict[str, Any] = {}
    for name, axis in tuning.sections("matrix"):
        values = {word: axis.value(word) for word in _SPACE if word in axis}
        axis.close()
        if len(values) != 1 or not _NAME.match(name):
            tuning.leave_out("matrix", f"{quoted(name)} is not a name with one of: {', '.join(_SPACE)}")
        else:
            matrix[name] = values
    stage["matrix"] = matrix
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
    stage["early_stopping"] = _stop_rules(tuning)
    tuning.close()


def _stop_rules(tuning: Section) -> list[dict[str, Any]] | None:
    """Return the rules of early stopping, without those that end single runs, and without unknown keys."""
    item = tuning.take("early_stopping")
    if item is None:
        return None
    if item.kind != "list":
        raise tuning.wrong("early_stopping", f"expected a list of rules, got {kind_of(item)}")
    kept = []
    for number, each in enumerate(item.values, 1):
        rule = Section(each, tuning.shown, f"{tuning.where('early_stopping')}.{number}", tuning.conversion)
        found = {word: value for word in sorted(RULE_KEYS) if (value := rule.value(word)) is not None}
        rule.close()
        if found.get("policy", "all") == "all":
            kept.append(found)
    if len(kept) < len(item.values):
        tuning.leave_out("early_stopping", "a run ends itself by its own program; only rules with policy: all are kept")
    return kept or None


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


def _command(text: str, names: list[str], run: Section) -> str:
    """Return a command with names in braces in place of Polyaxon's templates."""
    written = []
    end = 0
    for match in _TEMPLATE.finditer(text):
        written.append(escaped(text[end : match.start()]))
        end = match.end()
        name = match[1].removeprefix("params.").removeprefix("declarations.")
        if name in _ALL_PARAMS:
            written.append(" ".join(f"--{each}={{{each}}}" for each in names))
        elif name in names:
            written.append(f"{{{name}}}")
        else:
            raise InvalidInput(
                f"{run.shown}:{run.line('cmd')}: run.cmd: {quoted(match[0])} is neither declared nor in the matrix",
                hint=f"declare it: declarations: {{{name if _NAME.match(name) else 'name'}: …}}",
            )
    return "".join([*written, escaped(text[end:])])
