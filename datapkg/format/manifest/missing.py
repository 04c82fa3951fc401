"""What is said of a node that a package has not: where its path ends, and names that are near."""

from __future__ import annotations

from bisect import bisect_left

from datapkg.errors import NodeNotFound
from datapkg.format.names import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Protocol

    from datapkg.format.manifest.model import Kind

    class Manifest(Protocol):
        """What is asked of a manifest."""

        def kind(self, path: str) -> Kind | Literal[""]: ...

        def children(self, path: str = "") -> dict[str, Kind]: ...


_COMPARED = 100


def close_names(name: str, names: list[str], cutoff: float = 0.6) -> list[str]:
    """Return up to three names that are like one that is not there, the nearest first.

    A higher `cutoff`, up to 1, is for names that are alike anyway, such as those of files with one suffix.

    Among many names only those that would stand beside it are compared: that takes long.
    """
    import difflib

    compared = names
    if len(names) > _COMPARED:
        at = max(0, bisect_left(compared := sorted(names), name) - _COMPARED // 2)
        compared = compared[at : at + _COMPARED]
    return difflib.get_close_matches(name, compared, n=3, cutoff=cutoff)


def advice(name: str, names: list[str]) -> str:
    """What to say of a name that is not there: those that are near, or all of a few."""
    if near := close_names(name, names):
        return f"; did you mean {' or '.join(map(quoted, near))}?"
    return (
        f"; there {'is' if len(names) == 1 else 'are'} {', '.join(map(quoted, names))}" if 0 < len(names) <= 9 else ""
    )


def no_node(manifest: Manifest, path: str, package: str = "the package") -> NodeNotFound:
    """The error for a path at which there is nothing: it names the group that is there, and names that are near."""
    group, _, name = path.rpartition("/")
    while group and (kind := manifest.kind(group)) != "group":
        if kind:
            what = f"{quoted(group)} is a {kind}, and nothing lies below it"
            return NodeNotFound(f"{package} has no node {quoted(path)}: {what}", path=path)
        group, _, name = group.rpartition("/")
    names = list(manifest.children(group))
    near = close_names(name, names)
    where = f"{package}/{group}" if group else package
    hint = f"datapkg show {package}" if "/" in package and not near else ""
    # A path may go on below the name that is not there; only whole paths are corrected.
    is_corrected = near and path == (f"{group}/{name}" if group else name)
    detail = {"meant": [path, f"{group}/{near[0]}" if group else near[0]]} if is_corrected else {}
    return NodeNotFound(f"{where} has no node {quoted(name)}{advice(name, names)}", hint=hint, path=path, **detail)
