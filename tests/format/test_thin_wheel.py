"""Thin wheels: valid, small, the same for the same state, and nothing of a publisher's in what Python executes."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.metadata import parse_email
from packaging.utils import canonicalize_name, canonicalize_version, parse_wheel_filename
from packaging.version import Version

from datapkg.errors import InvalidName
from datapkg.format.manifest.parsed import Block, FileNode, Manifest, Node, TableNode
from datapkg.format.thin_wheel import MAX_BYTES, MODULE, ThinWheel, distribution_name, package_of, thin_wheel
from datapkg.format.thin_wheel import wheel_version as version_of
from tests.examples import examples

HASH = "0" * 64
REGISTRY = "https://data.example.org"
LONGEST = f"{'u' * 39}/{'p_' * 31}pp"


def table(path: str, *columns: str, description: str = "") -> TableNode:
    named = [(each, "double") for each in columns]
    meta = {"description": description} if description else {}
    return TableNode(path=path, columns=named, content=f"c1:{HASH}", blocks=[Block(HASH, 0, 3)], rows=0, meta=meta)


def wheel_of(*nodes: Node, package: str = "uciml/iris", registry: str = REGISTRY, **meta: str) -> ThinWheel:
    manifest = Manifest.make(nodes or [FileNode(path="f", hash=HASH, size=3)], dict(meta))
    return thin_wheel(manifest, package, registry, version_of("1.2.0", 1, manifest.hash))


def members_of(wheel: ThinWheel) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(wheel.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def stub_of(wheel: ThinWheel) -> str:
    return next(data for name, data in members_of(wheel).items() if name.endswith(".pyi")).decode()


@pytest.mark.parametrize("package", ["uciml/iris", "u/p", "a1/b_c_d", "u/data", LONGEST])
def test_a_distribution_is_of_one_package(package: str) -> None:
    name = distribution_name(package)
    assert name == canonicalize_name(name)
    assert package_of(name) == package
    assert package_of(name.replace("-", "_").upper()) == package


OTHERS = [
    "",
    "pandas",
    "datapkg",
    "datapkg-",
    "datapkg-u",
    "datapkg-u-",
    "x-datapkg-u-p",
    "datapkg-1-p",
    "datapkg-u-p-",
]


@pytest.mark.parametrize("name", [*OTHERS, "datapkg-admin-p", "datapkg-u-class"])
def test_other_distributions_are_of_no_package(name: str) -> None:
    assert package_of(name) is None


def test_versions_are_in_normal_form() -> None:
    hash = "0123456789abcdef" * 4
    assert version_of("1.2.0", 7, hash) == "1.2.0+h0123456789abcdef"
    assert version_of(None, 7, hash) == "0.dev7+h0123456789abcdef"
    assert version_of("01.0RC1", 7, hash) == "1.0rc1+h0123456789abcdef"
    for version in ("1.2.0", None, "2!1.0.post1.dev2"):
        text = version_of(version, 12, "0" * 64)
        assert str(Version(text)) == text == canonicalize_version(text, strip_trailing_zero=False)
    assert Version(version_of(None, 12, hash)) < Version(version_of("0.0.1", 1, hash))
    with pytest.raises(InvalidName):
        version_of("1.0+local", 1, hash)


def test_a_wheel_is_valid() -> None:
    wheel = wheel_of(title="Iris\nflowers")
    assert wheel.sha256 == sha256(wheel.data).hexdigest()
    assert wheel.metadata_sha256 == sha256(wheel.metadata).hexdigest()
    name, version, _, tags = parse_wheel_filename(wheel.file_name)
    assert (name, {str(tag) for tag in tags}) == ("datapkg-uciml-iris", {"py3-none-any"})
    headers, unknown = parse_email(wheel.metadata)
    assert unknown == {}
    assert (headers["name"], headers["version"]) == (name, str(version))
    assert headers["summary"] == "The data package uciml/iris: Iris flowers"
    assert "requires_dist" not in headers
    members = members_of(wheel)
    info = f"datapkg_uciml_iris-{version}.dist-info"
    module = "datapkg/data/uciml/iris"
    assert list(members) == [
        *(f"{module}.pin.json", f"{module}.py", f"{module}.pyi"),
        *(f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"),
    ]
    assert members[f"{info}/METADATA"] == wheel.metadata
    rows = list(csv.reader(members[f"{info}/RECORD"].decode().splitlines()))
    assert rows.pop() == [f"{info}/RECORD", "", ""]
    for path, digest, size in rows:
        hashed = urlsafe_b64encode(sha256(members[path]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={hashed}", str(len(members[path])))


def test_a_wheel_pins_a_state() -> None:
    wheel = wheel_of()
    manifest = Manifest.make([FileNode(path="f", hash=HASH, size=3)], {})
    assert json.loads(members_of(wheel)["datapkg/data/uciml/iris.pin.json"]) == {
        "client": "pip install -r https://data.example.org/client/requirements.txt",
        "format": 1,
        "hash": manifest.hash,
        "package": "uciml/iris",
        "registry": REGISTRY,
    }


def test_the_same_state_has_the_same_bytes() -> None:
    nodes = [table("a", "x"), table("b/c", "y")]
    wheel = wheel_of(*nodes, title="A")
    assert wheel == wheel_of(*reversed(nodes), title="A")
    with zipfile.ZipFile(BytesIO(wheel.data)) as archive:
        for member in archive.infolist():
            assert (member.date_time, member.external_attr >> 16, member.compress_type) == (
                (1980, 1, 1, 0, 0, 0),
                0o100644,
                zipfile.ZIP_STORED,
            )


# A registry keeps the wheels that it has built; those that it builds for new states may change, but not unnoticed.
SHA256 = "5d2bcb316c2b4f79983c33632a0dd944ebd6be50ea58b3b484e57d6f7f5cd360"


def test_a_wheel_has_the_bytes_that_it_had_before() -> None:
    assert wheel_of(table("t", "a", "b", description="B"), FileNode(path="g/f", hash=HASH, size=3)).sha256 == SHA256


def test_every_wheel_has_the_same_module() -> None:
    modules = {members_of(wheel_of(package=package))[f"datapkg/data/{package}.py"] for package in ("u/p", LONGEST)}
    assert modules == {MODULE}
    assert MODULE.count(b"\n") == 3


TEXTS = st.text(max_size=20) | st.sampled_from(['"', "'", "\\", '"""', '\\"', "\n", "\u202e", "]:", "é" * 300, "#"])


@settings(deadline=None, max_examples=examples(40, 200))
@given(st.lists(TEXTS, max_size=4), TEXTS)
def test_foreign_text_is_only_text(columns: list[str], text: str) -> None:
    wheel = wheel_of(table("t", *columns, description=text), title=text, description=text)
    kinds = (ast.AnnAssign, ast.Assign, ast.ClassDef, ast.Expr, ast.Import, ast.ImportFrom, ast.FunctionDef)
    tree = ast.parse(stub_of(wheel))
    assert all(isinstance(each, kinds) for each in tree.body)
    assert len(wheel.metadata.splitlines()) == 6
    assert len(wheel.data) <= MAX_BYTES


@pytest.mark.parametrize(
    ("count", "has"),
    [
        (1, {"'length'", "Flowers", "- width: double", "g: _G"}),
        (25, {"'length'", "Flowers", "g: _G"}),
        (40, {"Flowers", "g: _G"}),
        (150, {"g: __any_group__"}),
        (1_000, set()),
    ],
)
def test_a_stub_has_as_much_detail_as_fits(count: int, has: set[str]) -> None:
    columns = [f"column_{number}" for number in range(5)] + ["length", "width"]
    tables = [table(f"t{number:03}", *columns, description="Flowers") for number in range(count)]
    stub = stub_of(wheel_of(*tables, table("g/u", *columns)))
    parts = ("'length'", "Flowers", "- width: double", "g: _G", "g: __any_group__")
    assert {each for each in parts if each in stub} == has
    assert ("t000: " in stub) == bool(has)


@pytest.mark.parametrize("package", ["uciml/iris", LONGEST])
def test_a_thousand_tables_take_ten_kilobytes(package: str) -> None:
    nodes = [table(f"table_{number}", *(f"column_{each}" for each in range(30))) for number in range(1_000)]
    wheel = wheel_of(*nodes, package=package, title="é" * 1_000)
    assert len(wheel.data) <= MAX_BYTES
    assert "def __getattr__(name: str) -> Any" in stub_of(wheel)


def test_without_the_client_the_import_says_what_to_type(tmp_path: Path) -> None:
    with zipfile.ZipFile(BytesIO(wheel_of().data)) as archive:
        archive.extractall(tmp_path)
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; from datapkg.data.uciml import iris"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    line = "pip install -r https://data.example.org/client/requirements.txt"
    assert last == f"ImportError: datapkg.data.uciml.iris needs the client of datapkg; type: {line}"


def test_a_wheel_of_a_registry_in_a_folder_names_no_web_page() -> None:
    wheel = wheel_of(registry="s3://bucket/data")
    assert b"Project-URL" not in wheel.metadata
    pin = json.loads(members_of(wheel)["datapkg/data/uciml/iris.pin.json"])
    assert pin["client"] == "pip install FILE (a wheel of datapkg, from whoever keeps s3://bucket/data)"
