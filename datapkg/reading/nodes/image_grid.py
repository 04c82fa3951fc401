"""Show the images of a group as a grid, a figure of matplotlib."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from math import ceil
from typing import Any

from datapkg.errors import DatapkgError, InvalidInput, NotFound
from datapkg.reading.nodes.base import Node
from datapkg.reading.nodes.files import File
from datapkg.reading.nodes.images import RUN_PROGRAMS, missing_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 2.2
LOOKED_AT = 10_000


def looks_like_image(node: Node) -> bool:
    """Return whether a node is a file with the name of an image."""
    if not isinstance(node, File):
        return False
    from PIL import Image

    Image.init()
    _, dot, suffix = node.file_name.rpartition(".")
    return Image.EXTENSION.get(f".{suffix.lower()}" if dot else "") in {*Image.OPEN} - RUN_PROGRAMS


def plot_images(nodes: list[Node], limit: int, columns: int, title: str) -> Figure | None:
    """Return the first images among these nodes as a grid; None without any. An unreadable one shows its error."""
    if limit < 1 or columns < 1:
        raise InvalidInput(f"limit and columns are 1 and more, got {limit} and {columns}")
    try:
        import matplotlib.pyplot  # noqa: F401 - notebooks show figures from then on
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise missing_library("matplotlib", "matplotlib", error) from error
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_library("pillow", "PIL", error) from error
    images = [node for node in nodes if looks_like_image(node)]
    if not images:
        return None
    shown = images[:limit]
    with suppress(DatapkgError):  # an image that cannot be fetched shows its error
        shown[0].__source__.bring(*(node.__entry__ for node in shown if isinstance(node, File)))
    columns = min(columns, len(shown))
    rows = ceil(len(shown) / columns)
    figure = Figure(figsize=(columns * INCHES, rows * INCHES), layout="constrained")
    for axes, node in zip(figure.subplots(rows, columns, squeeze=False).flat, shown, strict=False):
        _draw(axes, node)
    for axes in figure.axes[len(shown) :]:
        axes.remove()
    more = f" (the first {len(shown)} of {len(images):,})" if len(images) > len(shown) else ""
    # A `$` in a name would begin a formula otherwise.
    figure.suptitle(title + more, parse_math=False)
    return figure


def no_image(below: Iterator[tuple[str, Node]], place: str) -> NotFound:
    """Return the error for a group without images of its own: it names the nearest group with some, or what there is.

    `below` is what the group has at any depth, of which the first `LOOKED_AT` are searched.
    """
    seen = list(islice(below, LOOKED_AT))
    where = next((path.rpartition("/")[0] for path, node in seen if looks_like_image(node)), "")
    if where:
        line = f"group[{where!r}].plot()"
        return NotFound(f"{place} has no image directly in it; those of the nearest group: {line}", hint=line)
    counts = Counter(node.kind for path, node in seen if "/" not in path)
    what = ", ".join(f"{count:,} {kind}{'s' * (count > 1)}" for kind, count in counts.items())
    return NotFound(f"{place} has no image: in it {'is' if sum(counts.values()) == 1 else 'are'} {what or 'no nodes'}")


def _draw(axes: Any, node: Node) -> None:
    assert isinstance(node, File)
    axes.set_axis_off()
    axes.set_title(node.name, fontsize="small", parse_math=False)
    try:
        image = node.image()
        image.thumbnail((512, 512))
        is_gray = image.mode in ("1", "L", "I", "F", "I;16")
        axes.imshow(image if is_gray else image.convert("RGBA"), cmap="gray" if is_gray else None)
    except DatapkgError as error:
        axes.text(0.5, 0.5, error.message, ha="center", va="center", wrap=True, fontsize="x-small", parse_math=False)
