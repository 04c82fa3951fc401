"""After any kind of edit, the tables equal those of a build of the resulting data, or the edit is rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from datapkg.api.append import AppendOptions as AppendOptions
from datapkg.api.append import append
from datapkg.api.build import build_package
from datapkg.api.drafts.policy import CommitOptions as EditOptions
from datapkg.api.edit import Draft
from datapkg.api.merge import MergeOptions as MergeOptions
from datapkg.api.merge import merge
from datapkg.api.sync import sync
from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.load import load
from tests.building.rebuild_bench import make_blocks_small
from tests.building.test_rebuild_types import KINDS
from tests.conftest import Person
from tests.live_registry import LiveRegistry, live_registry

HERE = EditOptions(push=False)
OLD, NEW, WHOLE = Ref("me", "old"), Ref("me", "new"), Ref("me", "whole")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


def table(home: Home, ref: Ref, path: str = "t") -> TableNode:
    current = home.store.refs.current(ref)
    assert current
    node = home.store.manifest(current.hash).get(path)
    assert isinstance(node, TableNode)
    return node


def keep(home: Home, ref: Ref, value: Any) -> None:
    build_package(home, ref, {"t": value})


def add(home: Home, first: Any, more: Any) -> None:
    keep(home, OLD, first)
    with Draft(home, OLD, HERE) as draft:
        draft.append("t", more)


def merge_tables(home: Home, first: Any, more: Any) -> None:
    keep(home, Ref("me", "first"), first)
    keep(home, NEW, more)
    done = merge(home, [Ref("me", "first"), NEW], OLD, MergeOptions(concat=True))
    assert done.concatenated == ["t"]


def integer_table(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"id": np.arange(rows), "n": np.arange(rows) + 2**60})


NUMBERS_OR_NONE = pd.DataFrame({"id": [1, 2], "n": pd.array([2**60 + 1, None], "Int64")})
OBJECTS = pd.DataFrame({"id": [1, 2], "n": np.array([True, None], object)})
BOOLEANS = pd.DataFrame({"id": [1, 2], "n": [True, False]})
BOOLEANS_OR_NONE = pd.DataFrame({"id": [1, 2], "n": pd.array([True, None], "boolean")})


@pytest.mark.parametrize("how", [add, merge_tables])
@pytest.mark.parametrize(
    ("first", "more"),
    [
        (integer_table(3), NUMBERS_OR_NONE),
        (integer_table(70_000), NUMBERS_OR_NONE),
        (NUMBERS_OR_NONE, integer_table(3)),
        (BOOLEANS, BOOLEANS_OR_NONE),
        (BOOLEANS, OBJECTS),
        (OBJECTS, BOOLEANS),
    ],
)
def test_type_is_kept_beside_missing_values(home: Home, how: Callable[..., None], first: Any, more: Any) -> None:
    how(home, first, more)
    whole = pd.concat([first, more], ignore_index=True)
    keep(home, WHOLE, whole)
    assert table(home, OLD).content == table(home, WHOLE).content
    found = load(OLD, home).t()
    assert found["n"].dtype == whole["n"].dtype
    assert found["n"].tolist()[-3:] == whole["n"].tolist()[-3:]


def test_type_is_kept_beside_missing_values_of_arrow_rows(home: Home) -> None:
    add(home, integer_table(3), pa.table({"id": [1], "n": pa.array([None], pa.int64())}))
    assert load(OLD, home).t()["n"].tolist() == [2**60, 2**60 + 1, 2**60 + 2, pd.NA]


def test_rows_of_a_wider_dtype_keep_the_dtype_of_the_table(home: Home) -> None:
    first = pd.DataFrame({"n": [1], "x": [0.5], "s": ["a"]})
    add(home, first, first.astype({"n": "Int64", "x": "Float64", "s": "string"}))
    keep(home, WHOLE, pd.concat([first, first], ignore_index=True))
    assert table(home, OLD).content == table(home, WHOLE).content


def test_non_nullable_field_becomes_nullable(home: Home) -> None:
    first, more = pa.table({"n": pa.array([1, 2])}), pa.table({"n": pa.array([None], pa.int64())})
    add(home, first.cast(pa.schema([pa.field("n", pa.int64(), nullable=False)])), more)
    keep(home, WHOLE, pa.concat_tables([first, more]))
    assert table(home, OLD).content == table(home, WHOLE).content


def test_more_categories_than_the_index_type_holds(home: Home) -> None:
    names = [f"c{number:03}" for number in range(200)]
    first, more = (pd.DataFrame({"c": pd.Categorical(each)}) for each in (names[:100], names[100:]))
    add(home, first, more)
    keep(home, WHOLE, pd.DataFrame({"c": pd.Categorical(names)}))
    assert table(home, OLD).content == table(home, WHOLE).content


def test_different_order_of_categories_is_rejected(home: Home) -> None:
    first, more = (pd.DataFrame({"c": pd.Categorical(["b"], each, ordered=True)}) for each in (["a", "b"], ["b", "a"]))
    with pytest.raises(InvalidInput, match="expected ordered categories 'a' < 'b', got 'b' < 'a'"):
        add(home, first, more)
    with Draft(home, OLD, HERE) as draft:
        draft.append("t", pd.DataFrame({"c": pd.Categorical(["c"], ["a", "c"], ordered=True)}))
    assert list(load(OLD, home).t()["c"].cat.categories) == ["a", "b", "c"]


def by_sync(home: Home, folder: Path, ref: Ref) -> None:
    sync(home, folder, ref)


def by_append(home: Home, folder: Path, ref: Ref) -> None:
    append(home, ref, [folder / "t.csv"], AppendOptions(replace=True, push=False))


def by_edit(home: Home, folder: Path, ref: Ref) -> None:
    with Draft(home, ref, HERE) as draft:
        draft["t"] = folder / "t.csv"


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    """Start a registry that does not verify content: it would cut tables into blocks of the usual size."""
    with live_registry(tmp_path_factory.mktemp("unchecked"), DATAPKG_REGISTRY_MAX_CHECK_BYTES="0") as live:
        yield live


@pytest.mark.parametrize("how", [by_sync, by_append, by_edit])
@pytest.mark.parametrize("odd", ["n/k", "0.5"])
def test_file_with_a_previously_wider_type(
    unchecked: LiveRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[..., None], odd: str
) -> None:
    make_blocks_small(monkeypatch)
    name = f"u{how.__name__.replace('_', '')}{odd.encode().hex()}"
    person = Person(name, unchecked.add_user(name), unchecked.url, tmp_path / name)
    folder, home = tmp_path / "data", person.home()
    folder.mkdir()
    for value in (odd, "5"):
        rows = (f"{row},{value if row % 5 == 2 else row},{'p' * 20}\n" for row in range(500))
        (folder / "t.csv").write_text("id,n,text\n" + "".join(rows))
        how(home, folder, person.ref("p"))
        build_package(person.home("other"), person.ref(f"fresh{len(value)}"), folder)
        fresh = table(person.home("other"), person.ref(f"fresh{len(value)}"))
        assert table(home, person.ref("p")).content == fresh.content


@pytest.mark.parametrize(
    ("first", "more", "kind"),
    [
        ("1\n2\n", "3\n", "int64"),
        ("1.5\n2\n", "3\n", "double"),
        ('1\n""\n', "3\n", "double"),
        ("x\n2\n", "007\n1.50\n", "string"),
        ("True\nFalse\n", "True\n", "bool"),
        ("x\n", "True\n", "string"),
    ],
)
def test_appended_rows_of_a_file_are_read_as_in_the_whole_file(
    home: Home, tmp_path: Path, first: str, more: str, kind: str
) -> None:
    for name, text in (("t", first), ("more", more), ("whole", first + more)):
        (tmp_path / f"{name}.csv").write_text(f"n\n{text}")
    build_package(home, OLD, tmp_path / "t.csv")
    append(home, OLD, [tmp_path / "more.csv"], AppendOptions(to="t", push=False))
    build_package(home, WHOLE, tmp_path / "whole.csv")
    found = table(home, OLD)
    assert dict(found.columns) == {"n": kind}
    assert found.content == table(home, WHOLE, "whole").content


@pytest.mark.parametrize(("first", "more"), [("1\n", "1.5\n"), ("1\n", "x\n"), ("True\n", "x\n"), ("0.5\n", "x\n")])
def test_appended_rows_that_need_a_wider_type_are_rejected(home: Home, tmp_path: Path, first: str, more: str) -> None:
    (tmp_path / "t.csv").write_text(f"n\n{first}")
    (tmp_path / "more.csv").write_text(f"n\n{more}")
    build_package(home, OLD, tmp_path / "t.csv")
    with pytest.raises(InvalidInput, match=r"do not fit 't'(?s:.)*expected"):
        append(home, OLD, [tmp_path / "more.csv"], AppendOptions(to="t", push=False))


@pytest.mark.big
@pytest.mark.parametrize("kind", KINDS)
def test_appended_rows_of_any_kind_fit_or_are_rejected(home: Home, tmp_path: Path, kind: str) -> None:
    """In a file without values, missing ones are `Int64` or `boolean`, which pandas never infers from text."""
    for number, (other, more) in enumerate(KINDS.items()):
        old, whole = Ref("me", f"old{number}"), Ref("me", f"whole{number}")
        texts = ["".join(f"{row},{each(row)}\n" for row in range(6)) for each in (KINDS[kind], more)]
        for name, text in (("t", texts[0]), ("more", texts[1]), ("whole", "".join(texts))):
            (tmp_path / f"{name}.csv").write_text(f"id,n\n{text}")
        build_package(home, old, tmp_path / "t.csv")
        try:
            append(home, old, [tmp_path / "more.csv"], AppendOptions(to="t", push=False))
        except InvalidInput:
            continue
        build_package(home, whole, tmp_path / "whole.csv")
        found, expected = table(home, old), table(home, whole, "whole")
        if other == "missing" and dict(found.columns)["n"] in ("int64", "bool"):
            assert load(old, home).t()["n"][-6:].isna().all()
        else:
            assert found.content == expected.content
