"""A package is edited by its manifest: unchanged nodes are not fetched, concurrent pushes are not lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.drafts.policy import CommitOptions
from datapkg.api.edit import Draft
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import Conflict, InvalidInput, NodeNotFound, NotFound, ObjectNotFound
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import silent
from datapkg.tables import block_metadata
from datapkg.tables.content_hash import content_of_table
from datapkg.tables.frame_to_arrow import table_from_frame
from tests.api.states import paths
from tests.conftest import Person

HERE = CommitOptions(push=False, progress=silent)


@pytest.fixture
def ref(person: Person) -> Ref:
    """Push a package of three nodes from the machine `one`."""
    ref = person.ref("p")
    values = {"t": frame(0, 3), "raw": {"a": frame(10, 2), "b": frame(20, 2)}}
    build_package(person.home("one"), ref, values)
    push_package(person.home("one"), ref)
    return ref


def frame(start: int, count: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(start, start + count), "s": [str(each) for each in range(count)]})


def edit(home: Home, ref: Ref, message: str = "") -> Draft:
    return Draft(home, ref, CommitOptions(message, progress=silent))


def state(home: Home, ref: Ref) -> Manifest:
    current = home.store.refs.current(ref)
    assert current is not None
    return home.store.manifest(current.hash)


def latest(person: Person, ref: Ref) -> str:
    return person.home("asking").client(person.url).resolve(ref).hash


def test_only_new_data_is_pushed_and_nothing_is_fetched(person: Person, ref: Ref) -> None:
    home = person.home("two")
    started = latest(person, ref)
    with edit(home, ref, "more") as draft:
        draft["raw/c"] = frame(30, 2)
        draft.meta["licence"] = "MIT"
    after = state(home, ref)
    assert paths(after) == ["raw/a", "raw/b", "raw/c", "t"]
    assert len(home.store.absent(after)) == 3
    assert latest(person, ref) == after.hash == draft.hash
    current = home.store.refs.current(ref)
    assert current is not None
    assert current.partial
    events = list(home.store.refs.log(ref))
    assert [each.event for each in events] == ["push", "build"]
    assert events[1].message == "more"
    assert events[1].record["parent"] == started
    assert draft.package.raw.c().equals(frame(30, 2))
    assert draft.package.t().equals(frame(0, 3))  # fetched now


def test_edited_state_equals_a_build_of_the_same_data(person: Person, ref: Ref, tmp_path: Path) -> None:
    home = person.home("two")
    (tmp_path / "x.txt").write_text("x")
    with edit(home, ref) as draft:
        draft["array"] = np.arange(3)
        draft["x"] = tmp_path / "x.txt"
        draft["t"] = frame(5, 3)
        draft["deep"] = {"er": frame(1, 1), "empty": None}
        draft.move("raw/a", "c/d")
        del draft["raw"]
    values: dict[str, Any] = {"array": np.arange(3), "x": tmp_path / "x.txt", "t": frame(5, 3)}
    values |= {"deep": {"er": frame(1, 1), "empty": None}, "c": {"d": frame(10, 2)}}
    assert build_package(person.home("three"), ref, values).hash == draft.hash


def test_metadata_of_nodes_and_groups(person: Person, ref: Ref) -> None:
    home = person.home("two")
    with edit(home, ref) as draft:
        draft.set_meta("t", {"unit": "cm"})
        draft.set_meta("raw", {"note": "old"})
        assert draft.meta_of("raw") == {"note": "old"}
        draft["t"] = frame(7, 1)
    after = state(home, ref)
    assert [(node.path, node.meta) for node in after.nodes if node.meta] == [
        ("raw", {"note": "old"}),
        ("t", {"unit": "cm"}),
    ]


def test_exception_changes_nothing(person: Person, ref: Ref) -> None:
    home, before = person.home("one"), state(person.home("one"), ref)
    with pytest.raises(RuntimeError), edit(home, ref) as draft:
        draft["raw/c"] = frame(0, 1)
        raise RuntimeError
    assert state(home, ref) == before
    assert latest(person, ref) == before.hash
    with pytest.raises(InvalidInput, match="inside of its"):
        draft["raw/c"] = frame(0, 1)


def test_edit_without_changes_creates_no_state(person: Person, ref: Ref) -> None:
    home = person.home("two")
    with edit(home, ref) as draft:
        draft["t"] = frame(0, 3)
    assert draft.hash == latest(person, ref)
    assert list(home.store.refs.log(ref)) == []


def test_missing_package_is_created(person: Person) -> None:
    ref = person.ref("new")
    with edit(person.home(), ref) as draft:
        draft["t"] = frame(0, 1)
    assert latest(person, ref) == draft.hash
    alone = Home({"DATAPKG_HOME": str(person.folder / "alone")})
    with Draft(alone, ref, HERE) as mine:
        mine["t"] = frame(0, 1)
    assert mine.hash == draft.hash


def test_no_push_keeps_the_state_local(person: Person, ref: Ref) -> None:
    home, before = person.home("one"), latest(person, ref)
    for number in range(2):
        with Draft(home, ref, HERE) as draft:
            draft[f"n{number}"] = frame(0, 1)
    assert paths(state(home, ref)) == ["n0", "n1", "raw/a", "raw/b", "t"]
    assert latest(person, ref) == before
    with pytest.raises(Conflict, match="was built here and not pushed"), edit(home, ref):
        pass
    push_package(home, ref)
    assert latest(person, ref) == draft.hash


def test_concurrent_local_edits_are_kept(person: Person, ref: Ref) -> None:
    home = person.home("one")
    with Draft(home, ref, HERE) as draft:
        draft["mine"] = frame(0, 1)
        with Draft(home, ref, HERE) as other:
            other["other"] = frame(0, 1)
    assert paths(state(home, ref)) == ["mine", "other", "raw/a", "raw/b", "t"]
    with pytest.raises(Conflict, match="at the same places"), Draft(home, ref, HERE) as draft:
        draft["t"] = frame(1, 1)
        with Draft(home, ref, HERE) as other:
            del other["t"]
    assert state(home, ref).hash == other.hash


def test_other_paths_pushed_meanwhile_are_kept(person: Person, ref: Ref) -> None:
    one, two = person.home("one"), person.home("two")
    with edit(two, ref) as draft:
        draft["t"] = frame(9, 1)
        del draft["raw/a"]
        with edit(one, ref) as other:
            other["raw/c"] = frame(3, 1)
            other.meta["licence"] = "MIT"
    after = state(two, ref)
    assert latest(person, ref) == after.hash == draft.hash
    assert paths(after) == ["raw/b", "raw/c", "t"]
    assert after.meta == {"licence": "MIT"}
    assert list(two.store.refs.log(ref))[1].record["parent"] == other.hash


@pytest.mark.parametrize("path", ["t", "t/below"])
def test_same_path_pushed_meanwhile_is_a_conflict(person: Person, ref: Ref, path: str) -> None:
    one, two = person.home("one"), person.home("two")
    with pytest.raises(Conflict) as caught, edit(two, ref) as draft:
        draft["t"] = frame(9, 1)
        with edit(one, ref) as other:
            del other["t"]
            other[path] = frame(8, 1)
    assert caught.value.detail["theirs"] == other.hash == latest(person, ref)
    assert caught.value.detail["mine"] == draft.hash
    assert person.home("two").store.has(draft.hash)
    assert "t" in caught.value.detail["paths"]
    assert other.hash in str(caught.value)
    assert draft.hash in str(caught.value)


def test_same_change_by_both_is_not_a_conflict(person: Person, ref: Ref) -> None:
    with edit(person.home("two"), ref) as draft:
        draft["t"] = frame(9, 1)
        draft["mine"] = frame(1, 1)
        with edit(person.home("one"), ref) as other:
            other["t"] = frame(9, 1)
    assert paths(state(person.home("two"), ref)) == ["mine", "raw/a", "raw/b", "t"]


@pytest.mark.parametrize("rows", [3, 70_000])
def test_appended_table_equals_a_build_of_all_rows(person: Person, rows: int) -> None:
    ref, whole = person.ref("long"), frame(0, rows + 40_000)
    build_package(person.home("one"), ref, {"t": whole[:rows]})
    push_package(person.home("one"), ref)
    with edit(person.home("two"), ref) as draft:
        draft.append("t", whole[rows : rows + 39_000][["s", "n"]].reset_index(drop=True))
        draft.append("t", whole[rows + 39_000 :].reset_index(drop=True))
    after = state(person.home("two"), ref)
    build_package(person.home("three"), ref, {"t": whole})
    assert after == state(person.home("three"), ref)
    (node,), (old,) = after.nodes, state(person.home("one"), ref).nodes
    assert isinstance(node, TableNode)
    assert isinstance(old, TableNode)
    assert node.blocks[: len(old.blocks) - 1] == old.blocks[:-1]
    assert draft.package.t().equals(whole)


def noise(start: int, count: int) -> pd.DataFrame:
    values = np.random.default_rng(start).normal(size=count)
    return pd.DataFrame({"x": values, "n": np.arange(start, start + count, dtype=np.int64)})


def blocks_here(home: Home, node: TableNode) -> list[bool]:
    absent = home.store.objects.missing(block.hash for block in node.blocks)
    return [block.hash not in absent for block in node.blocks]


@pytest.mark.parametrize("is_verified", [True, False])
def test_only_the_last_block_of_a_verified_table_is_fetched_to_append(person: Person, is_verified: bool) -> None:
    ref, old = person.ref("wide"), noise(0, 250_000)
    build_package(person.home("one"), ref, {"t": old})
    push_package(person.home("one"), ref)
    (before,) = state(person.home("one"), ref).nodes
    assert isinstance(before, TableNode)
    assert len(before.blocks) > 2
    home = person.home("two")
    home.store.claims.mark_verified([before] if is_verified else [])
    with edit(home, ref) as draft:
        draft.append("t", noise(1, 60_000))
        assert blocks_here(home, before) == [not is_verified] * (len(before.blocks) - 1) + [True]
        draft.append("t", noise(2, 60_000))
    (node,) = state(home, ref).nodes
    assert isinstance(node, TableNode)
    assert node.blocks[: len(before.blocks) - 1] == before.blocks[:-1]
    assert any(blocks_here(home, before)[:-1]) != is_verified
    whole = pd.concat([old, noise(1, 60_000), noise(2, 60_000)], ignore_index=True)
    build_package(person.home("three"), ref, {"t": whole})
    assert state(person.home("three"), ref).hash == draft.hash
    assert draft.package.t().equals(whole)
    assert set(draft.package.t.arrow().schema.metadata) == {b"pandas"}


def test_appending_to_a_table_without_block_metadata_reads_all_of_it(person: Person, tmp_path: Path) -> None:
    home, ref = person.home("one"), person.ref("kept")
    noise(0, 150_000).to_parquet(tmp_path / "t.parquet")
    with Draft(home, ref, HERE) as draft:
        draft["t"] = tmp_path / "t.parquet"
        draft.append("t", noise(1, 50_000))
    whole = pd.concat([noise(0, 150_000), noise(1, 50_000)], ignore_index=True)
    build_package(person.home("two"), ref, {"t": whole})
    (mine,), (theirs,) = state(home, ref).nodes, state(person.home("two"), ref).nodes
    assert isinstance(mine, TableNode)
    assert isinstance(theirs, TableNode)
    assert mine.content == theirs.content
    assert mine.file_name == "t.parquet"
    assert draft.package.t().equals(whole)


def test_false_block_metadata_are_detected(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    home, ref = person.home("one"), person.ref("lies")
    with monkeypatch.context() as patch, Draft(home, ref, HERE) as draft:
        original = block_metadata.metadata
        patch.setattr(block_metadata, "metadata", lambda rows, digests: original(rows, digests[::-1]))
        draft["t"] = noise(0, 150_000)
    with Draft(home, ref, HERE) as draft:
        draft.append("t", noise(1, 50_000))
    (mine,) = state(home, ref).nodes
    whole = pd.concat([noise(0, 150_000), noise(1, 50_000)], ignore_index=True)
    assert isinstance(mine, TableNode)
    assert mine.content == content_of_table(table_from_frame(whole)).hash


def test_range_index_is_continued(person: Person, tmp_path: Path) -> None:
    home, ref = person.home("one"), person.ref("range")
    noise(0, 100_000).set_axis(pd.RangeIndex(10, 200_010, 2)).to_parquet(tmp_path / "t.parquet")
    with Draft(home, ref, HERE) as draft:
        draft["t"] = tmp_path / "t.parquet"
        draft.append("t", noise(1, 5))
    found = draft.package.t()
    assert found.index.equals(pd.RangeIndex(10, 200_020, 2))
    assert found.iloc[-1]["x"] == noise(1, 5).iloc[-1]["x"]


def test_append_of_no_rows_and_to_an_empty_table(person: Person) -> None:
    home, ref = person.home("one"), person.ref("none")
    with Draft(home, ref, HERE) as draft:
        draft["t"] = noise(0, 0)
        draft.append("t", noise(0, 0))
        draft.append("t", noise(0, 40_000))
        draft.append("t", noise(0, 0))
    assert draft.package.t().equals(noise(0, 40_000))
    build_package(person.home("two"), ref, {"t": noise(0, 40_000)})
    assert state(person.home("two"), ref).hash == draft.hash


def test_mismatched_rows_are_named(person: Person, ref: Ref) -> None:
    with Draft(person.home("one"), ref, HERE) as draft:
        with pytest.raises(InvalidInput, match="'n': expected int64, got double"):
            draft.append("t", pd.DataFrame({"n": [0.5], "s": ["x"]}))
        with pytest.raises(InvalidInput) as caught:
            draft.append("t", pd.DataFrame({"n": [1], "x": ["x"]}))
        assert [place for place, _ in caught.value.problems] == ["s", "x"]
        with pytest.raises(NodeNotFound):
            draft.append("raw/none", frame(0, 1))


def test_categories_of_appended_rows_are_kept(person: Person, ref: Ref) -> None:
    one, two = (pd.DataFrame({"c": pd.Categorical(each)}) for each in (["a", "b"], ["c", "b"]))
    with Draft(person.home("one"), ref, HERE) as draft:
        draft["c"] = one
        draft.append("c", two)
    assert draft.package.c()["c"].tolist() == ["a", "b", "c", "b"]
    assert list(draft.package.c()["c"].cat.categories) == ["a", "b", "c"]


@pytest.mark.parametrize(("more", "stay"), [(["y", "x"], True), (["z", "y"], False)])
def test_categories_of_a_long_table_cover_all_blocks(person: Person, more: list[str], stay: bool) -> None:
    home, ref = person.home("one"), person.ref("long")
    old, new = pd.Categorical(["x", "y"] * 75_000, ["x", "w", "y"]), pd.Categorical(more * 25_000)
    with Draft(home, ref, HERE) as draft:
        draft["t"] = noise(0, 150_000).assign(c=old, number=pd.Categorical([5, 7, 9] * 50_000))
    (before,) = state(home, ref).nodes
    with Draft(home, ref, HERE) as draft:
        draft.append("t", noise(1, 50_000).assign(c=new, number=pd.Categorical([7] * 50_000)))
    (after,) = state(home, ref).nodes
    assert isinstance(before, TableNode)
    assert isinstance(after, TableNode)
    assert (after.blocks[:1] == before.blocks[:1]) is stay
    found = draft.package.t()
    assert list(found["c"].cat.categories) == ["x", "w", "y", *([] if stay else ["z"])]
    assert list(found["number"].cat.categories) == [5, 7, 9]
    assert found["c"].tolist() == [*old, *new]


def test_files_are_added_by_a_pattern(person: Person, ref: Ref, tmp_path: Path) -> None:
    for name in ("new/x/1.jpg", "new/2.jpg", "new/no.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with edit(person.home("two"), ref) as draft:
        assert draft.add("images", "new/**/*.jpg", tmp_path) == ["images/2.jpg", "images/x/1.jpg"]
        with pytest.raises(NotFound, match="no file matches"):
            draft.add("images", "*.gif", tmp_path)
    assert paths(state(person.home("two"), ref))[:2] == ["images/2.jpg", "images/x/1.jpg"]


def test_impossible_changes_fail_at_once(person: Person, ref: Ref) -> None:
    with Draft(person.home("one"), ref, HERE) as draft:
        with pytest.raises(InvalidInput, match="which is a table"):
            draft["t/below"] = frame(0, 1)
        with pytest.raises(InvalidInput, match="expected a DataFrame"):
            draft["x"] = 5
        with pytest.raises(NodeNotFound):
            del draft["none"]
        with pytest.raises(Conflict, match="cannot become"):
            draft.move("t", "raw/a")
        with pytest.raises(Conflict, match="cannot become"):
            draft.move("raw", "raw/in")
    assert draft.hash == latest(person, ref)
    with pytest.raises(InvalidInput, match="names more than a package"):
        Draft(person.home("one"), person.ref("p@1.0"))


def test_missing_objects_are_reported_before_a_push(person: Person, ref: Ref) -> None:
    home, other = person.home("two"), person.ref("q")
    install_packages(home, [ref])
    manifest = state(home, ref)
    lone = Manifest.make([*manifest.nodes, nowhere(manifest)])
    home.store.save(lone)
    with Draft(home, other, HERE) as draft:
        draft._state.nodes.update((node.path, node) for node in lone.nodes)
    with pytest.raises(ObjectNotFound, match="neither on this machine nor at the registry"):
        push_package(home, other)


def nowhere(manifest: Manifest) -> Any:
    from datapkg.format.manifest.parsed import FileNode

    return FileNode(path="z", hash="0" * 64, size=1, file_name="z")
