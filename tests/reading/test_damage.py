"""What is absent or damaged breaks the node it belongs to and no other, and says what to type."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from tests.reading.packages import install_iris

ASK = {
    "measurements": [lambda n: n(), lambda n: n["class"], lambda n: n.head(), lambda n: n.arrow(), lambda n: n.schema],
    "raw/a.jpg": [lambda n: n(), lambda n: n.open(), lambda n: n.read_bytes(), os.fspath],
    "weights": [lambda n: n(), lambda n: n.path],
}
QUESTIONS = [(path, ask) for path, questions in ASK.items() for ask in questions]


def object_of(package: Package, path: str) -> str:
    (hash,) = package.__source__.manifest.objects(path)
    return hash


def flip(home: Home, hash: str) -> None:
    """Changes one byte of an object where it lies."""
    place = home.store.objects.packed.locate(hash)
    data = bytearray(place.path.read_bytes())
    data[place.offset + place.size // 2] ^= 1
    os.chmod(place.path, 0o600)
    place.path.write_bytes(data)


@pytest.mark.parametrize(("path", "ask"), QUESTIONS)
def test_missing_object_only_affects_its_node(
    home: Home, iris: Package, path: str, ask: Callable[[object], object]
) -> None:
    home.store.objects.delete(object_of(iris, path))
    line = f"datapkg fetch uciml/iris/{path}@sha256:{iris.hash[:16]}"
    with pytest.raises(ObjectNotFound, match=rf"uciml/iris/{path}: object .* is not on this machine; type: {line}$"):
        ask(iris[path])
    for other, questions in ASK.items():
        if other != path:
            questions[0](iris[other])
    assert "uciml/iris" in repr(iris)
    assert path in repr(iris[path])


@pytest.mark.parametrize(("path", "ask"), QUESTIONS)
def test_corrupt_object_is_rejected(home: Home, iris: Package, path: str, ask: Callable[[object], object]) -> None:
    flip(home, object_of(iris, path))
    with pytest.raises(CorruptObject, match=rf"uciml/iris/{path}: .* damaged.* type: datapkg verify, then"):
        ask(iris[path])
    assert "uciml/iris" in repr(iris)
    assert path in repr(iris[path])


def test_missing_manifest_is_reported(home: Home) -> None:
    hash = install_iris(home)
    home.store.objects.delete(hash)
    iris = load("uciml/iris", home)
    with pytest.raises(ObjectNotFound, match=r"the manifest of uciml/iris: .* type: datapkg install uciml/iris@sha256"):
        list(iris)
    assert "is not on this machine" in repr(iris)
    assert "is not on this machine" in iris._repr_html_()


def test_corrupt_manifest_is_rejected(home: Home) -> None:
    hash = install_iris(home)
    flip(home, hash)
    iris = load("uciml/iris", home)
    with pytest.raises(CorruptObject, match=r"the manifest of uciml/iris: .*damaged"):
        iris.measurements  # noqa: B018
    assert "damaged" in repr(iris)
