"""Convert the files of another tool to a build file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datapkg.building.converters.build_text import build_file_text
from datapkg.building.converters.conversion import Conversion, Unmapped
from datapkg.building.converters.dvc import convert_dvc
from datapkg.building.converters.gradient import convert_gradient
from datapkg.building.converters.polyaxon import convert_polyaxon
from datapkg.building.spec.document import MAX_BYTES
from datapkg.building.spec.folder_files import BUILD_FILE
from datapkg.errors import Conflict, InvalidInput
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted
from datapkg.objects.files import no_such_path, write_atomic

CONVERTERS: dict[str, Callable[[Path, Conversion], list[Path]]] = {
    "dvc": convert_dvc,
    "gradient": convert_gradient,
    "polyaxon": convert_polyaxon,
}
_SHOWN = 10


@dataclass(frozen=True)
class ImportedPipeline:
    """The build file that was written, how many nodes and stages it has, and what was left out.

    `restored` are data files that were copied from the cache of another tool, `missing` those that are nowhere here.
    """

    path: Path
    nodes: int
    stages: int
    unmapped: list[Unmapped]
    restored: list[str]
    missing: list[str]


def import_from(form: str, source: Path, target: Path | None = None, *, overwrite: bool = False) -> ImportedPipeline:
    """Write the build file that files of another tool are equal to, beside them or at `target`.

    Raise `Conflict` if it exists and is not to be overwritten, `InvalidInput` for another form and for mistakes in the
    files, `NotFound` if there are none.
    """
    if form not in CONVERTERS:
        raise InvalidInput(f"there is no converter for {quoted(form)}{choices(form, CONVERTERS)}")
    if not source.exists():
        raise no_such_path(source)
    folder = source if source.is_dir() else source.parent
    path = target or folder / BUILD_FILE
    if os.path.lexists(path) and not overwrite:
        raise Conflict(
            f"{quoted(path)} exists, and was not changed", hint="write another: -o FILE, or overwrite it: --force"
        )
    if path.is_dir():
        raise InvalidInput(f"{quoted(path)} is a folder; expected the name of a build file")
    if path.parent.resolve() != folder.resolve():
        raise InvalidInput(
            f"{quoted(path)} is not beside {quoted(source)}; a build file names files of its own folder",
            hint=f"choose a name in {folder}: -o {folder / BUILD_FILE}",
        )
    conversion = Conversion()
    files = CONVERTERS[form](source, conversion)
    if not conversion.nodes and not conversion.stages:
        why = "".join(f"\n  {each}" for each in conversion.unmapped[:_SHOWN])
        raise InvalidInput(
            f"{quoted(source)} has nothing of {form} that can be converted; nothing was written{why}",
            hint="datapkg import-from --help",
        )
    origin = ", ".join(each.relative_to(folder).as_posix() for each in files[:3]) + (", …" if len(files) > 3 else "")
    data = build_file_text(conversion, origin).encode()
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"the build file would have more than {MAX_BYTES >> 20} MiB")
    write_atomic(path, data, path.parent, 0o644)
    unmapped = sorted(set(conversion.unmapped), key=lambda each: (each.file, each.line, each.key))
    return ImportedPipeline(
        path, len(conversion.nodes), len(conversion.stages), unmapped, conversion.restored, conversion.missing
    )
