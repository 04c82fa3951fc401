"""The error for a path at which a state has no node."""

from __future__ import annotations

from datapkg.errors import NodeNotFound
from datapkg.format.manifest.missing import no_node
from datapkg.reading.missing.earlier_states import explain
from datapkg.reading.missing.python_code import expression, load_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.format.names import Ref
    from datapkg.reading.source import Source


def missing_node(source: Source, path: str, ref: Ref | None = None) -> NodeNotFound:
    """Return the error for a path without a node: it names the group that exists, and close names.

    The hint is the Python code of the node that was probably meant, in the package that was imported, or loaded by
    `ref`.
    """
    if source.parts:
        number, of = source.parts[-1][1:]
        return NodeNotFound(f"{source.ref.package}/{path} is not in part {number} of {of}", path=path)
    error = no_node(source.manifest, path, source.ref.package)
    if near := error.detail.get("near"):
        error.explain("", load_line(ref, near) if ref else expression(source, near))
    return explain(error, source.store, source.ref, source.hash, source.home)
