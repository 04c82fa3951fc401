"""Show how the stages and nodes of a build file depend on each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from datapkg.building.spec.folder_files import BUILD_FILE
from datapkg.building.spec.model import BuildSpec
from datapkg.building.spec.parser import read_build_file
from datapkg.building.spec.stages import OfStage, is_within
from datapkg.errors import InvalidInput
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted, visible
from datapkg.objects.files import no_such_path

_COLUMN, _ROW, _WIDTH, _HEIGHT, _MARGIN = 240, 56, 200, 36, 16
_CHARACTERS = 26


@dataclass(frozen=True)
class Graph:
    """The items of a build file and the arrows between them: a stage has its name, any other input its source.

    `kinds` maps each item to "stage", "node" or "input"; `arrows` lead from what is needed to what needs it.
    """

    kinds: dict[str, str]
    arrows: list[tuple[str, str]]


def graph(source: Path, form: str = "text") -> str:
    """Return the graph of a build file, or of that in a folder, as text, Mermaid or SVG.

    Raise `NotFound`, `InvalidInput` for another form, `InvalidBuildFile` for mistakes in the build file.
    """
    if form not in FORMS:
        raise InvalidInput(f"there is no form {quoted(form)}{choices(form, FORMS)}")
    path = source / BUILD_FILE if source.is_dir() else source
    if not path.exists():
        raise no_such_path(path, "file")
    return FORMS[form](graph_of(read_build_file(path)))


def graph_of(spec: BuildSpec) -> Graph:
    """Return the graph of a build file; nodes that no stage needs or makes are left out."""
    kinds: dict[str, str] = {}
    arrows: list[tuple[str, str]] = []
    for stage in spec.stages:
        name = _drawn(stage.name)
        kinds[name] = "stage"
        for each in stage.inputs.values():
            if each.kind == "stage":
                arrows.append((_drawn(each.text.partition("/")[0]), name))
            elif each.kind == "node":
                nodes = [node.path for node in spec.nodes if is_within(node.path, each.text)]
                arrows += [(f"contents.{path}", name) for path in nodes]
                kinds |= {f"contents.{path}": "node" for path in nodes}
            else:
                kinds[each.text] = "input"
                arrows.append((each.text, name))
    for node in spec.nodes:
        if isinstance(node.source, OfStage):
            kinds[f"contents.{node.path}"] = "node"
            arrows.append((_drawn(node.source.stage), f"contents.{node.path}"))
    return Graph(kinds, list(dict.fromkeys(arrows)))


def _drawn(stage: str) -> str:
    """Return the name under which a stage is drawn; those of one matrix are drawn as one."""
    return stage.partition("@")[0]


def _as_text(graph: Graph) -> str:
    """Return a line for each stage, in an order in which they can run: what it needs, and what needs it."""
    lines = []
    before, after = _neighbours(graph)
    for name in (each for each, kind in graph.kinds.items() if kind == "stage"):
        needs, gives = ", ".join(before[name]), ", ".join(after[name])
        lines.append(" ".join(filter(None, (needs and f"{needs} →", name, gives and f"→ {gives}"))))
    return "\n".join(lines)


def _as_mermaid(graph: Graph) -> str:
    ids = {name: f"n{number}" for number, name in enumerate(graph.kinds)}
    shapes = {"stage": ("[", "]"), "node": ("(", ")"), "input": ("[/", "/]")}
    lines = ["flowchart LR"]
    for name, kind in graph.kinds.items():
        start, end = shapes[kind]
        lines.append(f'    {ids[name]}{start}"{_entities(name)}"{end}')
    lines += [f"    {ids[start]} --> {ids[end]}" for start, end in graph.arrows]
    return "\n".join(lines)


def _entities(text: str) -> str:
    """Return text with entities in Mermaid's form for all that could have a meaning there."""
    return "".join(each if each.isalnum() or each in " ./_-@:" else f"#{ord(each)};" for each in visible(text, 200))


def _as_svg(graph: Graph) -> str:
    """Return a drawing in columns: each item stands to the right of all that it needs."""
    places: dict[str, tuple[int, int]] = {}
    rows: dict[int, int] = {}
    for name, column in _columns(graph).items():
        places[name] = column, rows.get(column, 0)
        rows[column] = rows.get(column, 0) + 1
    width = (max(rows, default=0) + 1) * _COLUMN + _MARGIN
    height = max(rows.values(), default=0) * _ROW + _MARGIN  # a gap below the last row too
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
    ]
    for start, end in graph.arrows:
        (x1, y1), (x2, y2) = (_corner(*places[each]) for each in (start, end))
        x1, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
        is_near = places[end][0] - places[start][0] == 1
        curve = _bend(x1, y1, x2, y2) if is_near else _detour(x1, y1, x2, y2)
        parts.append(f'<path d="{curve}" fill="none" stroke="#667" marker-end="url(#end)"/>')
    for name, place in places.items():
        parts += _box(name, graph.kinds[name], *_corner(*place))
    return "\n".join([*parts, "</svg>"])


def _bend(x1: int, y1: int, x2: int, y2: int) -> str:
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"


def _detour(x1: int, y1: int, x2: int, y2: int) -> str:
    """Return an arrow that passes the boxes of the columns between its ends, in the gap below their row."""
    gap, turn = y1 + _ROW // 2, _COLUMN - _WIDTH
    first, last = _bend(x1, y1, x1 + turn, gap), _bend(x2 - turn, gap, x2, y2)
    return f"{first}L{last.removeprefix('M')}"


def _box(name: str, kind: str, x: int, y: int) -> Iterator[str]:
    fill, radius = {"stage": ("#dbe7ff", 3), "node": ("#e4f4e4", 18), "input": ("#f4eedd", 18)}[kind]
    shown = visible(name, 200)
    start = _CHARACTERS // 3  # of a path, the end tells more than the start
    text = shown if len(shown) <= _CHARACTERS else f"{shown[:start]}…{shown[start + 1 - _CHARACTERS :]}"
    yield f"<g><title>{escape(shown)}</title>"
    yield f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="{radius}" fill="{fill}" stroke="#667"/>'
    yield f'<text x="{x + _WIDTH // 2}" y="{y + 23}" text-anchor="middle" fill="#222">{escape(text)}</text></g>'


def _corner(column: int, row: int) -> tuple[int, int]:
    return _MARGIN + column * _COLUMN, _MARGIN + row * _ROW


def _neighbours(graph: Graph) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what each item needs, and what needs it."""
    before: dict[str, list[str]] = {name: [] for name in graph.kinds}
    after: dict[str, list[str]] = {name: [] for name in graph.kinds}
    for start, end in graph.arrows:
        before[end].append(start)
        after[start].append(end)
    return before, after


def _columns(graph: Graph) -> dict[str, int]:
    """Return the column of each item, from 0: one more than the last of what it needs."""
    from graphlib import TopologicalSorter

    needs, _ = _neighbours(graph)
    columns: dict[str, int] = {}
    for name in TopologicalSorter(needs).static_order():
        columns[name] = max((columns[each] + 1 for each in needs[name]), default=0)
    return columns


FORMS = {"text": _as_text, "mermaid": _as_mermaid, "svg": _as_svg}
