"""Each array of an npz archive becomes a node, and the sizes that the archive states are not trusted."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datapkg.building.pipeline import BuildOutput
from datapkg.errors import TransformFailed
from tests.building.builds import Bench, kinds, write


def array(bench: Bench, built: BuildOutput, path: str) -> np.ndarray:
    node = built.manifest.get(path)
    assert node is not None
    ((hash, _),) = node.objects()
    found: np.ndarray = np.load(io.BytesIO(bench.objects.read(hash)), allow_pickle=False)
    return found


def npy(value: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, value)
    return sink.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in members.items():
            file.writestr(name, body)
    return path


ARRAYS = {
    "w": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "scalar": np.array(5),
    "text": np.array(["a", "éé"]),
    "times": np.array(["2024-01-02"], "M8[D]"),
    "none": np.zeros((0, 3), "<f4"),
    "big endian": np.array([1, 2], ">i4"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_each_array_is_a_node(tmp_path: Path, save: object) -> None:
    save(tmp_path / "all.npz", **ARRAYS)  # type: ignore[operator]
    bench = Bench()
    built = bench.build(tmp_path)
    assert kinds(built) == {f"all/{name}": "array" for name in ARRAYS}
    for name, expected in ARRAYS.items():
        found = array(bench, built, f"all/{name}")
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)


def test_compressible_array_is_not_a_bomb(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(8_000_000))
    assert kinds(Bench().build(tmp_path / "a.npz")) == {"a/a": "array"}


def failure(path: Path) -> str:
    with pytest.raises(TransformFailed) as caught:
        Bench().build(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "there is no array in it"),
        ({"a.npy": npy(np.array([{}], object))}, "an array of Python objects cannot be kept"),
        ({"a.npy": npy(np.zeros(2, "i4,f8"))}, "cannot be kept"),
        ({"a.txt": b"x"}, "'a.txt' in it is not an array"),
        ({"a.npy": b"some text"}, "magic string is not correct"),
        ({"a.npy": npy(np.ones(9))[:-1]}, "'a.npy': the header promises 72 bytes of data, there are 71"),
        ({"a.npy": npy(np.ones(9)) + b"x"}, "the header promises 72 bytes of data, there are 73"),
        ({"x/a.npy": npy(np.ones(1))}, "'x/a' cannot be the name of a node"),
        ({"../a.npy": npy(np.ones(1))}, "cannot be the name of a node"),
        ({".npy": npy(np.ones(1))}, "cannot be the name of a node"),
    ],
)
def test_file_that_is_not_an_archive_of_arrays(tmp_path: Path, members: dict[str, bytes], reason: str) -> None:
    assert reason in failure(archive(tmp_path / "a.npz", members))


def test_decompression_bomb_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.building.readers.numpy_array._ALWAYS_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(8_000_000))
    assert "claim to unpack to 64,000,128; more than 200 times as much is rejected" in failure(tmp_path / "a.npz")


def test_false_header_size_allocates_no_memory(tmp_path: Path) -> None:
    body = npy(np.ones(9)).replace(b"'shape': (9,), }        ", b"'shape': (9000000000,), }")
    assert "the header promises 72,000,000,000 bytes" in failure(archive(tmp_path / "a.npz", {"a.npy": body}))


def test_corrupt_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(1000))
    body = bytearray((tmp_path / "a.npz").read_bytes())
    body[500] ^= 1
    (tmp_path / "a.npz").write_bytes(body)
    assert "the archive is damaged: Bad CRC-32" in failure(tmp_path / "a.npz")
    assert "the archive is damaged" in failure(write(tmp_path, {"b.npz": b"PK"}) / "b.npz")


def test_duplicate_array_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", npy(np.ones(1)))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.npy", npy(np.ones(2)))
    assert "'a.npy' is in it twice" in failure(tmp_path / "a.npz")
