"""Bundles: a file with packages installs the same bytes elsewhere, and a damaged or hostile one installs nothing."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.bundle import install_bundle, write_bundle
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import (
    Conflict,
    DatapkgError,
    InvalidInput,
    NewerFormat,
    NotFound,
    ObjectNotFound,
    PackageNotInstalled,
)
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.format.selection import Selection
from datapkg.home import Home
from datapkg.reading.load import load
from tests.conftest import Person

ONE, TWO = Ref("me", "one"), Ref("me", "two")
BIG = bytes(range(256)) * 8192
Members = list[tuple[tarfile.TarInfo, bytes]]


def home_at(folder: Path) -> Home:
    return Home({"DATAPKG_HOME": str(folder)})


def built(home: Home, ref: Ref, **files: bytes) -> str:
    """Build a package of these files and return its hash."""
    folder = home.data / "sources" / ref.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return build_package(home, ref, folder).hash


@pytest.fixture
def builder(tmp_path: Path) -> Home:
    home = home_at(tmp_path / "builder")
    built(home, ONE, big=BIG, small=b"small", another=b"another")
    built(home, TWO, the_same=BIG, other=b"other")
    return home


@pytest.fixture
def bundled(builder: Home, tmp_path: Path) -> Path:
    path = tmp_path / "x.dpkg"
    write_bundle(builder, [ONE, TWO], path)
    return path


def packages(home: Home) -> list[str]:
    return [ref.package for ref in home.store.refs.packages()]


def test_a_bundle_installs_the_same_packages_and_shares_objects(builder: Home, bundled: Path, tmp_path: Path) -> None:
    home = home_at(tmp_path / "other")
    done = install_bundle(home, bundled)
    states = [builder.store.refs.current(ref) for ref in (ONE, TWO)]
    assert [each.hash for each in done] == [state.hash for state in states if state]
    assert [each.bytes_left for each in done] == [0, 0]
    assert done[1].objects_received == 1, "the object that both have is in the bundle once"
    assert load("me/two", home)["the_same"]().read_bytes() == BIG  # type: ignore[operator,index]
    assert bundled.stat().st_size < len(BIG) + 20_000
    assert [each.bytes_received for each in install_bundle(home, bundled)] == [0, 0]


def test_the_same_states_give_the_same_bytes(builder: Home, bundled: Path, tmp_path: Path) -> None:
    home = home_at(tmp_path / "other")
    install_bundle(home, bundled)
    write_bundle(home, [ONE, TWO], tmp_path / "again.dpkg")
    assert (tmp_path / "again.dpkg").read_bytes() == bundled.read_bytes()


def test_tar_lists_what_is_in_a_bundle(bundled: Path) -> None:
    with tarfile.open(bundled) as tar:
        names = tar.getnames()
        assert names[0] == "bundle.json"
        for name in names[1:]:
            file = tar.extractfile(name)
            assert file is not None
            assert name == f"objects/{hash_bytes(file.read())}"
    assert len(names) == 1 + 2 + 4  # the contents, two manifests, and the objects of both


def test_a_bundle_of_one_node_is_a_partial_install(builder: Home, tmp_path: Path) -> None:
    write_bundle(builder, [Ref("me", "one", "small")], tmp_path / "part.dpkg")
    home = home_at(tmp_path / "other")
    (done,) = install_bundle(home, tmp_path / "part.dpkg")
    assert done.bytes_left > len(BIG)
    package = load("me/one", home)
    assert package["small"]().read_bytes() == b"small"  # type: ignore[operator,index]
    with pytest.raises(ObjectNotFound, match=r"type: datapkg fetch me/one/big@sha256:"):
        package["big"]()  # type: ignore[operator,index]


def test_origin_is_a_registry_of_the_settings_and_versions_are_carried(person: Person, tmp_path: Path) -> None:
    home, ref = person.home(), person.ref("p")
    built(home, ref, n=b"1")
    push_package(home, ref, version="1.0", tag="stable")
    write_bundle(home, [ref], tmp_path / "x.dpkg")
    write_bundle(home, [person.ref("p@stable")], tmp_path / "tagged.dpkg")
    here = person.home("here")
    (done,) = install_bundle(here, tmp_path / "x.dpkg")
    refs, hash = here.store.refs, done.hash
    current = refs.current(ref)
    assert current is not None
    assert (current.origin, refs.versions(ref), refs.tags(ref), done.note) == (person.url, {"1.0": hash}, {}, "")
    install_bundle(here, tmp_path / "tagged.dpkg")
    assert refs.tags(ref) == {"stable": hash}
    elsewhere = home_at(tmp_path / "elsewhere")
    (done,) = install_bundle(elsewhere, tmp_path / "x.dpkg")
    current = elsewhere.store.refs.current(ref)
    assert current is not None
    assert current.origin == "local", "a file must not decide which server is asked"
    assert "is not in your settings" in done.note
    named = elsewhere.registry_url(person.url)
    install_bundle(elsewhere, tmp_path / "x.dpkg", registry=named)
    current = elsewhere.store.refs.current(ref)
    assert current is not None
    assert current.origin == person.url


def test_a_package_of_another_registry_is_replaced_only_on_demand(person: Person, tmp_path: Path) -> None:
    home, ref = person.home(), person.ref("p")
    built(home, ref, n=b"1")
    push_package(home, ref)
    other = home_at(tmp_path / "other")
    hash = built(other, ref, n=b"2")
    write_bundle(other, [ref], tmp_path / "x.dpkg")
    installed = person.home("installed")
    install_packages(installed, [ref])
    with pytest.raises(Conflict, match=f"is installed from {person.url}") as caught:
        install_bundle(installed, tmp_path / "x.dpkg")
    assert "--replace" in caught.value.hint
    install_bundle(installed, tmp_path / "x.dpkg", replace=True)
    current = installed.store.refs.current(ref)
    assert current is not None
    assert current.hash == hash


def test_what_cannot_be_bundled_writes_nothing(person: Person, builder: Home, bundled: Path, tmp_path: Path) -> None:
    before = bundled.read_bytes()
    with pytest.raises(Conflict, match="exists; nothing was written"):
        write_bundle(builder, [ONE], bundled)
    assert bundled.read_bytes() == before
    with pytest.raises(PackageNotInstalled):
        write_bundle(builder, [Ref("me", "absent")], tmp_path / "y.dpkg")
    with pytest.raises(NotFound, match="there is no folder"):
        write_bundle(builder, [ONE], tmp_path / "absent" / "y.dpkg")
    ref = person.ref("p")
    built(person.home(), ref, n=b"1")
    push_package(person.home(), ref)
    part = person.home("part")
    install_packages(part, [ref], selection=Selection(meta_only=True))
    with pytest.raises(ObjectNotFound, match=r"not wholly on this machine \(objects missing: 1\)") as caught:
        write_bundle(part, [ref], tmp_path / "y.dpkg")
    assert caught.value.hint.startswith(f"datapkg fetch {ref.package}@sha256:")
    assert [each.name for each in tmp_path.iterdir() if "dpkg" in each.name] == ["x.dpkg"]


def read_members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar.getmembers()]  # type: ignore[union-attr]


def written(members: Members, path: Path, format: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return path


def file(name: str, data: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def link(name: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info, b""


def changed(members: Members, data: Callable[[bytes], bytes]) -> Members:
    """The members with other contents in `bundle.json`."""
    return [file("bundle.json", data(members[0][1])), *members[1:]]


HOSTILE: dict[str, tuple[Callable[[Members], Members], str]] = {
    "another object's bytes": (lambda m: [*m[:-1], file(m[-1][0].name, b"x" * m[-1][0].size)], "hashes to"),
    "other bytes for a manifest": (lambda m: [m[0], file(m[1][0].name, b"x" * m[1][0].size), *m[2:]], "hashes to"),
    "a size that no manifest states": (lambda m: [*m[:-1], file(m[-1][0].name, b"xx")], "its manifest states"),
    "an object less": (lambda m: m[:-1], "objects missing: 1"),
    "a manifest less": (lambda m: [m[0], *m[2:]], "is not in"),
    "an object more": (lambda m: [*m, file(f"objects/{hash_bytes(b'more')}", b"more")], "that no package in it has"),
    "an object twice": (lambda m: [*m, m[-1]], "is in it twice"),
    "a path upwards": (lambda m: [*m, file("../../evil", b"x")], "a member named '../../evil'"),
    "an absolute path": (lambda m: [*m, file("/etc/evil", b"x")], "a member named '/etc/evil'"),
    "a name with more behind the hash": (lambda m: [*m, file(m[-1][0].name + "/x", b"x")], "a member named"),
    "a link": (lambda m: [*m, link(f"objects/{'0' * 64}")], "is not an ordinary file"),
    "a long name": (lambda m: [*m, file("objects/" + "a" * 300)], "a member named '././@LongLink'"),
    "contents that are not JSON": (lambda m: changed(m, lambda _: b"{"), "bundle.json is not valid"),
    "no packages": (lambda m: changed(m, lambda _: b'{"bundle":1,"packages":[]}'), "no packages"),
    "an unknown field": (lambda m: changed(m, lambda d: d.replace(b'"bundle"', b'"x":1,"bundle"')), "unknown field"),
    "a path as a package": (
        lambda m: changed(m, lambda d: d.replace(b"me/one", b"../one")),
        "bundle.json is not valid",
    ),
    "a path as a tag": (
        lambda m: changed(m, lambda d: d.replace(b'"package"', b'"tags":["../../x"],"package"', 1)),
        "bundle.json is not valid",
    ),
    "a node that is not there": (
        lambda m: changed(m, lambda d: d.replace(b'"package"', b'"path":"absent","package"', 1)),
        "absent",
    ),
    "deep JSON": (lambda m: changed(m, lambda _: b"[" * 100_000), "bundle.json is not valid"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_bundle_installs_nothing(kind: str, bundled: Path, tmp_path: Path) -> None:
    change, message = HOSTILE[kind]
    path = written(change(read_members(bundled)), tmp_path / "hostile.dpkg")
    home = home_at(tmp_path / "other")
    with pytest.raises(DatapkgError) as caught:
        install_bundle(home, path)
    assert message in caught.value.message
    assert caught.value.hint
    assert packages(home) == []
    install_bundle(home, bundled)


def test_a_newer_form_is_named(bundled: Path, tmp_path: Path) -> None:
    members = changed(read_members(bundled), lambda data: data.replace(b'"bundle":1', b'"bundle":2'))
    with pytest.raises(NewerFormat, match="bundle format 2 is newer"):
        install_bundle(home_at(tmp_path / "other"), written(members, tmp_path / "newer.dpkg"))


def test_a_bundle_that_was_cut_anywhere_installs_nothing(bundled: Path, tmp_path: Path) -> None:
    data, home = bundled.read_bytes(), home_at(tmp_path / "other")
    cut = tmp_path / "cut.dpkg"
    for end in (0, 1, 511, 512, 700, 1024, 1600, 5000, len(BIG), len(data) - 1536, len(data) - 1024):
        cut.write_bytes(data[:end])
        with pytest.raises(DatapkgError, match=r"is damaged|is not a bundle"):
            install_bundle(home, cut)
        assert packages(home) == []


def test_a_size_beyond_the_file_is_refused_before_anything_is_read(bundled: Path, tmp_path: Path) -> None:
    data = bundled.read_bytes()
    info = tarfile.TarInfo("objects/" + "0" * 64)
    info.size = 1 << 60
    path = tmp_path / "huge.dpkg"
    path.write_bytes(data[:-1024] + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DatapkgError, match="bytes after the end of the file"):
        install_bundle(home_at(tmp_path / "other"), path)


def test_a_compressed_or_other_file_is_not_a_bundle(bundled: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.dpkg"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(bundled, "bundle.json")
    for path in (packed, Path(__file__)):
        with pytest.raises(InvalidInput, match="is not a bundle"):
            install_bundle(home_at(tmp_path / "other"), path)


def test_python_writes_and_installs_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "n").write_bytes(b"1")
    built = datapkg.build("me/one", {"n": tmp_path / "n"})
    done = datapkg.bundle("me/one", tmp_path / "x.dpkg")
    assert done.packages == [{"package": "me/one", "hash": datapkg.hash(built), "path": ""}]
    assert done.size_bytes == (tmp_path / "x.dpkg").stat().st_size
    monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "other"))
    (package,) = datapkg.install_bundle(tmp_path / "x.dpkg")
    assert package["n"]().read_bytes() == b"1"
    assert hashlib.sha256(b"1").hexdigest() in (tmp_path / "x.dpkg").read_bytes().decode("latin-1")


def test_a_name_as_long_as_file_systems_allow(builder: Home, tmp_path: Path) -> None:
    path = tmp_path / ("数" * 83 + ".dpkg")
    write_bundle(builder, [ONE], path)
    assert path.stat().st_size > 0
