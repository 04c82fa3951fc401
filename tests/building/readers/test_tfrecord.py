"""TFRecord files: a row an Example, a column a feature; both sums of each frame are checked."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tfrecord.writer import TFRecordWriter

from datapkg.errors import BuildFailed
from tests.building.builds import Bench, write

IMAGES: list[dict[str, Any]] = [
    {"image": (b"\xff\xd8", "byte"), "label": (b"cat", "byte"), "size": ([28, 28], "int"), "score": (0.5, "float")},
    {"image": (b"\xff\xd9", "byte"), "label": ("Löwe".encode(), "byte"), "size": (7, "int"), "fold": (3, "int")},
]


def record_file(path: Path, rows: list[dict[str, Any]] = IMAGES) -> Path:
    writer = TFRecordWriter(str(path))
    for row in rows:
        writer.write(row)
    writer.close()
    return path


def frame_of(folder: Path, kwargs: str = "{}") -> pd.DataFrame:
    (file,) = (each.name for each in folder.iterdir() if each.name != "build.yml")
    write(folder, {"build.yml": f"contents:\n  t: {{file: {file}, transform: tfrecord, kwargs: {kwargs}}}\n"})
    bench = Bench()
    return bench.frame(bench.build(folder), "t")


def test_features_become_columns(tmp_path: Path) -> None:
    record_file(tmp_path / "a.tfrecord")
    frame = frame_of(tmp_path, "{text: [label]}")
    assert list(frame.columns) == ["fold", "image", "label", "score", "size"]
    assert frame["label"].tolist() == ["cat", "Löwe"]
    assert frame["image"].tolist() == [b"\xff\xd8", b"\xff\xd9"]
    assert [list(each) for each in frame["size"]] == [[28, 28], [7]]
    assert frame["score"].dtype == "float32"
    assert (frame["fold"].dtype, frame["fold"].isna().tolist(), frame["fold"][1]) == ("Int64", [True, False], 3)


def test_file_compressed_by_gzip(tmp_path: Path) -> None:
    data = record_file(tmp_path / "a.tfrecord").read_bytes()
    (tmp_path / "a.tfrecord").write_bytes(gzip.compress(data))
    assert frame_of(tmp_path)["label"].tolist() == [b"cat", "Löwe".encode()]


def test_many_records_come_in_order(tmp_path: Path) -> None:
    record_file(tmp_path / "a.tfrecord", [{"n": (at, "int")} for at in range(10_000)])
    assert frame_of(tmp_path)["n"].tolist() == list(range(10_000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "record 2 is damaged: the file ends within its"),
        (lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:], "record 1 is damaged: the sum of its bytes"),
        (lambda data: struct.pack("<Q", 1 << 60) + data[8:], "record 1 is damaged: the sum of its length differs"),
        (lambda data: data + b"abc", "record 3 is damaged: the file ends within its length"),
        (lambda _: b"a,b\n1,2\n3,4\n", "the sum of its length differs; is this a TFRecord file?"),
        (lambda _: b"", "it has 0 records"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = record_file(tmp_path / "a.tfrecord")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BuildFailed, match=message.replace("?", "[?]")):
        frame_of(tmp_path)


def test_feature_of_two_kinds_names_the_record(tmp_path: Path) -> None:
    record_file(tmp_path / "a.tfrecord", [{"a": (1, "int")}, {"a": (1.5, "float")}])
    with pytest.raises(BuildFailed, match="record 2: feature 'a' is float_list, and int64_list in others"):
        frame_of(tmp_path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ("{text: [labell]}", "`text` names column 'labell', which is not there"),
        ("{text: [size]}", "whose values are list<item: int64> and not bytes"),
        ("{text: [image]}", "column 'image' has values that are not UTF-8"),
        ("{text: label}", "`text` is a list of columns, got 'label'"),
    ],
)
def test_columns_that_cannot_be_text(tmp_path: Path, kwargs: str, message: str) -> None:
    record_file(tmp_path / "a.tfrecord")
    with pytest.raises(BuildFailed, match=message):
        frame_of(tmp_path, kwargs)
