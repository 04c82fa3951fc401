"""Files and arrays: read-only paths, streams, text, numbers; never a pickle."""

from __future__ import annotations

import io
import os
import pickle
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest

from datapkg.errors import CorruptObject, InvalidInput
from datapkg.format.manifest.parsed import ArrayNode
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.arrays import Array
from datapkg.reading.nodes.files import File
from datapkg.reading.nodes.groups import Package
from tests.reading.packages import array_node, file_node, install


def test_a_file_is_a_path_with_its_own_name(home: Home) -> None:
    install(
        home, "me/f", file_node(home, "photo", b"\xff\xd8", file_name="Photo 1.JPG"), file_node(home, "a.txt", b"a")
    )
    package = load("me/f", home)
    path = package["photo"]()
    assert isinstance(path, Path)
    assert (path.name, path.read_bytes()) == ("Photo 1.JPG", b"\xff\xd8")
    assert package["a.txt"].path.name == "a.txt"
    assert (package["photo"].file_name, package["a.txt"].file_name) == ("Photo 1.JPG", "a.txt")
    with open(package["photo"], "rb") as stream:
        assert stream.read() == b"\xff\xd8"


@pytest.mark.parametrize("size", [3, 2 << 20], ids=["packed", "loose"])
def test_a_file_cannot_be_opened_for_writing(home: Home, size: int) -> None:
    """Behaviour 39 of Quilt 2."""
    with home.store.objects.batch():
        node = file_node(home, "a", b"x" * size)
    install(home, "me/f", node)
    path = load("me/f/a", home).path
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o444
    if os.getuid():
        with pytest.raises(PermissionError):
            path.write_bytes(b"")


def test_bytes_and_text(iris: Package) -> None:
    readme = iris["README.md"]
    assert isinstance(readme, File)
    assert (readme.read_bytes(), readme.read_text(), readme.size) == (b"# Iris\n", "# Iris\n", 7)
    with readme.open() as stream:
        assert stream.read(3) == b"# I"
    assert iris["raw/a.jpg"].read_text(errors="replace") == "\ufffd\ufffda"
    with pytest.raises(UnicodeDecodeError):
        iris["raw/a.jpg"].read_text()


def test_json(home: Home) -> None:
    text = b'{"a": [1, 2.5, null]}'
    install(
        home,
        "me/f",
        file_node(home, "good", text),
        file_node(home, "marked", b"\xef\xbb\xbf" + text),
        file_node(home, "bad", b'{"a": 1,\n "b": }'),
        file_node(home, "deep", b"[" * 100_000),
        file_node(home, "binary", b"\xff\xfe\xfd"),
    )
    package = load("me/f", home)
    assert package["good"].json() == package["marked"].json() == {"a": [1, 2.5, None]}
    with pytest.raises(InvalidInput, match=r"me/f/bad cannot be read as JSON: .* line 2 column 7"):
        package["bad"].json()
    for name in ("deep", "binary"):
        with pytest.raises(InvalidInput, match=f"me/f/{name} cannot be read as JSON"):
            package[name].json()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(2, 3, 4),
        np.array(3),
        np.zeros((0, 3), dtype="<i2"),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(["a", "日本"]),
        np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
        np.array([True, False]),
        np.array([1 + 2j], dtype=">c16"),
    ],
    ids=lambda array: array.dtype.str,
)
def test_arrays_come_back_exactly(home: Home, array: np.ndarray) -> None:
    """Behaviour 53 of Quilt 2."""
    install(home, "me/a", array_node(home, "a", array))
    node = load("me/a/a", home)
    assert isinstance(node, Array)
    assert (node.shape, np.dtype(node.dtype)) == (array.shape, array.dtype)
    found = node()
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert found.flags.writeable
    found[...] = np.zeros_like(found)
    np.testing.assert_array_equal(node(), array)


def test_an_array_is_a_file_too(iris: Package) -> None:
    weights = iris["weights"]
    assert isinstance(weights, Array)
    assert np.load(weights.path).tolist() == weights().tolist()
    assert (weights.path.suffix, len(weights)) == (".npy", 2)
    with weights.open() as stream:
        assert stream.read(6) == b"\x93NUMPY"


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (os.path.join(tempfile.gettempdir(), "datapkg-was-here"),)


def pickled() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.array([Bomb()], dtype=object), allow_pickle=True)
    return sink.getvalue()


@pytest.mark.parametrize(
    "data", [pickled(), pickle.dumps(Bomb()), b"", b"\x93NUMPY\x07\x00", b"\x93NUMPY\x01\x00\x10\x00{"]
)
def test_non_array_is_rejected_and_runs_no_code(home: Home, data: bytes) -> None:
    hash = home.store.objects.put_bytes(data)
    install(home, "me/a", ArrayNode(path="a", dtype="<f8", hash=hash, shape=[1], size=len(data)))
    with pytest.raises(CorruptObject, match="me/a/a"):
        load("me/a/a", home)()
    assert not os.path.exists(os.path.join(tempfile.gettempdir(), "datapkg-was-here"))


def test_array_that_differs_from_the_manifest_is_rejected(home: Home) -> None:
    right = array_node(home, "a", np.zeros(3))
    install(home, "me/a", ArrayNode(path="a", dtype="<f4", hash=right.hash, shape=[3], size=right.size))
    with pytest.raises(CorruptObject, match="manifest says <f4"):
        load("me/a/a", home)()
