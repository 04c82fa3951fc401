"""Write nodes as Python code, for the lines that errors tell the user to type."""

from __future__ import annotations

from datapkg.format.names import Ref, attribute_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.reading.source import Source


def expression(source: Source, path: str) -> str:
    """Return a node as written where its package was imported: `iris.measurements`, `iris["any name"]`."""
    written, group = source.ref.name, ""
    for part in path.split("/"):
        attribute = attribute_name(part)
        is_unique = len(source.children(group).attributes.get(attribute, ())) == 1
        written += f".{attribute}" if is_unique else f"[{part!r}]"
        group = f"{group}/{part}" if group else part
    return written


def load_line(ref: Ref, path: str) -> str:
    """Return the call that loads a node of the package that a ref names."""
    return f'datapkg.load("{Ref(ref.user, ref.name, path, ref.state, ref.registry)}")'
