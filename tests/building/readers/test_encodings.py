"""The hint for text that is not UTF-8 names an encoding only if it is certain, and that encoding reads the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.building.readers.encodings import sure_encoding
from datapkg.errors import TransformFailed
from tests.building.builds import Bench, paths, write


@pytest.mark.parametrize(
    ("text", "encoding", "sure"),
    [
        ("name\nJosé\n", "latin-1", "cp1252"),
        ("Straße\nGöteborg\n", "cp1252", "cp1252"),
        ("naïve\n", "cp1252", ""),
        ("10 €\n25 °C\ncafé\n", "cp1252", "cp1252"),
        ("Москва\n", "cp1251", ""),
        ("東京\n", "shift_jis", ""),
        ("a,b\n1,é\n", "utf-16", "utf-16"),
    ],
)
def test_certain_encodings(text: str, encoding: str, sure: str) -> None:
    data = text.encode(encoding)
    assert sure_encoding(data) == sure
    assert not sure or data.decode(sure) == text


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_hint_names_a_working_encoding(tmp_path: Path, name: str) -> None:
    text = "name\nJosé\n" if name == "a.csv" else '{"name": "José"}\n'
    (tmp_path / name).write_bytes(text.encode("cp1252"))
    with pytest.raises(TransformFailed) as caught:
        Bench().build(tmp_path)
    line = "{file: NAME, kwargs: {encoding: cp1252}}".replace("NAME", name)
    assert caught.value.hint == f"set its encoding in a build file: {line}"
    bench = Bench()
    built = bench.build(write(tmp_path, {"build.yml": f"contents:\n  a: {line}\n"}))
    assert paths(built) == ["a"]
    assert bench.frame(built, "a")["name"].tolist() == ["José"]


def test_hint_names_no_encoding_if_uncertain(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("город\nМосква\n".encode("cp1251"))
    with pytest.raises(TransformFailed) as caught:
        Bench().build(tmp_path)
    assert "{encoding: …}}, such as cp1252 (Western Europe)" in caught.value.hint
