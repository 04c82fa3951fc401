"""Stata, SPSS and SAS files: value labels become categories, variable labels become descriptions, dates stay dates."""

from __future__ import annotations

import gzip
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datapkg.errors import BuildFailed, InvalidBuildFile, MissingDependency, ResourceExhausted
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.metadata import column_notes
from tests.building.builds import Bench, write
from tests.examples import first

FILES = Path(__file__).parent / "files"


def table_of(folder: Path, kwargs: str = "") -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """Return the one table of a folder, its column descriptions, and the warnings; `kwargs` apply to its file."""
    if kwargs:
        (file,) = (each.name for each in folder.iterdir() if each.name != "build.yml")
        write(folder, {"build.yml": f"contents:\n  t: {{file: {file}, kwargs: {kwargs}}}\n"})
    bench = Bench()
    built = bench.build(folder)
    (node,) = built.manifest.nodes
    assert isinstance(node, TableNode)
    notes = {name: note.description for name, note in column_notes(node.meta).items()}
    return bench.frame(built, node.path), notes, built.warnings


def people(**more: Any) -> pd.DataFrame:
    born = pd.to_datetime(["2000-01-01", "2001-02-03", None])
    return pd.DataFrame({"id": [1, 2, 3], "sex": [1, 2, 1], "born": born, "height": [1.5, None, 2.5], **more})


def test_stata(tmp_path: Path) -> None:
    frame = people(sex=pd.Categorical(["f", "m", "f"]))
    labels = {"sex": "Sex of the person"}
    frame.to_stata(tmp_path / "p.dta", write_index=False, variable_labels=labels, convert_dates={"born": "td"})
    found, notes, warnings = table_of(tmp_path)
    assert (notes, warnings) == (labels, [])
    assert found["sex"].tolist() == ["f", "m", "f"]
    assert isinstance(found["sex"].dtype, pd.CategoricalDtype)
    assert found["born"].dropna().dt.strftime("%Y-%m-%d").tolist() == ["2000-01-01", "2001-02-03"]
    assert found["height"].isna().tolist() == [False, True, False]
    codes, _, _ = table_of(tmp_path, "{convert_categoricals: false, columns: [sex]}")
    assert codes["sex"].tolist() == [0, 1, 0]


def test_values_without_a_label_beside_labelled_ones_become_text(tmp_path: Path) -> None:
    people().to_stata(tmp_path / "p.dta", write_index=False, value_labels={"sex": {1: "f"}})
    found, _, warnings = table_of(tmp_path)
    assert found["sex"].tolist() == ["f", "2", "f"]
    assert warnings == ["p.dta: column 'sex' has values without a label; they are kept as text"]


def test_values_without_a_label_keep_all_digits(tmp_path: Path) -> None:
    values = [1_234_567.0, 1_234_568.0, 0.1 + 0.2, 9_999_999.0, 3.0]
    pd.DataFrame({"income": values}).to_stata(
        tmp_path / "p.dta", write_index=False, value_labels={"income": {9_999_999: "refused"}}
    )
    found, _, _ = table_of(tmp_path)
    assert found["income"].tolist() == ["1234567", "1234568", "0.30000000000000004", "refused", "3"]


def test_duplicate_labels_are_rejected_with_a_hint(tmp_path: Path) -> None:
    people().to_stata(tmp_path / "p.dta", write_index=False, value_labels={"sex": {1: "f", 2: "f"}})
    with pytest.raises(BuildFailed) as caught:
        table_of(tmp_path)
    assert "not unique" in str(caught.value)
    assert caught.value.hint == "kwargs: {convert_categoricals: false} takes the codes"


def test_description_in_the_build_file_overrides_a_label(tmp_path: Path) -> None:
    people().to_stata(tmp_path / "p.dta", write_index=False, variable_labels={"sex": "Sex", "id": "Number"})
    write(tmp_path, {"build.yml": "contents:\n  p: {file: p.dta, columns: {sex: {description: Ours}}}\n"})
    assert table_of(tmp_path)[1] == {"sex": "Ours", "id": "Number"}


def test_files_written_by_the_original_programs(tmp_path: Path) -> None:
    for folder in ("stata", "sas"):
        (tmp_path / folder).mkdir()
    shutil.copy(FILES / "iris.dta", tmp_path / "stata")
    unpacked = gzip.decompress((FILES / "iris.sas7bdat.gz").read_bytes())
    (tmp_path / "sas" / "iris.sas7bdat").write_bytes(unpacked)
    for folder in ("stata", "sas"):
        found, _, _ = table_of(tmp_path / folder)
        assert found.shape == (150, 5)
        assert found.iloc[:, 0].sum() == pytest.approx(876.5, abs=1e-3)
        assert [each[:6] for each in found.iloc[:, 4].astype(str).unique()] == ["setosa", "versic", "virgin"]


@pytest.mark.needs_library("pyreadstat")
def test_spss(tmp_path: Path) -> None:
    import pyreadstat

    for folder in ("theirs", "ours"):
        (tmp_path / folder).mkdir()
    shutil.copy(FILES / "iris.sav", tmp_path / "theirs")
    found, _, _ = table_of(tmp_path / "theirs")
    assert found.iloc[:, 4].astype(str).unique().tolist() == ["setosa", "versicolor", "virginica"]
    pyreadstat.write_sav(
        people(),
        str(tmp_path / "ours" / "p.sav"),
        column_labels={"sex": "Sex"},
        variable_value_labels={"sex": {1: "f", 2: "m"}},
        missing_ranges={"id": [3]},
    )
    found, notes, _ = table_of(tmp_path / "ours")
    assert (found["sex"].tolist(), notes) == (["f", "m", "f"], {"sex": "Sex"})
    assert found["id"].isna().tolist() == [False, False, True]
    assert found["born"].astype(str).tolist()[0].startswith("2000-01-01")
    plain, _, _ = table_of(tmp_path / "ours", "{columns: [sex, id], convert_categoricals: false, user_missing: true}")
    assert (list(plain), plain["sex"].tolist(), plain["id"].tolist()) == (["id", "sex"], [1, 2, 1], [1, 2, 3])


@pytest.mark.needs_library("pyreadstat")
@pytest.mark.parametrize("name", first(1, ["p.zsav", "p.por", "P.POR"]))
def test_spss_compressed_and_portable(tmp_path: Path, name: str) -> None:
    import pyreadstat

    written, folder = tmp_path / name.lower(), tmp_path / "package"
    folder.mkdir()
    frame = people()[["sex", "id"]].set_axis(["SEX", "ID"], axis=1)  # as portable files write names
    if name == "p.zsav":
        labels = {"SEX": {1: "f", 2: "m"}}
        pyreadstat.write_sav(
            frame, str(written), compress=True, column_labels={"SEX": "Sex"}, variable_value_labels=labels
        )
    else:
        pyreadstat.write_por(frame, str(written), column_labels={"SEX": "Sex"})
    written.rename(folder / name)
    found, notes, _ = table_of(folder)
    assert found["SEX"].tolist() == (["f", "m", "f"] if name == "p.zsav" else [1, 2, 1])
    assert (found["ID"].tolist(), notes) == ([1, 2, 3], {"SEX": "Sex"})
    assert list(table_of(folder, "{columns: [ID]}")[0]) == ["ID"]


@pytest.mark.needs_library("pyreadstat")
def test_portable_file_does_not_accept_an_encoding(tmp_path: Path) -> None:
    import pyreadstat

    pyreadstat.write_por(people()[["sex", "id"]], str(tmp_path / "p.por"))
    for kwarg in ("encoding: latin1", "user_missing: true"):
        with pytest.raises(BuildFailed, match=f"kwarg {kwarg.partition(':')[0]} is not supported"):
            table_of(tmp_path, f"{{{kwarg}}}")


@pytest.mark.needs_library("pyreadstat")
def test_transport_files(tmp_path: Path) -> None:
    import pyreadstat

    pyreadstat.write_xport(people(), str(tmp_path / "p.xpt"), column_labels={"sex": "Sex"}, file_format_version=5)
    found, notes, _ = table_of(tmp_path)
    assert (found["sex"].tolist(), notes) == ([1, 2, 1], {"sex": "Sex"})
    assert found["born"].isna().tolist() == [False, False, True]


@pytest.mark.needs_library("pyreadstat")
def test_portable_files(tmp_path: Path) -> None:
    import pyreadstat

    pyreadstat.write_por(people(), str(tmp_path / "p.por"), column_labels={"sex": "Sex"})
    found, _, _ = table_of(tmp_path)
    assert (list(found), found["SEX"].tolist()) == (["ID", "SEX", "BORN", "HEIGHT"], [1, 2, 1])
    assert found["BORN"].isna().tolist() == [False, False, True]
    with pytest.raises(BuildFailed, match=r"kwarg encoding is not supported for \.por files"):
        table_of(tmp_path, "{encoding: latin-1}")


@pytest.mark.needs_library("pyreadstat")
@pytest.mark.parametrize("at", [180, 212, 244, 276, 308])
def test_file_that_crashes_the_library_is_rejected(tmp_path: Path, at: int) -> None:
    data = (FILES / "iris.sav").read_bytes()
    (tmp_path / "p.sav").write_bytes(data[:at] + b"@" + data[at + 1 :])
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(BuildFailed, match=r"'p\.sav' cannot be read as spss: it is damaged"):
        Bench().build(tmp_path)


@pytest.mark.needs_library("pyreadstat")
def test_equal_labels_and_names_pass_through_the_child_process(tmp_path: Path) -> None:
    import pyreadstat

    frame = pd.DataFrame({"a": [1.0, 2.0, None], "ünï": ["x", "", "é"], "c": [1.5, 2.5, 3.5]})
    labels = {"a": {1.0: "same", 2.0: "other", 3.0: "same"}, "ünï": {"x": "same"}}
    pyreadstat.write_sav(frame, str(tmp_path / "p.zsav"), compress=True, variable_value_labels=labels)
    theirs, _ = pyreadstat.read_sav(str(tmp_path / "p.zsav"), apply_value_formats=True)
    found, _, _ = table_of(tmp_path)
    assert found.astype(object).where(found.notna(), None).values.tolist() == [
        [None if pd.isna(value) else value for value in row] for row in theirs.astype(object).values.tolist()
    ]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1.0, 2.0, None], {1.0: "same", 2.0: "same"}),
        (["x", "y", ""], {"x": "same", "y": "same"}),
        (["x", "y", ""], {"x": "y"}),
        ([1.0, 2.0, None], {1.0: "2"}),
    ],
)
def test_values_of_spss_with_equal_labels_are_refused(
    tmp_path: Path, values: list[Any], labels: dict[Any, str]
) -> None:
    import pyreadstat

    pyreadstat.write_sav(pd.DataFrame({"a": values}), str(tmp_path / "p.sav"), variable_value_labels={"a": labels})
    with pytest.raises(BuildFailed, match=r"column 'a': the values .* have the same label") as caught:
        table_of(tmp_path)
    assert "convert_categoricals: false" in caught.value.hint
    assert table_of(tmp_path, "{convert_categoricals: false}")[0]["a"].tolist()[:2] == values[:2]


def test_missing_library_error_has_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(FILES / "iris.sav", tmp_path / "iris.sav")
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    with pytest.raises(MissingDependency) as caught:
        table_of(tmp_path)
    assert caught.value.hint == "pip install pyreadstat"


@pytest.mark.parametrize(
    ("name", "kwargs"), [("p.dta", "chunksize: 1"), ("p.sas7bdat", "format: xport"), ("p.sav", "x: 1")]
)
def test_unsupported_kwargs(tmp_path: Path, name: str, kwargs: str) -> None:
    write(tmp_path, {name: "", "build.yml": f"contents:\n  p: {{file: {name}, kwargs: {{{kwargs}}}}}\n"})
    with pytest.raises(InvalidBuildFile, match="kwarg"):
        Bench().build(tmp_path)


@pytest.mark.parametrize("at", [82, 86, 99, 179, 180, 187, 251])
def test_stata_file_with_impossible_numbers(tmp_path: Path, at: int) -> None:
    data = (FILES / "iris.dta").read_bytes()
    (tmp_path / "p.dta").write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    told = r"'p\.dta' cannot be read as stata: the file is damaged or truncated|not enough memory"
    with pytest.raises((BuildFailed, ResourceExhausted), match=told):  # the second where it asks for too much memory
        Bench().build(tmp_path)


@pytest.mark.parametrize("name", ["p.dta", "p.sas7bdat"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<stata_dta><header>" + bytes(400))
    with pytest.raises(BuildFailed, match=name):
        Bench().build(tmp_path)
