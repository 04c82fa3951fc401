"""What is said of a node that a package has not: where its path ends, and names that are near."""

from __future__ import annotations

from bisect import bisect_left

from datapkg.errors import NodeNotFound
from datapkg.format.names import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.format.manifest import Manifest


_COMPARED = 100


def near_names(name: str, names: list[str]) -> list[str]:
    """Return the names that are spelt nearly so, at most three, the nearest first.

    Among many names only those that would stand beside it are compared: that takes long.
    """
    import difflib

    compared = names
    if len(names) > _COMPARED:
        at = max(0, bisect_left(compared := sorted(names), name) - _COMPARED // 2)
        compared = compared[at : at + _COMPARED]
    return difflib.get_close_matches(name, compared, n=3)


def advice(name: str, names: list[str]) -> str:
    """What to say of a name that is not there: those that are near, or all of a few."""
    if near := near_names(name, names):
        return f"; did you mean {' or '.join(map(shown, near))}?"
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(map(shown, names))}" if 0 < len(names) <= 9 else ""


def no_node(manifest: Manifest, path: str, package: str = "the package") -> NodeNotFound:
    """The error for a path at which there is nothing: it names the group that is there, and names that are near.

    `detail["near"]` is the path that was most likely meant, if there is one.
    """
    group, _, name = path.rpartition("/")
    while group and (kind := manifest.kind(group)) != "group":
        if kind:
            what = f"{shown(group)} is a {kind}, and nothing lies below it"
            return NodeNotFound(f"{package} has no node {shown(path)}: {what}", path=path)
        group, _, name = group.rpartition("/")
    names = list(manifest.children(group))
    near = near_names(name, names)
    where = f"{package}/{group}" if group else package
    message = f"{where} has no node {shown(name)}{advice(name, names)}"
    if near:
        return NodeNotFound(message, path=path, near=_corrected(manifest, path, group, name, near[0]))
    return NodeNotFound(message, hint=f"datapkg show {package}" if "/" in package else "", path=path)


def _corrected(manifest: Manifest, path: str, group: str, wrong: str, right: str) -> str:
    """A path with one name put right, and what is below it as far as that is there."""
    above = f"{group}/" if group else ""
    whole = f"{above}{right}{path.removeprefix(above + wrong)}"
    return whole if manifest.kind(whole) else above + right
