"""Build and push in one go: each run publishes what is new, from any machine, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapkg.api.build_and_push import build_and_push
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import Conflict, InvalidInput
from datapkg.format.names import Ref
from tests.static_registry import Static

REF = Ref("ada", "weather")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "recipe"
    made.mkdir()
    (made / "rows.csv").write_text("day,degrees\n1,4\n")
    return made


def test_a_run_publishes_what_is_new_and_nothing_else(static: Static, folder: Path) -> None:
    built, pushed = build_and_push(static.home(), REF, folder, BuildOptions(), tag="nightly")
    assert pushed
    assert (pushed.changed, pushed.hash) == (True, built.hash)
    for machine in ("own", "another"):
        _, pushed = build_and_push(static.home(machine), REF, folder, BuildOptions(), tag="nightly")
        assert pushed
        assert (pushed.changed, pushed.hash) == (False, built.hash)
    (folder / "rows.csv").write_text("day,degrees\n1,4\n2,7\n")
    newer, pushed = build_and_push(static.home("third"), REF, folder, BuildOptions(), tag="nightly")
    assert pushed
    assert pushed.changed
    client = static.client()
    assert client.resolve(REF).tags == {"latest": newer.hash, "nightly": newer.hash}
    assert len(list(client.log(REF))) == 2


def test_reasons_are_given_where_nothing_is_built_again(static: Static, folder: Path) -> None:
    os.utime(folder / "rows.csv", (1e9, 1e9))
    for _ in range(2):
        build_and_push(static.home(), REF, folder, BuildOptions())
    built, _ = build_and_push(static.home(), REF, folder, BuildOptions(), explained=True)
    assert built.why == {"rows": "unchanged: size and times of the file are the same"}


def test_a_version_is_of_one_state(static: Static, folder: Path) -> None:
    build_and_push(static.home(), REF, folder, BuildOptions(), version="1.0")
    (folder / "rows.csv").write_text("day,degrees\n1,5\n")
    with pytest.raises(Conflict, match=r"version 1\.0"):
        build_and_push(static.home(), REF, folder, BuildOptions(), version="1.0")


def test_what_is_left_out_is_not_published(static: Static, folder: Path) -> None:
    (folder / "bad.parquet").write_bytes(b"not Parquet")
    (folder / "build.yml").write_text(
        "contents: {a: {file: rows.csv}, b: {file: bad.parquet, kwargs: {rewrite: true}}}\n"
    )
    built, pushed = build_and_push(static.home(), REF, folder, BuildOptions(keep_going=True))
    assert list(built.left_out) == ["b"]
    assert pushed is None


def test_a_dry_run_publishes_nothing(static: Static, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="--push does not go with --dry-run"):
        build_and_push(static.home(), REF, folder, BuildOptions(dry_run=True))
