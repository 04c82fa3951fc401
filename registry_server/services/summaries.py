"""Title, description, sizes and searchable texts of a manifest, for lists and searches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from datapkg.errors import DatapkgError
from datapkg.format.manifest.parsed import FileNode, Manifest, Node, TableNode
from datapkg.format.metadata import licence_files_among, readme_among
from datapkg.objects.base import Readable
from registry_server.db.states import StateRow
from registry_server.services.search_matches import Originals

MAX_TITLE, MAX_DESCRIPTION = 300, 2_000
MAX_NODES_TEXT = 64 << 10
MAX_README_TEXT = 64 << 10


def describe(manifest: Manifest) -> StateRow:
    """Return the database row of a manifest."""
    return StateRow(
        hash=manifest.hash,
        manifest_size=manifest.size_bytes,
        bytes_logical=sum(manifest.objects().values()),
        title=_text(manifest, "title", MAX_TITLE),
        description=_text(manifest, "description", MAX_DESCRIPTION),
    )


def search_texts(name: str, manifest: Manifest, objects: Readable) -> dict[str, str]:
    """Return the columns of the table `search` for a package, casefolded except for the originals."""
    title, description = _text(manifest, "title", MAX_TITLE), _text(manifest, "description", MAX_DESCRIPTION)
    found = Originals(_keywords(manifest), _named(manifest), readme_text(manifest, objects, MAX_README_TEXT))
    return {
        "name": name.casefold(),
        "about": "\n".join([title, description, *found.keywords]).casefold(),
        "nodes": "\n".join(" ".join(names) for names in found.nodes).casefold(),
        "readme": found.readme.casefold(),
        "originals": found.encode(),
    }


def readme_node(manifest: Manifest) -> FileNode | None:
    """Return the top-level README file, if there is one."""
    # Names are chosen first: reading the nodes of 200,000 files to take one of them took seconds.
    return next(_nodes(manifest, [readme_among(_top_files(manifest))]), None)


def licence_nodes(manifest: Manifest, limit: int) -> list[FileNode]:
    """Return the top-level licence files, at most `limit`."""
    return list(_nodes(manifest, licence_files_among(_top_files(manifest))[:limit]))


def _top_files(manifest: Manifest) -> list[str]:
    return [name for name, kind in manifest.children().items() if kind == "file"]


def _nodes(manifest: Manifest, names: Iterable[str]) -> Iterator[FileNode]:
    for name in filter(None, names):
        if isinstance(node := manifest.get(name), FileNode):
            yield node


def readme_text(manifest: Manifest, objects: Readable, limit: int) -> str:
    """Return the README as text, cut at `limit` bytes; "" if there is none or it cannot be read."""
    node = readme_node(manifest)
    if node is None:
        return ""
    try:
        with objects.open(node.hash, 0, limit) as stream:
            data = stream.read(limit)
    except (DatapkgError, OSError):
        return ""
    # PostgreSQL takes no NUL in a text.
    return data.decode("utf-8-sig", errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _text(manifest: Manifest, key: str, limit: int) -> str:
    value = manifest.meta.get(key)
    return value[:limit].replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else ""


def _keywords(manifest: Manifest) -> list[str]:
    words = manifest.meta.get("keywords")
    texts = [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
    return "\n".join(texts)[:MAX_DESCRIPTION].replace("\0", "\N{REPLACEMENT CHARACTER}").splitlines()


def _named(manifest: Manifest) -> list[list[str]]:
    """Return the path of each node with the names of its columns, up to `MAX_NODES_TEXT` characters in total."""
    found: list[list[str]] = []
    left = MAX_NODES_TEXT
    for node in manifest.entries():
        found.append([])
        for name in [node.path, *(name for name, _ in _columns(node))]:
            left -= len(name) + 1
            if left < 0:
                return [names for names in found if names]
            found[-1].append(name.replace("\0", "\N{REPLACEMENT CHARACTER}"))
    return found


def _columns(node: Node) -> Sequence[tuple[str, str]]:
    return node.columns if isinstance(node, TableNode) else ()
