"""The content hash that a manifest states for a table is verified once before its objects are reused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from datapkg.api import append, sync
from datapkg.api.build import build_package
from datapkg.api.drafts.policy import CommitOptions as EditOptions
from datapkg.api.edit import Draft
from datapkg.api.install import install_packages
from datapkg.api.listing import show
from datapkg.api.merge import merge
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.building.cache import BuildCache
from datapkg.errors import Conflict, HashMismatch
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.store import verified_content
from datapkg.store.refs import Current
from tests.api.false_content import publish_rewritten, stored, tables, values
from tests.conftest import Person
from tests.live_registry import LiveRegistry, live_registry

CSV = "n,s\n1,a\n2,b\n3,c\n"
HONEST = [1, 2, 3]


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    """Start a registry that verifies no content, like a malicious one."""
    with live_registry(tmp_path_factory.mktemp("careless"), DATAPKG_REGISTRY_MAX_CHECK_BYTES="0") as live:
        yield live


@pytest.fixture
def owner(careless: LiveRegistry, tmp_path: Path) -> Person:
    name = f"o{abs(hash(tmp_path)) % 10**12}"
    return Person(name, careless.add_user(name), careless.url, tmp_path / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "t.csv").write_text(CSV)
    return folder


@pytest.fixture
def false_content(owner: Person, folder: Path) -> str:
    """Push the owner's table, swap its object at the registry, and return the hash of that state."""
    home, ref = owner.home("first"), owner.ref("sales")
    built = build_package(home, ref, folder)
    push_package(home, ref)
    return publish_rewritten(home, ref, built.hash, swapped=True)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the paths of tables whose content hash is recomputed."""
    found: list[str] = []
    problem = verified_content.claim_problem
    monkeypatch.setattr(
        verified_content, "claim_problem", lambda table, *more: found.append(table.path) or problem(table, *more)
    )
    return found


def numbers(home: Home, hash: str, path: str = "t") -> list[int]:
    return values(home, tables(home, hash)[path]).column(0).to_pylist()


def latest(person: Person, ref: Ref) -> str:
    return person.home("asking").client().resolve(ref).hash


def test_rebuild_after_an_install_keeps_the_owners_data(owner: Person, folder: Path, false_content: str) -> None:
    home, ref = owner.home("other"), owner.ref("sales")
    (outcome,) = install_packages(home, [ref])
    assert outcome.installed
    assert outcome.installed.hash == false_content
    assert "the content of table 't' is not known to be verified" in outcome.installed.note
    assert show(home, ref).unchecked == ["t"]
    built = build_package(home, ref, folder)
    assert numbers(home, built.hash) == HONEST
    assert any("'t' of the state before was not reused: expected content c1:" in each for each in built.warnings)
    assert numbers(home, build_package(home, ref, folder).hash) == HONEST


def test_push_does_not_adopt_a_state_with_false_content(owner: Person, folder: Path, false_content: str) -> None:
    home, ref = owner.home("other"), owner.ref("sales")
    built = build_package(home, ref, folder)
    pushed = push_package(home, ref, force=True)
    assert pushed.hash == built.hash == latest(owner, ref) != false_content
    assert "'t' at the registry is replaced by yours" in pushed.warnings[0]


@pytest.mark.parametrize("is_built", [False, True])
def test_sync_does_not_reuse_a_table_with_false_content(
    owner: Person, folder: Path, false_content: str, is_built: bool
) -> None:
    home, ref = owner.home("other"), owner.ref("sales")
    if is_built:  # so that the cache knows the content of the file
        build_package(home, owner.ref("elsewhere"), folder)
    synced = sync.sync(home, folder, ref)
    assert synced.pushed
    assert numbers(home, latest(owner, ref)) == HONEST
    assert any("was not reused" in each for each in synced.warnings)


def test_append_does_not_reuse_a_table_with_false_content(owner: Person, folder: Path, false_content: str) -> None:
    home, ref = owner.home("other"), owner.ref("sales")
    append.append(home, ref, [folder / "t.csv"])
    assert numbers(home, latest(owner, ref)) == HONEST


@pytest.mark.parametrize("rows", [3, 80_000])
def test_rows_are_not_appended_to_a_table_with_false_content(owner: Person, rows: int) -> None:
    first, home, ref = owner.home("first"), owner.home("other"), owner.ref("long")
    built = build_package(first, ref, {"t": pd.DataFrame({"n": np.arange(rows)})})
    push_package(first, ref)
    false_content = publish_rewritten(first, ref, built.hash, swapped=True)
    with (
        pytest.raises(HashMismatch, match="does not hold the values"),
        Draft(home, ref, EditOptions()) as draft,
    ):
        draft.append("t", pd.DataFrame({"n": [7]}))
    assert latest(owner, ref) == false_content


def test_edit_does_not_confuse_false_content_with_the_local_build(
    owner: Person, folder: Path, false_content: str
) -> None:
    home, ref = owner.home("other"), owner.ref("sales")
    build_package(home, ref, folder)
    with pytest.raises(Conflict, match="was built here and not pushed"), Draft(home, ref, EditOptions()) as draft:
        draft.meta["title"] = "x"


def test_merge_does_not_keep_a_table_with_false_content(owner: Person, folder: Path, false_content: str) -> None:
    home, ref, good = owner.home("other"), owner.ref("sales"), owner.ref("good")
    unmodified = build_package(home, good, folder)
    false = ref.at(State("hash", false_content))
    with pytest.raises(HashMismatch, match=f"{ref.package}/t does not hold"):
        merge(home, [false, good], owner.ref("both"))
    merged = merge(home, [good, false], owner.ref("both"))
    assert tables(home, merged.hash)["t"].blocks == tables(home, unmodified.hash)["t"].blocks


def test_objects_of_another_writer_are_verified_once(owner: Person, folder: Path, readings: list[str]) -> None:
    first, home, ref = owner.home("first"), owner.home("other"), owner.ref("sales")
    built = build_package(first, ref, folder)
    push_package(first, ref)
    theirs = publish_rewritten(first, ref, built.hash, swapped=False)
    build_package(home, ref, folder)
    for _ in range(2):
        assert push_package(home, ref, force=True).hash == theirs
    install_packages(home, [ref])
    assert build_package(home, ref, folder).hash == theirs
    assert readings == ["t"]
    home.index.path.unlink()
    assert build_package(owner.home("other"), ref, folder, message="again").hash == theirs
    assert readings == ["t", "t"]


def test_objects_written_locally_are_never_verified(owner: Person, folder: Path, readings: list[str]) -> None:
    home, ref = owner.home("first"), owner.ref("mine")
    for number in range(2):
        (folder / "other.csv").write_text(f"m\n{number}\n")
        build_package(home, ref, folder)
        push_package(home, ref)
    sync.sync(home, folder, ref)
    with Draft(home, ref, EditOptions()) as draft:
        draft.append("t", pd.DataFrame({"n": [4], "s": ["d"]}))
        draft.append("t", pd.DataFrame({"n": [5], "s": ["e"]}))
    assert readings == []


def test_verify_content_reads_every_table(owner: Person, folder: Path, false_content: str) -> None:
    home, ref = owner.home("other"), owner.ref("sales")
    install_packages(home, [ref])
    assert verify(home).damaged == []
    found = verify(home, content=True)
    assert (found.tables, [(each.package, each.path) for each in found.damaged]) == (1, [(ref.package, "t")])
    assert found.damaged[0].problem.startswith("expected content c1:")
    assert numbers(home, false_content) == [2, 3, 4]  # nothing was removed


def test_content_that_was_verified_here_is_not_reported_as_unchecked(owner: Person, folder: Path) -> None:
    home, ref = owner.home("first"), owner.ref("sales")
    build_package(home, ref, folder)
    assert "has not checked" in push_package(home, ref).warnings[0]
    other = owner.home("other")
    install_packages(other, [ref])
    assert show(other, ref).unchecked == ["t"]
    assert verify(other, ref, content=True).damaged == []
    assert show(other, ref).unchecked == []


def test_blocks_with_other_boundaries_do_not_replace_the_cached_ones(person: Person) -> None:
    home, ref = person.home(), person.ref("odd")
    frame = pd.DataFrame({"n": np.arange(100_000)})
    node = tables(home, build_package(home, ref, {"t": frame}).hash)["t"]
    assert len(node.blocks) == 2
    rows = values(home, node)
    cuts = [rows.slice(0, 10), rows.slice(10)]
    odd = Manifest.make([msgspec.structs.replace(node, blocks=[stored(home, each) for each in cuts])])
    home.store.save(odd)
    home.store.refs.set_current(ref, Current(odd.hash, "local", False))
    assert build_package(home, ref, {"t": frame}).hash == odd.hash  # the stated content is correct
    known = BuildCache(home.index, ref.package).stored(node.content)
    assert {block.hash for block in known.values()} == {block.hash for block in node.blocks}
