"""A long manifest made of another one's lines is the one that is made of all nodes, and is refused where that is."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from datapkg.errors import InvalidManifest
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest import patch
from datapkg.format.manifest.diff import changed, diff
from datapkg.format.manifest.edit import ManifestEdit
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import FileNode, GroupNode, Manifest, Node
from datapkg.format.manifest.validate import is_right
from tests.examples import seeds
from tests.format.manifest.test_indexed import assert_alike, hash_of, made, node

NAMES = ["a", "b", "c", "é", "~"]
KINDS = ["file", "table", "array", "group", "group"]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that a manifest of a few lines has many chunks."""
    for name, value in (("TARGET_BYTES", 256), ("MIN_BYTES", 64), ("MAX_BYTES", 1024)):
        monkeypatch.setattr(f"datapkg.format.chunks.{name}", value)
    monkeypatch.setattr(patch, "LONG_BYTES", 1)
    yield


def some_manifest(rng: random.Random, count: int = 60) -> Manifest:
    return made(
        [
            (rng.choice(KINDS), rng.choices(NAMES, k=rng.randrange(1, 5)), n, {"n": n} if rng.random() < 0.3 else {})
            for n in range(count)
        ]
    )


def lined(manifest: Manifest) -> MappedManifest:
    return MappedManifest(manifest.data, manifest.hash)


@pytest.mark.parametrize("seed", range(20))
def test_it_answers_as_a_parsed_one_does(seed: int) -> None:
    manifest = some_manifest(random.Random(seed))
    assert_alike(manifest, lined(manifest))
    assert (lined(manifest).objects(), lined(manifest).size()) == (manifest.objects(), manifest.size())


def edited(rng: random.Random, nodes: dict[str, Node], overlay: ManifestEdit) -> None:
    """The same random changes to a dict of nodes and to an overlay."""
    for number in range(rng.randrange(1, 12)):
        path = "/".join(rng.choices(NAMES, k=rng.randrange(1, 4)))
        below = [each for each in nodes if each.startswith(f"{path}/")]
        assert sorted(overlay.below(path)) == sorted(below)
        assert (path in overlay) == (path in nodes)
        above = [nodes.get(path[:at]) for at in range(len(path)) if path[at] == "/"]
        if rng.random() < 0.4:
            for each in [each for each in (path, *below) if each in nodes]:
                del nodes[each], overlay[each]
        elif all(each is None or each.kind == "group" for each in above):
            new = node(rng.choice(KINDS), path, 1000 + number, {})
            for each in below if new.kind != "group" else ():
                del nodes[each], overlay[each]
            nodes[path] = overlay[path] = new
    assert dict(overlay) == nodes


@pytest.mark.parametrize("seed", seeds(25, 100))
def test_changes_upon_lines_make_what_all_nodes_make(seed: int) -> None:
    rng = random.Random(seed)
    old = some_manifest(rng)
    nodes, overlay = {each.path: each for each in old.nodes}, ManifestEdit(lined(old))
    edited(rng, nodes, overlay)
    new = overlay.manifest({"title": str(seed)})
    wanted = Manifest.make(nodes.values(), {"title": str(seed)})
    assert isinstance(new, MappedManifest)
    assert_alike(wanted, new)
    assert_alike(wanted, patch.checked(wanted.data, wanted.hash, lined(old)))
    assert changed(lined(old), new) == changed(old, wanted)
    assert diff(lined(old), new) == diff(old, wanted)


@pytest.mark.parametrize("seed", seeds(35, 140))
def test_what_is_refused_whole_is_refused_beside_an_older_one(seed: int) -> None:
    rng = random.Random(seed)
    old = some_manifest(rng)
    lines = old.data.splitlines(keepends=True)
    place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match seed % 7:
        case 0:
            lines[place], lines[other] = lines[other], lines[place]
        case 1:
            lines.insert(place, lines[other])
        case 2:
            lines[place] = lines[place].replace(b'"size":', b'"size": ')
        case 3:
            lines[place] = lines[place].replace(b'"path":"', b'"path":"a/', 1)
        case 4:
            lines[place] = lines[place].replace(b'"size":', b'"size":9', 1)
        case 5:
            lines[place] = lines[place].replace(b'"path":"', b'"path":"\r', 1)
        case _:
            del lines[place]
    data = b"".join(lines)
    if (message := mistake(data)) is None:
        wanted = Manifest.parse(data)
        assert_alike(wanted, patch.read_manifest(data, hash_bytes(data), older=lined(old)))
        assert_alike(wanted, patch.read_manifest(data, hash_bytes(data)))
    else:
        with pytest.raises(InvalidManifest):
            patch.read_manifest(data, hash_bytes(data), older=lined(old))
        with pytest.raises(InvalidManifest, match=re.escape(message)):
            patch.read_manifest(data, hash_bytes(data))
    assert is_right(MappedManifest(data, "")) == (message is None)


def mistake(data: bytes) -> str | None:
    """What a manifest that is parsed as a whole is refused for."""
    try:
        Manifest.parse(data)
    except InvalidManifest as error:
        return error.message
    return None


@pytest.mark.parametrize("data", [b"", b"x", b'{"datapkg":1}', b'{"datapkg":2}\n', b"\n\n"])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        patch.checked(data, hash_bytes(data), lined(some_manifest(random.Random(1))))


def test_two_sizes_of_an_object_are_found_far_apart() -> None:
    old = Manifest.make([FileNode(path=f"n{n:03}", hash=hash_of(n), size=n) for n in range(500)])
    new = ManifestEdit(lined(old))
    new["z"] = FileNode(path="z", hash=hash_of(3), size=4)
    data = new.manifest({}).data
    with pytest.raises(InvalidManifest, match=r"line 5: object .* two different sizes"):
        patch.checked(data, hash_bytes(data), lined(old))


def test_a_node_below_one_that_is_no_group_is_refused() -> None:
    overlay = ManifestEdit(lined(Manifest.make([FileNode(path="a", hash=hash_of(1), size=1)])))
    overlay["a/b"] = GroupNode(path="a/b")
    with pytest.raises(InvalidManifest, match="lies below a file"):
        overlay.manifest({})
