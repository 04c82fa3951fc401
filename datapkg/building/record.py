"""The build record, stored beside the manifest: what a package was built from, and how.

It contains no secrets, no host names and no absolute paths.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from datapkg.building.checks.definitions import packed
from datapkg.building.sources import git
from datapkg.building.spec.model import BuildSpec

KWARGS_PYTHON = "kwargs_python"

LIBRARIES = ("datapkg", "pandas", "pyarrow", "numpy", "python-calamine", "pyreadstat")


def make_record(
    spec: BuildSpec,
    sources: Sequence[dict[str, Any]],
    packages: list[dict[str, Any]],
    checks: list[dict[str, Any]],
    left_out: Mapping[str, str] = {},
    stages: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Return the record of a build as JSON values; the caller adds who, when and why."""
    record: dict[str, Any] = {
        "origin": spec.origin,
        "sources": [with_recorded_kwargs(each) for each in sources] if isinstance(sources, list) else sources,
        "libraries": {"python": platform.python_version(), **versions()},
    }
    if packages:
        record["packages"] = packages
    if stages:
        record["stages"] = list(stages)
    record |= packed(checks)
    if left_out:
        record["left_out"] = [{"path": path, "reason": reason} for path, reason in left_out.items()]
    state = spec.git or (git_state(spec.root) if spec.root is not None else None)
    return {**record, "git": state} if state else record


def settings_text(source: dict[str, Any]) -> str:
    """Return the transform and kwargs of a record's source as text; equal texts mean equal settings.

    The order of a mapping counts, as in `BuildCache`, because functions of the build file receive kwargs in order.
    """
    return json.dumps([source.get(key) for key in ("transform", "kwargs", KWARGS_PYTHON)])


def recorded_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return kwargs as recorded: as JSON, and also as Python where JSON loses information (dates, numeric keys)."""
    plain = as_json(kwargs)
    return {"kwargs": plain, **({} if repr(plain) == repr(kwargs) else {KWARGS_PYTHON: repr(kwargs)})}


def with_recorded_kwargs(source: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a source as it is recorded."""
    return {**as_json(source), **recorded_kwargs(source["kwargs"])} if "kwargs" in source else source


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that influence the result of a build."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def as_json(value: Any) -> Any:
    """Return a value of a build file as JSON: dates become ISO text, keys become text."""
    if isinstance(value, dict):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that is checked out in a folder, and whether the folder differs from it; None outside of git.

    `dirty` is None if that is unknown. Nothing that the repository's configuration names is executed: no hook, file
    system monitor, filter or transport, and nothing in a submodule.
    """
    commit = git.answer(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    return {"commit": commit.strip(), "dirty": _is_dirty(folder)}


def _is_dirty(folder: Path) -> bool | None:
    filters = git.answer(
        folder, "config", "--null", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process)$", empty=1
    )
    # `-c` ends a name at its first `=`, so a filter of such a name could not be emptied.
    if filters is None or "=" in filters:
        return None
    # Filters that the configuration defines would run programs; emptying them makes git compare the bytes.
    without = [part for name in filters.split("\0") if name for part in ("-c", f"{name}=")]
    questions = (
        ("diff-index", "--cached", "--name-only", "--ignore-submodules", "HEAD", "--", "."),
        ("diff-files", "--name-only", "--ignore-submodules", "--", "."),
        ("ls-files", "--others", "--exclude-standard", "--directory", "--", "."),
    )
    answers = [git.answer(folder, *without, *question) for question in questions]
    return None if None in answers else any(answers)
