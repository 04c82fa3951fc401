"""Convert a DVC repository: the stages of its `dvc.yaml` files, and the data of its `.dvc` files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from datapkg.building.converters.code_files import inner_path
from datapkg.building.converters.conversion import Conversion, free_name
from datapkg.building.converters.dvc_command import StageWriter
from datapkg.building.converters.dvc_data import DataReader, description
from datapkg.building.converters.dvc_params import DEFAULT, ParamsFiles
from datapkg.building.converters.dvc_stage import DvcOut, DvcStage
from datapkg.building.converters.dvc_templates import each_item, filled, merged
from datapkg.building.converters.sections import Section, plain_value, texts_of
from datapkg.errors import InvalidInput, NotFound
from datapkg.format.texts import quoted

PIPELINE, LOCK = "dvc.yaml", "dvc.lock"
_MAX_FOLDERS, _MAX_FILES, _MAX_COMMANDS = 100_000, 10_000, 8 << 20
_SKIPPED = {"node_modules", "__pycache__", "venv"}
_OUTS = ("outs", "metrics", "plots")
_OPTIONS = {
    "cache": "all outputs are kept by their hash",
    "persist": "an output begins empty in each run",
    "push": "a package is pushed as a whole",
    "remote": "a package is pushed to a registry: datapkg push USER/NAME",
}
_OF_STAGE = {
    "frozen": "a stage that has never run on this machine runs",
    "always_changed": "a stage runs again where something changed, or with: datapkg build USER/NAME --from STAGE",
}
_OF_PIPELINE = {
    "plots": "plots are not drawn; their files are nodes",
    "params": "a stage has its params beside its command",
    "datasets": "name a package as an input of a stage: {package: USER/NAME/NODE}",
}


def convert_dvc(root: Path, conversion: Conversion) -> list[Path]:
    """Convert the DVC files below a folder, and return them; raise `NotFound` if there are none."""
    if not root.is_dir():
        raise InvalidInput(
            f"{quoted(root)} is not the folder of a repository",
            hint=f"datapkg import-from dvc {quote(str(root.parent))}",
        )
    files = list(_dvc_files(root))
    if not files:
        raise NotFound(f"there is no {PIPELINE} and no .dvc file below {quoted(root)}", path=str(root))
    data, params = DataReader(root, conversion), ParamsFiles(root)
    for file in files:
        if file.name != PIPELINE:
            data.read(file)
    stages: dict[str, DvcStage] = {}
    size = 0
    for file in (file for file in files if file.name == PIPELINE):
        for stage in _Pipeline(root, file, params, conversion).stages():
            stages[free_name(stage.name, stages)] = stage
            size += sum(map(len, stage.command))
            if size > _MAX_COMMANDS:
                raise InvalidInput(f"the commands of the stages have more than {_MAX_COMMANDS >> 20} MiB")
    writer = StageWriter(root, conversion, data.found, params)
    writer.add_outs(stages)
    for name, stage in stages.items():
        writer.add_stage(name, stage)
    return files


def _dvc_files(root: Path) -> Iterator[Path]:
    """Yield the DVC files below a folder, except in hidden folders and environments."""
    found = 0
    for number, (folder, folders, names) in enumerate(os.walk(root)):
        if number >= _MAX_FOLDERS or found > _MAX_FILES:
            raise InvalidInput(f"{quoted(root)} has more than {_MAX_FOLDERS:,} folders or {_MAX_FILES:,} DVC files")
        folders[:] = sorted(
            each for each in folders if each[0] != "." and each not in _SKIPPED and not _is_environment(folder, each)
        )
        for name in sorted(names):
            path = Path(folder, name)
            if (name == PIPELINE or (name.endswith(".dvc") and name != ".dvc")) and path.is_file():
                found += 1
                yield path


def _is_environment(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


class _Pipeline:
    """One dvc.yaml: its stages, with templates replaced and `foreach` and `matrix` expanded."""

    def __init__(self, root: Path, path: Path, params: ParamsFiles, conversion: Conversion) -> None:
        self._root, self._params, self._conversion = root, params, conversion
        self._shown = path.relative_to(root).as_posix()
        self._folder = path.parent.relative_to(root).as_posix().removeprefix(".")
        self._top = Section.of_file(path, self._shown, conversion)
        self._folders = _folders_in_lock(path.with_name(LOCK))
        self._artifacts: dict[str, dict[str, Any]] = {}

    def stages(self) -> Iterator[DvcStage]:
        values = self._values(self._top, dict(self._params.values(self._path(DEFAULT)) or {}))
        for word, reason in _OF_PIPELINE.items():
            self._top.leave_out(word, reason)
        self._top.take("metrics")  # a list of files, each of which a stage has as an output
        self._read_artifacts()
        for name, section in self._top.sections("stages"):
            yield from self._expanded(name, section, values)
        self._top.close()

    def _path(self, text: str, folder: str | None = None) -> str:
        return inner_path(text, self._folder if folder is None else folder)

    def _read_artifacts(self) -> None:
        for _, artifact in self._top.sections("artifacts"):
            path = self._path(artifact.text("path"))
            self._artifacts[path] = description(artifact)
            artifact.close()

    def _values(self, section: Section, values: dict[str, Any]) -> dict[str, Any]:
        """Return values for templates with those of `vars`: mappings, and names of files with keys of them."""
        item = section.take("vars")
        if item is not None and item.kind != "list":
            raise section.wrong("vars", "expected a list of files and mappings")
        for each in item.values if item else ():
            if each.kind == "mapping":
                values = merged(values, plain_value(each))
                continue
            name, _, keys = filled(each.text, values).partition(":")
            found = self._params.values(self._path(name))
            if found is None:
                raise InvalidInput(f"{self._shown}:{each.line}: there is no file of params {quoted(name)}")
            chosen = {key: found.get(key) for key in keys.split(",")} if keys else found
            values = merged(values, chosen)
        return values

    def _expanded(self, name: str, section: Section, values: dict[str, Any]) -> Iterator[DvcStage]:
        prefix = self._folder.replace("/", "_")
        full = f"{prefix}_{name}" if prefix else name
        if "foreach" not in section and "matrix" not in section:
            with _PlaceOfMistakes(section):
                yield self._stage(full, name, section, self._values(section, values))
            section.close()
            return
        with _PlaceOfMistakes(section):
            given = {word: section.value(word) for word in ("foreach", "matrix") if word in section}
            several = list(each_item(given, values))
        inner = section.section("do") if "do" in section else section
        for suffix, more in several:
            assert inner is not None
            with _PlaceOfMistakes(section):
                yield self._stage(f"{full}{suffix}", f"{name}{suffix}", inner, self._values(inner, {**values, **more}))
        if inner is not None:
            inner.close()
        section.close()

    def _stage(self, name: str, locked: str, section: Section, values: dict[str, Any]) -> DvcStage:
        wdir = filled(section.text("wdir"), values)
        folder = self._path(str(wdir)) if wdir else self._folder
        for word, reason in _OF_STAGE.items():
            section.leave_out(word, reason)
        command = section.take("cmd")
        lines = [filled(each.text, values, command=True) for each in texts_of(command)]
        if not lines:
            raise section.wrong("cmd", "expected a command")
        deps = [(str(filled(each.text, values)), each.line) for each in texts_of(section.take("deps"))]
        meta = description(section)
        outs = [
            out for word in _OUTS for out in self._outs(section, word, folder, values, self._folders.get(locked, {}))
        ]
        return DvcStage(name, section, folder, lines, deps, self._param_keys(section, folder, values), outs, meta)

    def _outs(
        self, section: Section, word: str, folder: str, values: dict[str, Any], folders: dict[str, bool]
    ) -> Iterator[DvcOut]:
        item = section.take(word)
        for each in (item.values if item.kind == "list" else [item]) if item is not None else ():
            options = None
            text_item = each
            if each.kind == "mapping" and each.values:
                text_item, options_item = each.values[:2]
                place = f"{section.where(word)}.{text_item.text}"
                options = None if options_item.is_null else Section(options_item, self._shown, place, self._conversion)
            text = str(filled(text_item.text, values))
            path = self._path(text, folder)
            if not path:
                reason = "a path outside of the repository cannot be an output"
                self._conversion.leave_out(self._shown, text_item.line, f"{section.where(word)}.{text}"[:300], reason)
                continue
            known = folders.get(text)
            is_folder = (self._root / path).is_dir() if known is None else known
            if known is None and not (self._root / path).exists():
                # The stage has never run here, so that nothing tells: a name without a suffix is taken for a folder.
                is_folder = text.endswith("/") or "." not in path.rpartition("/")[2]
            yield DvcOut(path, is_folder, self._options(options, path))

    def _options(self, options: Section | None, path: str) -> dict[str, Any]:
        meta = dict(self._artifacts.get(path, {}))
        if options is not None:
            for word, reason in _OPTIONS.items():
                options.leave_out(word, reason)
            for word in ("x", "y", "x_label", "y_label", "title", "header", "template"):
                options.leave_out(word, _OF_PIPELINE["plots"])
            meta |= description(options)
            options.close()
        return meta

    def _param_keys(self, section: Section, folder: str, values: dict[str, Any]) -> dict[str, list[str] | None]:
        """Return the keys that a stage reads of each params file; None for all of them."""
        found: dict[str, list[str] | None] = {}
        item = section.take("params")
        for each in filled(plain_value(item), values) if item is not None and item.kind == "list" else ():
            for file, keys in each.items() if isinstance(each, dict) else [(DEFAULT, [each])]:
                path = self._path(str(file), folder)
                before = found.get(path, [])
                is_all = keys is None or keys == [] or before is None
                found[path] = (
                    None if is_all else [*(before or []), *map(str, keys if isinstance(keys, list) else [keys])]
                )
        return found


class _PlaceOfMistakes:
    """Adds the place of a stage to the message of a mistake in it."""

    def __init__(self, section: Section) -> None:
        self._section = section

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if type(error) is InvalidInput and not error.message.startswith(f"{self._section.shown}:"):
            place = f"{self._section.shown}:{self._section.item.line}: {self._section.place}"
            raise InvalidInput(f"{place}: {error.message}", hint=error.hint) from None


def _folders_in_lock(path: Path) -> dict[str, dict[str, bool]]:
    """Return by stage and path of an output whether it is a folder, as dvc.lock has it."""
    if not path.is_file():
        return {}
    top = Section.of_file(path, path.name, Conversion())
    found: dict[str, dict[str, bool]] = {}
    for name, stage in top.sections("stages"):
        outs = stage.value("outs")
        for out in outs if isinstance(outs, list) else ():
            if isinstance(out, dict) and isinstance(out.get("path"), str):
                found.setdefault(name, {})[out["path"]] = str(out.get("md5", "")).endswith(".dir")
    return found
