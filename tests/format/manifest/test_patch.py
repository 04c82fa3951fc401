"""A long manifest derived from another one's lines equals, and is rejected like, one made from all nodes."""

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
    """Make chunks so small that a manifest of a few lines has many of them."""
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


def mapped(manifest: Manifest) -> MappedManifest:
    return MappedManifest(manifest.data, manifest.hash)


@pytest.mark.parametrize("seed", range(20))
def test_patched_manifest_equals_a_parsed_one(seed: int) -> None:
    manifest = some_manifest(random.Random(seed))
    assert_alike(manifest, mapped(manifest))
    assert (mapped(manifest).objects(), mapped(manifest).size()) == (manifest.objects(), manifest.size())


def edited(rng: random.Random, nodes: dict[str, Node], overlay: ManifestEdit) -> None:
    """Apply the same random changes to a dict of nodes and to a patch."""
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
def test_changes_to_lines_equal_a_manifest_of_all_nodes(seed: int) -> None:
    rng = random.Random(seed)
    old = some_manifest(rng)
    nodes, overlay = {each.path: each for each in old.nodes}, ManifestEdit(mapped(old))
    edited(rng, nodes, overlay)
    new = overlay.manifest({"title": str(seed)})
    wanted = Manifest.make(nodes.values(), {"title": str(seed)})
    assert isinstance(new, MappedManifest)
    assert_alike(wanted, new)
    assert_alike(wanted, patch.checked(wanted.data, wanted.hash, mapped(old)))
    assert changed(mapped(old), new) == changed(old, wanted)
    assert diff(mapped(old), new) == diff(old, wanted)


@pytest.mark.parametrize("seed", seeds(35, 140))
def test_invalid_manifest_is_rejected_also_when_compared_with_an_older_one(seed: int) -> None:
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
        assert_alike(wanted, patch.read_manifest(data, hash_bytes(data), older=mapped(old)))
        assert_alike(wanted, patch.read_manifest(data, hash_bytes(data)))
    else:
        with pytest.raises(InvalidManifest):
            patch.read_manifest(data, hash_bytes(data), older=mapped(old))
        with pytest.raises(InvalidManifest, match=re.escape(message)):
            patch.read_manifest(data, hash_bytes(data))
    assert is_right(MappedManifest(data, "")) == (message is None)


def mistake(data: bytes) -> str | None:
    """Return the error for which a fully parsed manifest is rejected."""
    try:
        Manifest.parse(data)
    except InvalidManifest as error:
        return error.message
    return None


@pytest.mark.parametrize("data", [b"", b"x", b'{"datapkg":1}', b'{"datapkg":2}\n', b"\n\n"])
def test_invalid_manifest_is_rejected(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        patch.checked(data, hash_bytes(data), mapped(some_manifest(random.Random(1))))


def test_two_sizes_of_an_object_are_detected_across_the_manifest() -> None:
    old = Manifest.make([FileNode(path=f"n{n:03}", hash=hash_of(n), size=n) for n in range(500)])
    new = ManifestEdit(mapped(old))
    new["z"] = FileNode(path="z", hash=hash_of(3), size=4)
    data = new.manifest({}).data
    with pytest.raises(InvalidManifest, match=r"line 5: object .* two different sizes"):
        patch.checked(data, hash_bytes(data), mapped(old))


def test_node_below_one_that_is_not_a_group_is_rejected() -> None:
    overlay = ManifestEdit(mapped(Manifest.make([FileNode(path="a", hash=hash_of(1), size=1)])))
    overlay["a/b"] = GroupNode(path="a/b")
    with pytest.raises(InvalidManifest, match="lies below a file"):
        overlay.manifest({})
