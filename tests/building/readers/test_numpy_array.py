"""A .npy file becomes an array with the same bytes, and nothing in it is unpickled."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datapkg.errors import TransformFailed
from datapkg.format.manifest.parsed import ArrayNode
from tests.building.builds import Bench, write


def saved(array: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, **options)
    return sink.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype="<i4").reshape(2, 3, 4),
        np.asfortranarray(np.ones((2, 3))),
        np.array(3.5),
        np.zeros((0, 4), "u1"),
        np.array([1, 2], ">i8"),
        np.array([1 + 2j]),
        np.array(["a", "bc"]),
        np.array([b"a"]),
        np.array(["2024-01-02"], "M8[D]"),
        np.array([True]),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays_round_trip_exactly(tmp_path: Path, array: Any) -> None:
    bench = Bench()
    for built in (bench.build(write(tmp_path, {"w.npy": saved(array)})), bench.build({"w": array})):
        node = built.manifest.get("w")
        assert isinstance(node, ArrayNode)
        assert (node.dtype, node.shape) == (array.dtype.str, list(array.shape))
        back = np.load(io.BytesIO(bench.objects.read(node.hash)), allow_pickle=False)
        np.testing.assert_array_equal(back, array)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (saved(np.array([Bomb()], dtype=object), allow_pickle=True), "Python objects"),
        (saved(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])), "cannot be kept"),
        (saved(np.arange(10))[:-1], "promises 80 bytes"),
        (saved(np.arange(10)) + b"x", "promises 80 bytes"),
        (b"", "."),
        (b"\x93NUMPY\x09\x00", "version"),
        (pickle.dumps(1), "magic|."),
    ],
    ids=["objects", "records", "short", "long", "empty", "version", "pickle"],
)
def test_file_that_is_not_a_plain_array(tmp_path: Path, body: bytes, reason: str) -> None:
    with pytest.raises(TransformFailed, match=reason) as caught:
        Bench().build(write(tmp_path, {"w.npy": body}))
    assert "transform: id" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["{'descr': (((", "{'descr': '<f8', 'shape': (1,)", "[" * 2_000, "{'descr': ['<f8'], 1: 2}"]
)
def test_corrupt_header(text: str, tmp_path: Path) -> None:
    header = text.encode().ljust(2_100)
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(TransformFailed, match="cannot be read as numpy") as caught:
        Bench().build(tmp_path)
    assert "Error" not in str(caught.value)
