"""Groups and packages: names and attributes, mappings, and what wins over what."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest

from datapkg.errors import InvalidInput, NodeNotFound
from datapkg.format.manifest.parsed import Node as Entry
from datapkg.format.stubs import METHODS
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes import base, functions
from datapkg.reading.nodes.files import File
from datapkg.reading.nodes.groups import Group, Package
from datapkg.reading.nodes.tables import Table
from tests.reading.packages import file_node, group_node, install, iris_frame, table_node


def package(home: Home, *nodes: Entry) -> Package:
    install(home, "me/odd", *nodes)
    found = load("me/odd", home)
    assert isinstance(found, Package)
    return found


def files(home: Home, *paths: str) -> Package:
    return package(home, *(file_node(home, path, path.encode()) for path in paths))


def test_items_walk_and_attributes_lead_to_the_same_node(iris: Package) -> None:
    assert iris["raw"]["a.jpg"].read_bytes() == iris["raw/a.jpg"].read_bytes() == iris.raw.a_jpg.read_bytes()


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("2024 sales", "n2024_sales"),
        ("class", "class_"),
        ("a.txt", "a_txt"),
        ("日本", "日本"),
        ("ﬁle", "file"),
    ],
)
def test_any_name_is_an_item_and_most_are_attributes(home: Home, name: str, attribute: str) -> None:
    odd = files(home, name)
    assert odd[name].name == name
    assert attribute in dir(odd)
    assert getattr(odd, attribute).name == name


def test_dunder_names_are_never_nodes(home: Home) -> None:
    odd = files(home, "__class__", "__len__", "_repr_html_")
    assert odd.__class__ is Package
    assert (len(odd), odd["__class__"].kind, "__class__" in dir(odd)) == (3, "file", False)
    assert callable(odd._repr_html_)


def test_ambiguous_attributes_do_not_exist(home: Home) -> None:
    odd = files(home, "a.txt", "a txt", "keys", "keys ")
    with pytest.raises(AttributeError, match=r"\['a txt'\], \['a.txt'\]"):
        odd.a_txt  # noqa: B018
    assert "a_txt" not in dir(odd)
    assert not hasattr(odd, "a_txt")
    assert {*odd} == {"a.txt", "a txt", "keys", "keys "}
    assert odd["a txt"].read_bytes() == b"a txt"


def test_nodes_override_methods_but_not_functions(home: Home) -> None:
    names = ["keys", "items", "values", "walk", "frames", "name", "kind", "meta", "size", "ref", "hash"]
    odd = files(home, *names, "sub/keys")
    for name in names:
        assert isinstance(getattr(odd, name), File)
    assert functions.keys(odd) == sorted([*names, "sub"])
    assert dict(functions.items(odd)).keys() == {*names, "sub"}
    assert [node.name for node in functions.values(odd)] == functions.keys(odd)
    assert [path for path, _ in functions.walk(odd)][-3:] == ["sub/keys", "values", "walk"]
    assert (base.name(odd), base.kind(odd), base.meta(odd)) == ("odd", "package", {})
    assert base.size(odd) == sum(len(each) for each in [*names, "sub/keys"])
    assert str(base.ref(odd)) == f"me/odd@sha256:{functions.hash(odd)}"
    assert functions.frames(odd) is None
    assert "raw" not in repr(odd)
    assert repr(odd).count("\n") == 13


def test_a_group_is_a_mapping_of_names(iris: Package) -> None:
    assert list(iris) == iris.keys() == ["README.md", "measurements", "raw", "weights"]
    assert len(iris) == 4
    assert "raw" in iris
    assert "raw/a.jpg" in iris
    assert "raw/c.jpg" not in iris
    assert "measurements/x" not in iris
    assert "" not in iris
    assert 3 not in iris
    assert [node.kind for node in iris.values()] == ["file", "table", "group", "array"]
    assert dict(iris)["raw"].size == 6
    assert [path for path, _ in iris.walk()] == [*iris.keys()[:3], "raw/a.jpg", "raw/b.jpg", "weights"]
    assert [path for path, _ in functions.walk(iris["raw"])] == ["a.jpg", "b.jpg"]


def test_missing_node_error_suggests_close_names(iris: Package) -> None:
    for error in (KeyError, AttributeError, LookupError):
        with pytest.raises(error, match=r"no node 'measurments'; did you mean 'measurements'\? \(the state is sha256:"):
            iris["measurments"]
    with pytest.raises(NodeNotFound, match=r"uciml/iris/raw has no node 'c.jpg'"):
        iris["raw/c.jpg"]
    with pytest.raises(NodeNotFound, match="'measurements' is a table, not a group"):
        iris["measurements/class"]
    with pytest.raises(NodeNotFound, match="uciml/iris has no node 'nothing'"):
        iris["nothing/at/all"]
    with pytest.raises(NodeNotFound):
        iris["/raw"]
    with pytest.raises(TypeError):
        iris[0]
    assert not hasattr(iris, "nope")
    assert getattr(iris, "nope", 3) == 3


def test_properties_of_nodes(iris: Package) -> None:
    assert (iris.name, iris.kind, iris.meta["title"]) == ("iris", "package", "Iris")
    raw = iris["raw"]
    assert (raw.name, raw.kind, raw.meta, raw.size) == ("raw", "group", {}, 6)
    assert str(iris["raw/a.jpg"].ref) == f"uciml/iris/raw/a.jpg@sha256:{iris.hash}"


def test_groups_with_metadata_and_empty_groups_exist(home: Home) -> None:
    odd = package(home, group_node("empty"), group_node("said", note="so"), file_node(home, "said/a", b""))
    assert list(odd) == ["empty", "said"]
    assert isinstance(odd["empty"], Group)
    assert list(odd["empty"]) == []
    assert odd["said"].meta == {"note": "so"}


def test_an_empty_package_has_no_keys_and_is_true(home: Home) -> None:
    empty = package(home)
    assert (list(empty), len(empty), bool(empty)) == ([], 0, True)
    with pytest.raises(InvalidInput, match="has no table"):
        empty()


def test_a_package_with_one_table_is_that_table(home: Home, iris: Package) -> None:
    assert iris(columns=["class"], filters=[("petal_length", ">", 5)]).to_dict("list") == {"class": ["virginica"]}
    deep = package(home, table_node(home, "a/b/deep", iris_frame()))
    assert deep().equals(iris_frame())
    two = package(home, table_node(home, "a/x", iris_frame()), table_node(home, "y", iris_frame()))
    with pytest.raises(InvalidInput, match=r"has 2 tables; call one of them: \['a/x'\], \['y'\]$"):
        two()


def test_group_cannot_be_called(iris: Package) -> None:
    with pytest.raises(InvalidInput, match=r"\.frames\(\)"):
        iris.raw()


def test_frames_concatenates_all_tables_in_order(home: Home) -> None:
    frame = iris_frame()
    odd = package(
        home,
        table_node(home, "g/b", frame.iloc[1:]),
        table_node(home, "g/a", frame.iloc[:1]),
        table_node(home, "g/deeper/c", frame),
        file_node(home, "g/note.txt", b"passed over"),
        group_node("none"),
    )
    joined = odd.g.frames()
    assert joined["class"].tolist() == ["setosa", "versicolor", "virginica"] * 2  # that of `deeper` too
    assert joined.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(odd.frames()) == 6
    assert odd["none"].frames() is None


def test_frames_with_different_columns_are_rejected(home: Home) -> None:
    frame = iris_frame()
    odd = package(home, table_node(home, "a", frame), table_node(home, "b", frame.assign(petal_width="wide")))
    with pytest.raises(InvalidInput, match=r"'a' and 'b' cannot be concatenated: .*petal_width"):
        odd.frames()
    odd = package(home, table_node(home, "a", frame), table_node(home, "b", frame.drop(columns="class")))
    with pytest.raises(InvalidInput, match=r"only one of them has 'class'"):
        odd.frames()


def test_frames_of_numbers_become_the_wider_type(home: Home) -> None:
    one = pd.DataFrame({"n": [1, 2], "s": ["a", None], "day": pd.Categorical(["mo", "tu"])})
    two = pd.DataFrame({"s": ["b"], "n": [0.5], "day": pd.Categorical(["we"])})
    joined = package(home, table_node(home, "a", one), table_node(home, "b", two)).frames()
    assert joined["n"].tolist() == [1.0, 2.0, 0.5]
    assert joined["s"].isna().tolist() == [False, True, False]
    assert joined["day"].tolist() == ["mo", "tu", "we"]
    assert list(joined) == ["n", "s", "day"]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_frames_of_text_and_bytes_are_rejected(home: Home, order: str) -> None:
    values = dict(zip(order, ([None, "é"], [b"\xff", None]), strict=True))
    nodes = [table_node(home, name, pd.DataFrame({"c": each})) for name, each in sorted(values.items())]
    with pytest.raises(InvalidInput, match="column 'c' holds text and bytes"):
        package(home, *nodes).frames()


def test_frames_of_decimals_and_floats_are_rejected(home: Home) -> None:
    exact = pd.DataFrame({"c": [Decimal("0.1234567890123456789012")]})
    nodes = [table_node(home, "a", exact), table_node(home, "b", pd.DataFrame({"c": [0.5]}))]
    with pytest.raises(InvalidInput, match="column 'c' holds decimals and floats"):
        package(home, *nodes).frames()


def test_nodes_are_read_only(iris: Package) -> None:
    with pytest.raises(TypeError, match="does not change"):
        iris.extra = 3
    with pytest.raises(TypeError, match="does not change"):
        iris["measurements"].extra = 3
    with pytest.raises(TypeError):
        iris["extra"] = 3


def test_each_kind_has_a_class(iris: Package) -> None:
    assert [type(node) for node in iris.values()][1:3] == [Table, Group]


def test_stubs_have_the_methods_of_packages() -> None:
    assert list(METHODS) == sorted(name for name in dir(Package) if name[0] != "_")
