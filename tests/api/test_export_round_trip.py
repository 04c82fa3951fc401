"""Values survive build, export and build again for any source text, also with the exported build file."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapkg.api.build import build_package
from datapkg.api.cat import cat
from datapkg.api.export import export
from datapkg.errors import Conflict, DamagedFile, DatapkgError, InvalidInput
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.resolve import find_installed
from tests.examples import first

REF = Ref("u", "p")
TABLE = Ref("u", "p", "data")

# Node: (file, transform, kwargs, bytes). All of them round-trip with their own build file too.
TEXTS: dict[str, tuple[str, str, str, str | bytes]] = {
    "plain": ("plain.csv", "csv", "{}", 'n,t,f,b\n1,x,1.0,True\n,"a,b",2.5,\n3,,,False\n'),
    "named": ("named.data", "csv", "{header: , dtype: {z: float, a: str}}", "1,x\n2,y\n"),
    "numbered": ("numbered.csv", "csv", "{header: , dtype: {1: str}}", "1,02\n3,04\n"),
    "names": ("names.csv", "csv", "{names: [x, y]}", "1,2\n3,4\n"),
    "levels": ("levels.csv", "csv", "{header: [0, 1]}", "k,\nm,n\n1,2\n"),
    "semicolons": ("semicolons.csv", "csv", "{sep: ';', decimal: ','}", "t;u\n1,5;2\n2,5;3\n"),
    "spaces": ("spaces.txt", "csv", r"{sep: '\s+'}", "a b\n1  x\n3   y\n"),
    "latin": ("latin.csv", "csv", "{encoding: latin-1}", "t,u\né,2\nü,3\n".encode("latin-1")),
    "utf16": ("utf16.csv", "csv", "{encoding: utf-16}", "t,u\né,2\nü,3\n".encode("utf-16")),
    "skipped": ("skipped.csv", "csv", "{skiprows: 2}", "#\n#\na,b\n1,2\n"),
    "titled": ("titled.csv", "csv", "{header: 1}", "A title,\na,b\n1,2\n"),
    "units": ("units.csv", "csv", "{skiprows: [1]}", "a,b\ncm,kg\n1,2\n"),
    "footed": ("footed.csv", "csv", "{skipfooter: 1, engine: python}", "a,b\n1,2\nthe end,\n"),
    "zeroth": ("zeroth.csv", "csv", "{header: 0, names: [x, y]}", "a,b\n1,2\n"),
    "clock": (
        *("clock.csv", "csv", "{parse_dates: [d], date_format: '%d.%m.%Y %H:%M:%S.%f'}"),
        "d,b\n31.12.2020 10:00:00.5,1\n,2\n",
    ),
    "signed": ("signed.csv", "csv", "{encoding: utf-8-sig, sep: '|'}", "\ufeffé|b\n1|x\n"),
    "words": ("words.csv", "csv", "{keep_default_na: false, na_values: ['']}", "t,u\nNA,\n,x\nnull,\n 1,007\n"),
    "marked": ("marked.csv", "csv", "{keep_default_na: false, na_values: ['-9']}", "t,u\n-9,\nx,1\n"),
    "zeros": ("zeros.csv", "csv", "{dtype: {t: str}}", "t,u\n007,1\n010,2\n"),
    "index": ("index.csv", "csv", "{index_col: [k, l]}", "k,l,b\nx,1,2\ny,2,4\n"),
    "implied": ("implied.csv", "csv", "{}", "k,l\nx,1,2\ny,2,4\n"),
    "second": ("second.csv", "csv", "{index_col: [2, 1]}", "b,k,l\n1,x,2\n2,y,4\n"),
    "dates": ("dates.csv", "csv", "{parse_dates: [d], date_format: '%Y%m%d'}", "d,b\n20200101,1\n20200102,\n"),
    "times": ("times.csv", "csv", "{parse_dates: [d]}", "d,b\n2020-01-01 10:00:00.123,1\n2020-01-02 00:00:00,\n"),
    "ns": ("ns.csv", "csv", "{parse_dates: [d]}", "d,b\n2020-01-01 10:00:00.123456789,1\n,2\n"),
    "utc": ("utc.csv", "csv", "{parse_dates: [d]}", "d,b\n2020-01-01 10:00:00+00:00,1\n,2\n"),
    "categories": ("categories.csv", "csv", "{dtype: {d: category}}", "d,b\nz,1\na,2\nz,3\n"),
    "widths": ("widths.csv", "csv", "{dtype: {a: int32, b: uint8, c: float32}}", "a,b,c\n1,2,0.1\n3,4,2.5\n"),
    "nullable": ("nullable.csv", "csv", "{dtype: {a: Int64, b: boolean, c: string}}", "a,b,c\n1,True,x\n,,\n"),
    "repaired": ("repaired.csv", "csv", "{dtype: {a: int64, b: bool}}", "a,b\n1,True\n,\n"),
    "booleans": ("booleans.csv", "csv", "{true_values: ['yes'], false_values: ['no']}", "a,b\nyes,1\nno,2\n"),
    "chosen": ("chosen.csv", "csv", "{usecols: [a, c]}", "a,b,c\n5,1,2\n6,2,3\n"),
    "single": ("single.csv", "csv", "{}", 'a\n1\n""\n3\n'),
    "quotes": ("quotes.csv", "csv", "{}", 'a,b\n"x\r\ny","q""q"\n"\r"," 1"\n"\t",\'z\'\n'),
    "empty": ("empty.csv", "csv", "{}", "a,b\n"),
    "nulls": ("nulls.csv", "csv", "{}", "a,b\n,\n,\n"),
    "twice": ("twice.csv", "csv", "{}", "a,a,a.1,\n1,2,3,4\n"),
    "numbers": ("numbers.csv", "csv", "{}", "a,b,c\n18446744073709551615,99999999999999999999999,1e300\n0,1,-0.0\n"),
    "tabs": ("tabs.tsv", "tsv", "{}", "a\tb\n1\tx\n"),
    "halves": ("halves.ssv", "ssv", "{}", "a;b\n1;2,5\n"),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


def manifest_of(home: Home) -> Manifest:
    return home.store.manifest(find_installed(home, REF).hash)


def values(home: Home) -> dict[str, Any]:
    """Return what a reader sees of each node: the kind, the values or bytes, and the metadata."""
    nodes = manifest_of(home).nodes
    return {n.path: (n.kind, getattr(n, "content", "") or getattr(n, "hash", ""), n.meta) for n in nodes}


def built(folder: Path, source: Any) -> Home:
    home = Home({"DATAPKG_HOME": str(folder)})
    build_package(home, REF, source)
    return home


def forget_record(home: Home) -> None:
    """Delete the record of the build, which an installed package does not have."""
    shutil.rmtree(home.store.refs.folder / "u" / "p" / "log")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    lines = ["contents:"]
    for node, (file, transform, kwargs, data) in TEXTS.items():
        (folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())
        lines.append(f"  {node}: {{file: {file}, transform: {transform}, kwargs: {kwargs}}}")
    (folder / "build.yml").write_text("\n".join(lines))
    return folder


def test_text_round_trips_with_its_own_build_file(texts: Path, tmp_path: Path) -> None:
    home = built(tmp_path / "home", texts)
    done = export(home, REF, tmp_path / "out")
    assert done.notes == []
    shutil.copy(texts / "build.yml", tmp_path / "out" / "build.yml")
    again = built(tmp_path / "again", tmp_path / "out")
    assert manifest_of(again).hash == manifest_of(home).hash


@pytest.mark.parametrize("has_record", first(1, [True, False]))
def test_text_round_trips_with_the_exported_build_file(texts: Path, tmp_path: Path, has_record: bool) -> None:
    home = built(tmp_path / "home", texts)
    if not has_record:
        forget_record(home)
    done = export(home, REF, tmp_path / "out", with_build_file=True)
    assert (tmp_path / "out" / "build.yml") in done.files
    again = built(tmp_path / "again", tmp_path / "out")
    assert values(again) == values(home)
    as_parquet = [note.partition(":")[0] for note in done.notes]
    assert as_parquet == ([] if has_record else ["levels"])
    if has_record:
        assert manifest_of(again).hash == manifest_of(home).hash


def test_edited_state_is_exported_like_the_build_before_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.data").write_text("1,x\n2,y\n")
    own = "contents:\n  a: {file: a.data, transform: csv, kwargs: {header: , dtype: {z: float, b: str}}}\n"
    (source / "build.yml").write_text(own)
    home = built(tmp_path / "home", source)
    build_package(home, REF, source)
    node = manifest_of(home).nodes[0]
    edited = Manifest.make([node], {"title": "T"})
    home.store.save(edited)
    export(home, Ref.parse(f"u/p@sha256:{edited.hash}"), tmp_path / "out")
    assert (tmp_path / "out" / "a.data").read_text() == "1.0,x\n2.0,y\n"
    for event in (home.store.refs.folder / "u" / "p" / "log").iterdir():
        event.write_text("{")
    with pytest.warns(DamagedFile):
        export(home, REF, tmp_path / "unknown")
    assert (tmp_path / "unknown" / "a.data").read_text() == "z,b\n1.0,x\n2.0,y\n"


FRAMES: dict[str, pd.DataFrame] = {
    "times": pd.DataFrame(
        {
            "zone": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
            "length": pd.to_timedelta([1, 2, -3], unit="s"),
            "day": [datetime.date(2020, 1, 1), None, None],
            "price": [decimal.Decimal("1.50"), None, decimal.Decimal("1e-10")],
        }
    ),
    "nested": pd.DataFrame({"a": [[1], [2, None], None], "b": [{"x": 1}, None, {"x": 2}], "c": [b"\xff", None, b""]}),
    "categories": pd.DataFrame(
        {
            "a": pd.Categorical(["x", None, "y"], categories=["y", "x", "z"], ordered=True),
            "b": pd.Categorical([1, 2, 1]),
        }
    ),
    "index": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
    "range": pd.DataFrame({"a": [1, 2]}, index=range(5, 7)),
    "twice": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "mixed": pd.DataFrame([[1, 2]], columns=["a", 1]),
    "empty": pd.DataFrame({"a": pd.Series([], dtype="int64")}),
    "blocks": pd.DataFrame({"a": np.arange(70_000), "c": pd.Categorical(np.arange(70_000) // 40_000)}),
    "periods": pd.DataFrame({"a": pd.period_range("2020", periods=2, freq="M"), "b": pd.interval_range(0, 2)}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_round_trip(name: str, tmp_path: Path) -> None:
    home = built(tmp_path / "home", FRAMES[name])
    export(home, REF, tmp_path / "out", with_build_file=True)
    assert values(built(tmp_path / "again", tmp_path / "out")) == values(home)


def test_whole_package_round_trips(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_text("n,t\n007,x\n")
    (source / "b.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    (source / "j.jsonl").write_text('{"a": 1, "b": [1, null]}\n{"a": 2, "b": null}\n')
    (source / "README.md").write_text("# x")
    np.save(source / "w.npy", np.arange(6.0).reshape(2, 3))
    (source / "build.yml").write_text(
        'meta: {title: "a: b", n: 1.0e-7, k: [1, 2.5, null, true, "yes", "2020-01-01", ""], "é\\u2028": {"": 1}}\n'
        "contents:\n"
        "  README: {file: README.md}\n"
        "  '2024 sales': {file: a.csv, kwargs: {dtype: {n: str}}, meta: {x: 1.0e+300}}\n"
        "  'no': {file: a.csv}\n  'a*': {file: b.csv.gz}\n  '[é: {x}]': {file: README.md}\n"
        "  g:\n    meta: {title: T}\n    file: {file: README.md}\n    kwargs: {file: j.jsonl}\n"
        "    '#x': {file: w.npy}\n"
        "  e:\n  f: {meta: {a: 1}}\n"
    )
    home = built(tmp_path / "home", source)
    export(home, REF, tmp_path / "out", with_build_file=True)
    again = built(tmp_path / "again", tmp_path / "out")
    assert values(again) == values(home)
    assert manifest_of(again).meta == manifest_of(home).meta
    export(home, Ref("u", "p", "g"), tmp_path / "g", with_build_file=True)
    part = built(tmp_path / "part", tmp_path / "g")
    assert {f"g/{path}": value for path, value in values(part).items()} == {
        path: value for path, value in values(home).items() if path.startswith("g/")
    }
    assert manifest_of(part).meta == {"title": "T"}


def test_nodes_named_like_keywords_are_matched_by_globs(tmp_path: Path) -> None:
    for name in ("meta/a.csv", "meta/b.txt", "x/kwargs/file.txt", "x/meta"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("n,t\n1,x\n")
    home = built(tmp_path / "home", tmp_path / "source")
    export(home, REF, tmp_path / "out", with_build_file=True)
    assert manifest_of(built(tmp_path / "again", tmp_path / "out")).hash == manifest_of(home).hash


def test_file_named_build_yml_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "x.txt").write_text("x")
    (tmp_path / "build.yml").write_text("contents: {n: {file: source/x.txt}}")
    home = built(tmp_path / "home", tmp_path)
    node = manifest_of(home).nodes[0]
    manifest = Manifest.make([msgspec.structs.replace(node, file_name="build.yml")])
    home.store.save(manifest)
    ref = Ref.parse(f"u/p@sha256:{manifest.hash}")
    with pytest.raises(Conflict, match=r"called build\.yml"):
        export(home, ref, tmp_path / "out", with_build_file=True)
    assert not (tmp_path / "out").exists()
    export(home, ref, tmp_path / "out")
    assert (tmp_path / "out" / "build.yml").read_text() == "x"


def csv_of(home: Home, **options: Any) -> str:
    output: list[bytes] = []
    cat(home, TABLE, output.append, **options)
    return b"".join(output).decode()


def test_integers_beside_nulls_are_integers_in_every_block(tmp_path: Path) -> None:
    numbers = pd.array(np.arange(70_000), dtype="Int64")
    numbers[40_000] = None
    home = built(tmp_path / "home", pd.DataFrame({"a": numbers, "b": np.arange(70_000) / 2}))
    node = manifest_of(home).nodes[0]
    assert isinstance(node, TableNode)
    assert len(node.blocks) > 1
    lines = csv_of(home).splitlines()
    wanted = [f"{'' if row == 40_000 else row},{row / 2}" for row in range(70_000)]
    assert lines == ["a,b", *wanted]
    export(home, REF, tmp_path / "out", format="csv")
    assert (tmp_path / "out" / "data.csv").read_text().splitlines() == lines
    rows = json.loads(csv_of(home, as_json=True))
    assert rows[39_999:40_001] == [{"a": 39_999, "b": 19_999.5}, {"a": None, "b": 20_000.0}]


def test_times_of_a_column_have_one_format(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=40_000, freq="D", unit="us").to_series(index=range(40_000))
    late = days.copy()
    late.iloc[-1] += pd.Timedelta(milliseconds=5)
    home = built(tmp_path / "home", pd.DataFrame({"days": days, "late": late}))
    lines = csv_of(home).splitlines()
    assert lines[1] == "2020-01-01,2020-01-01 00:00:00.000"
    assert lines[-1].endswith("00:00:00.005")


def test_values_of_every_kind_as_text_and_as_json(tmp_path: Path) -> None:
    frame = pd.concat([FRAMES["times"], pd.DataFrame({"t": ["", None, " x"]})], axis=1)
    frame["list"] = [[1, None], None, None]
    home = built(tmp_path / "home", frame.set_index(pd.Index(["r", "s", 't"'], name="k")))
    assert csv_of(home).splitlines() == [
        "k,zone,length,day,price,t,list",
        'r,2020-01-01 00:00:00+01:00,0 days 00:00:01,2020-01-01,1.5000000000,"","[1, null]"',
        "s,2020-01-02 00:00:00+01:00,0 days 00:00:02,,,,",
        '"t""",2020-01-03 00:00:00+01:00,-1 days 23:59:57,,0.0000000001," x",',
    ]
    assert json.loads(csv_of(home, as_json=True))[0] == {
        "k": "r",
        "zone": "2020-01-01 00:00:00+01:00",
        "length": "0 days 00:00:01",
        "day": "2020-01-01",
        "price": "1.5000000000",
        "t": "",
        "list": [1, None],
    }
    with pytest.raises(InvalidInput, match="'list'"):
        export(home, REF, tmp_path / "out", format="csv")
    with pytest.raises(InvalidInput, match="cannot hold"):
        export(home, REF, tmp_path / "out", format="csv", with_build_file=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["home"]


def test_format_of_one_table_follows_its_file_name(tmp_path: Path) -> None:
    home = built(tmp_path / "home", pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    export(home, TABLE, tmp_path / "a.csv")
    export(home, TABLE, tmp_path / "a.tsv")
    export(home, TABLE, tmp_path / "a.parquet")
    assert (tmp_path / "a.csv").read_text() == "a,b\n1,x\n2,y\n"
    assert (tmp_path / "a.tsv").read_text() == "a\tb\n1\tx\n2\ty\n"
    assert pd.read_parquet(tmp_path / "a.parquet").equals(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    with pytest.raises(InvalidInput, match="one node"):
        export(home, TABLE, tmp_path / "b.csv", with_build_file=True)


_TEXT = st.one_of(
    st.sampled_from(
        ["", "NA", "null", "007", " 1", "1.0", "True", "a\nb", "\r", '"', "a,b", "2020-01-01", "\ufeff", "é"]
    ),
    st.text(max_size=5),
)
_COLUMNS: dict[str, Any] = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(0, 3),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "text": _TEXT,
    "time": st.integers(-(2**60), 2**60).map(lambda ns: pd.Timestamp(ns).floor("us")),
}


@st.composite
def _sources(draw: st.DrawFn) -> tuple[str, bytes, dict[str, Any]]:
    """Generate a file name, text and kwargs as a builder could have them."""
    kinds = draw(st.lists(st.sampled_from(sorted(_COLUMNS)), min_size=1, max_size=3))
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(_TEXT, min_size=len(kinds), max_size=len(kinds), unique=True))
    frame = pd.DataFrame(
        {
            name: pd.Series(draw(st.lists(st.none() | _COLUMNS[kind], min_size=rows, max_size=rows)), dtype=object)
            for name, kind in zip(names, kinds, strict=True)
        }
    )
    if draw(st.booleans()):
        data = frame.rename(columns=lambda name: f"c{name}").to_json(orient="records", lines=True, date_format="iso")
        return "a.jsonl", (data or "").encode("utf-8", "surrogatepass"), {}
    separator = draw(st.sampled_from([",", "\t", ";", "|"]))
    has_header = draw(st.booleans())
    text = frame.to_csv(index=False, sep=separator, header=has_header).encode("utf-8", "surrogatepass")
    kwargs: dict[str, Any] = {"sep": separator}
    kwargs |= (
        {} if has_header else draw(st.sampled_from([{"header": None}, {"names": [f"c{i}" for i in range(len(kinds))]}]))
    )
    kwargs |= draw(st.sampled_from([{}, {"dtype": "str"}, {"keep_default_na": False}, {"na_values": ["007"]}]))
    return "a.csv", text, kwargs


def _check_round_trip(case: tuple[str, bytes, dict[str, Any]]) -> None:
    name, data, kwargs = case
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "source").mkdir()
        (folder / "source" / name).write_bytes(data)
        transform = "jsonl" if name.endswith("jsonl") else "csv"
        own = json.dumps({"contents": {"a": {"file": name, "transform": transform, "kwargs": kwargs}}})
        (folder / "source" / "build.yml").write_text(own)
        try:
            home = built(folder / "home", folder / "source")
        except DatapkgError:
            return  # rejected by the build, so there is nothing to export
        done = export(home, REF, folder / "out", with_build_file=True)
        assert values(built(folder / "again", folder / "out")) == values(home)
        if not done.notes and transform == "csv":
            (folder / "out" / "build.yml").write_text(own)
            assert values(built(folder / "own", folder / "out")) == values(home)
        forget_record(home)
        export(home, REF, folder / "bare", with_build_file=True)
        assert values(built(folder / "third", folder / "bare")) == values(home)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(_sources())
def test_random_text_round_trips(case: tuple[str, bytes, dict[str, Any]]) -> None:
    _check_round_trip(case)


@pytest.mark.big
@pytest.mark.timeout(1800)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(_sources())
def test_much_random_text_round_trips(case: tuple[str, bytes, dict[str, Any]]) -> None:
    _check_round_trip(case)
