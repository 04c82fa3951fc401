"""The identity of a stage: everything that determines its outputs, as texts that can be compared and explained."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from datapkg.building.sources.base import KnownHashes
from datapkg.building.sources.file import known_hash
from datapkg.building.sources.function import source_files
from datapkg.building.spec.model import FileSource, Stage
from datapkg.building.stages.inputs import Input
from datapkg.building.stages.shell_text import is_script
from datapkg.errors import BuildFailed
from datapkg.format.canonical import encode, prepare
from datapkg.format.hashing import hash_bytes

NO_FILE = "0" * 64
"""What takes the place of the hash of a module that a run imported in vain: no file has this hash."""
_SHELL_WORD = re.compile(r"[^\s'\"=;|&<>()`$\0]+")
_WRITTEN = re.compile(r">[>|&]?\s*[^\s;|&<>()`]+|(?<![^\s|])tee(\s+-\w+)*\s+[^;|&<>()`\n]+")
_MAX_WORDS = 1_000
_MAX_FOLDERS = 20


def identity(
    stage: Stage,
    inputs: Mapping[str, Input],
    root: Path,
    cache: KnownHashes,
    environ: Mapping[str, str],
    image_id: str = "",
) -> dict[str, str]:
    """Return what determines the outputs of a stage, by name; of environment variables only a hash is kept.

    `image_id` is the hash of the content of its image.
    """
    found = {
        "run": stage.command,
        "words": _hash(list(stage.run)),
        "shell": str(stage.shell),
        "isolated": str(stage.isolated),
        "outputs": _hash(dict(stage.outputs)),
        **{f"params.{name}": encode(prepare(value)).decode() for name, value in stage.params.items()},
        **{f"inputs.{name}": _hash(each.identity()) for name, each in inputs.items()},
        **{f"env.{name}": _hash(environ.get(name)) for name in stage.env},
    }
    if stage.image:
        found |= {"image": stage.image, "image.id": image_id, "network": str(stage.network)}
    for file in code_files(stage, root):
        found[f"code.{file.shown}"] = known_hash(file, cache)[0]
    return found


def code_files(stage: Stage, root: Path) -> list[FileSource]:
    """Return the code that is known before a run: `code`, the function's modules, and files that the command names."""
    found = {each.shown: each for each in stage.code}
    paths = source_files(stage.python.module) if stage.python else []
    for path in [*paths, *_named_files(stage, root)]:
        shown = Path(os.path.relpath(path, root)).as_posix()
        found.setdefault(shown, FileSource(path.absolute(), shown))
    return [found[shown] for shown in sorted(found)]


def _named_files(stage: Stage, root: Path) -> Iterator[Path]:
    """Yield the files that words of the command name, in the text of a shell also those in folders that it names.

    Such a file is probably a script; at worst, a stage runs again that need not. An isolated stage sees `code` alone.
    """
    for index, text in enumerate(() if stage.isolated else stage.run):
        is_shell = stage.shell or is_script(stage.run, index)
        words = _shell_words(text) if is_shell else [text]
        # `Path.is_file` raises for a word that is too long for a file's name, `os.path.isfile` does not.
        folders = [word for word in words if os.path.isdir(root / word)][:_MAX_FOLDERS] if is_shell else []
        for folder in ["", *folders]:
            # As texts, since thousands of stages have several words each, and joining paths takes longer than a look.
            paths = (os.path.join(root, folder, word) for word in words if word)
            yield from (Path(path) for path in paths if os.path.isfile(path))


def _shell_words(text: str) -> list[str]:
    """Return the words of a text for the shell, without those that it writes to, such as logs."""
    return list(dict.fromkeys(_SHELL_WORD.findall(_WRITTEN.sub(" ", text))))[:_MAX_WORDS]


def hash_now(root: Path, path: str, cache: KnownHashes) -> str | None:
    """Return the hash of a file of code now; `NO_FILE` if there is none, None if it cannot be read."""
    if not os.path.lexists(root / path):
        return NO_FILE
    try:
        return known_hash(FileSource(root / path, path), cache)[0]
    except BuildFailed:
        return None


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what changed between two identities, for people."""
    lines = []
    before, now = ({name: value for name, value in each.items() if value != NO_FILE} for each in (before, now))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) == now.get(name) or name == "words":
            continue
        if name.startswith("params.") or name in ("run", "image", "network"):
            lines.append(f"{name} {before.get(name, 'not set')} → {now.get(name, 'not set')}")
        else:
            verb = "is new" if name not in before else "is gone" if name not in now else "changed"
            lines.append(f"{name} {verb}")
    return lines


def _hash(value: object) -> str:
    if isinstance(value, str):
        return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
    return hash_bytes(encode(prepare(value)))
