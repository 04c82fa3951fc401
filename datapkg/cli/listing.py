"""Commands that list and show packages: ls, show, search."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import (
    TEXT,
    import_line,
    pinned,
    ref_argument,
    registry_option,
    registry_words,
    remote_option,
    report_pin,
    report_state,
)
from datapkg.cli.command import Command, Session, pass_session
from datapkg.cli.terminal import columns, wrapped_line
from datapkg.format.metadata import COLUMNS_KEY, ColumnNote, column_notes, licence_of
from datapkg.format.texts import (
    count_text,
    cut,
    dtype_text,
    hash_text,
    shortened,
    size_text,
    time_text,
    unverified_text,
    visible,
)

if TYPE_CHECKING:
    from datapkg.api.results import PackageDetails, PackageListing
    from datapkg.format.names import Ref

MAX_NODES = 1_000
MAX_COLUMNS = 30
MAX_STATES = 5
MAX_LISTED_COLUMNS = 1_000
MAX_META = 300
MAX_UNIT = 30
README_LINES = 10
MAX_README_LINE = 100
README_MARGIN = 4
MAX_TITLE = 60
PINNED = "pinned by wheel"


@click.command(
    cls=Command,
    examples="""
    datapkg ls
    datapkg ls --json
    datapkg ls --remote
    """,
)
@remote_option
@registry_option
@pass_session
def ls(session: Session, remote: bool, registry: str | None) -> None:
    """List packages on this machine or at a registry.

    Packages on this machine are listed with their versions and tags, as last seen at the registry, and with other
    states that are kept. Those that wheels pin in this Python environment are listed too.
    """
    from datapkg.api.listing import list_packages

    if remote or registry:
        _print_found(session, "", registry, "there is no package that you may see")
        return
    packages = list_packages(session.home)
    out = session.out
    if out.json:
        out.answer({"packages": [asdict(each) for each in packages]}, [])
    elif not packages:
        out.say("nothing is installed here", "", "  get something  datapkg install USER/NAME")
    else:
        rows = [row for each in packages for row in _listed_rows(each)]
        out.table(("package", "state", "names", "size", "from", "title"), rows, right=[3])


@click.command(
    cls=Command,
    examples="""
    datapkg show uciml/iris
    datapkg show uciml/iris/measurements --json
    datapkg show uciml/iris --remote
    """,
)
@ref_argument
@remote_option
@registry_option
@pass_session
def show(session: Session, ref: Ref, remote: bool, registry: str | None) -> None:
    """Show the contents of a package: tables, columns, files, sizes.

    REF is a package or a node in it. Of a package that is not installed, only the manifest is downloaded. A table is
    shown with its columns and their descriptions.
    """
    from datapkg.api.listing import show as look

    if not remote:
        report_pin(session, ref)
    out = session.out
    shown = look(session.home, ref, remote=remote, registry=registry, most=None if out.json else MAX_NODES)
    report_state(session, ref, shown.registry, remote)
    table = _only_table(shown, ref)
    out.answer(asdict(shown) if out.json else {}, _head(shown, ref, table))
    if out.json:
        return
    out.facts(_facts(shown, ref, table))
    out.answer({}, [""])
    if table:
        out.table(*_dictionary(table))
    elif rows := list(_tree(shown.nodes)):
        out.table(("node", "kind", "rows", "size"), rows, right=[2, 3])
        if more := shown.node_count - len(shown.nodes):
            out.answer({}, [f"… and {count_text(more, 'more node')}; --json has all"])
    if shown.checks:
        out.answer({}, _checks(shown))
    if not out.quiet:
        out.say(*_readme(session, ref, shown))
    if shown.unchecked:
        out.say("", f"  {unverified_text(shown.unchecked)}; check it  datapkg verify --content {ref}")
    if shown.bytes_absent:
        missing = f"{size_text(shown.bytes_absent)} of it are not on this machine"
        out.say("", f"  {missing}; get them  datapkg fetch {ref}")
    out.say("", *_next_lines(ref, shown, registry))


def _next_lines(ref: Ref, shown: PackageDetails, registry: str | None) -> list[str]:
    """Return the command or import that gives this state, from the registry that the user named."""
    if shown.is_imported:
        return [f"  import it  {import_line(shown.package)}"]
    name = f"{shown.package}@sha256:{shown.hash}"
    if shown.registry:
        full_name = f"{ref.package}@{ref.state}" if ref.state else ref.package
        install = f"datapkg install {quote(full_name)}{registry_words(registry)}"
        named = f', registry="{registry}"' if registry else ""
        return [f"  install it  {install}", f'  read it     datapkg.open("{name}"{named})']
    return [f'  load it  datapkg.load("{name}")   (an import of {shown.package} gives another state)']


def _listed_rows(listed: PackageListing) -> Iterator[tuple[str, ...]]:
    """Yield a row for the current state, then one for each other state that is kept."""
    names = {each["hash"]: names_text(each) for each in listed.states}
    title = shortened(listed.title, MAX_TITLE)
    pin = listed.wheel["hash"] if listed.wheel else ""
    origin = f"{listed.origin}, {PINNED}" if pin == listed.hash else listed.origin
    yield listed.package, hash_text(listed.hash), names.get(listed.hash, ""), _size(listed), origin, title
    if pin and pin != listed.hash:
        yield "", hash_text(pin), names.pop(pin, ""), "", PINNED, ""
    others = [hash for hash in names if hash != listed.hash]
    for hash in others[:MAX_STATES]:
        yield "", hash_text(hash), names[hash], "", "", ""
    if len(others) > MAX_STATES:
        yield "", f"… {len(others) - MAX_STATES:,} more", "", "", "", f"datapkg log {listed.package} --local"


def names_text(entry: dict[str, Any]) -> str:
    """Return the versions and tags of a state."""
    versions = (each["name"] + (" (yanked)" if each.get("yanked") is not None else "") for each in entry["versions"])
    return ", ".join([*versions, *(each["name"] for each in entry["tags"])])


def _size(listed: PackageListing) -> str:
    if not listed.bytes_logical and listed.partial:
        return "not here"
    return f"{size_text(listed.bytes_logical)}{', partly here' if listed.partial else ''}"


def _checks(shown: PackageDetails) -> list[str]:
    """Return lines with the check results of the build, and each check that failed or warned."""
    counts = Counter(each["outcome"] for each in shown.checks)
    outcomes = [each for each in ("ok", "warned", "failed", "skipped") if counts[each]]
    counted = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in outcomes)
    odd = [each for each in shown.checks if each["outcome"] != "ok"]
    lines = [f"  {each['outcome']}  {each['path']}  {each['check']}{_wrong(each)}" for each in odd[:MAX_COLUMNS]]
    more = [f"  … {len(odd) - MAX_COLUMNS:,} more"] if len(odd) > MAX_COLUMNS else []
    return ["", f"checks: {counted}", *lines, *more]


def _wrong(check: dict[str, Any]) -> str:
    if check.get("why"):
        return f"  {check['why']}"
    return f"  {check['wrong']:,} of {count_text(check['rows'], 'row')}" if check.get("wrong") else ""


def _only_table(shown: PackageDetails, ref: Ref) -> dict[str, Any] | None:
    """Return the table that the ref names, if it names one."""
    first = shown.nodes[0] if shown.nodes else {}
    return first if ref.path and first.get("path") == ref.path and first["kind"] == "table" else None


def _head(shown: PackageDetails, ref: Ref, table: dict[str, Any] | None) -> list[str]:
    meta = _meta(shown, ref)
    total = size_text(shown.node_bytes)
    if shown.node_count > len(shown.nodes):
        total = f"{shown.node_count:,} nodes, {total}"
    if table:
        total = f"{count_text(table['rows'], 'row')} × {count_text(len(table['columns']), 'column')}, {total}"
    title = [str(meta["title"])] if "title" in meta else []
    name = str(replace(ref, registry=None, state=None))
    return [pinned(name, shown.hash), *title, f"  {total}"]


def _facts(shown: PackageDetails, ref: Ref, table: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return the metadata as pairs of texts, without the title and the descriptions of columns."""
    meta = _meta(shown, ref)
    facts = [
        (f"  {key}", cut(_fact(value), MAX_META))
        for key, value in meta.items()
        if key != "title" and not (table and key == COLUMNS_KEY)
    ]
    if shown.licence_file and not (ref.path or licence_of(meta)):
        facts.append(("  licence", f"see {shown.licence_file}"))
    return facts


def _fact(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _meta(shown: PackageDetails, ref: Ref) -> dict[str, Any]:
    """Return the metadata of what the ref names; a node inherits the licence of its package."""
    if not ref.path:
        return shown.meta
    first = shown.nodes[0]
    own: dict[str, Any] = first.get("meta", {}) if first["path"] == ref.path else {}
    licence = licence_of(shown.meta)
    return own if licence_of(own) or not licence else {**own, "licence": licence}


def _dictionary(table: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the columns of a table with their types, and their descriptions if any has one."""
    columns = table["columns"]
    notes = column_notes(table.get("meta", {}))
    listed_notes = [notes.get(name, ColumnNote()) for name, _ in columns[:MAX_LISTED_COLUMNS]]
    parts = [part for part in ColumnNote._fields if any(getattr(note, part) for note in listed_notes)]
    rows = [
        [name, str(kind), *(cut(getattr(note, part), MAX_META) for part in parts)]
        for (name, kind), note in zip(columns, listed_notes, strict=False)
    ]
    if len(columns) > len(rows):
        more = f"… {count_text(len(columns) - len(rows), 'more column')}"
        rows.append([more, *[""] * (1 + len(parts))])
    return ["column", "type", *parts], rows


def _readme(session: Session, ref: Ref, shown: PackageDetails) -> list[str]:
    """Return the beginning of the README, marked as foreign text, and the command that prints the rest."""
    from datapkg.api.listing import readme_lines

    if not shown.readme:
        return []
    # One line more than is shown tells whether there is more.
    lines = readme_lines(session.home, ref, shown, README_LINES + 1)
    more = f"  … all of it  datapkg cat {quote(str(replace(ref, path=shown.readme)))}"
    wrapped = [part for line in lines for part in wrapped_line(visible(line.expandtabs(4)), _readme_width())]
    quoted_lines = [f"  │ {line}".rstrip() for line in wrapped[:README_LINES]]
    return ["", f"  {shown.readme}", *quoted_lines, *([more] if len(wrapped) > README_LINES else [])] if lines else []


def _readme_width() -> int:
    """Return the width of a README line: what fits into the terminal, but not so long that it is hard to read."""
    return max(min(columns(), MAX_README_LINE) - README_MARGIN, 1)


def _tree(nodes: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Return one row per node and per column of each table, indented by depth, with rows for implicit groups."""
    above: list[str] = []
    for node in nodes:
        *groups, name = node["path"].split("/")
        same = next((i for i, pair in enumerate(zip(above, groups, strict=False)) if pair[0] != pair[1]), None)
        start = min(len(above), len(groups)) if same is None else same
        for depth in range(start, len(groups)):
            yield f"{'  ' * depth}{groups[depth]}/", "", "", ""
        indent = "  " * len(groups)
        if node["kind"] == "group":
            yield f"{indent}{name}/", "group", "", ""
            above = [*groups, name]
            continue
        above = groups
        rows = "" if node["rows"] is None else f"{node['rows']:,}"
        kind = " ".join([node["kind"], *_array_type(node)])
        yield f"{indent}{name}", kind, rows, size_text(node["size"])
        columns = node["columns"] or []
        notes = column_notes(node.get("meta", {}))
        for column, type_ in columns[:MAX_COLUMNS]:
            unit = cut(notes[column].unit, MAX_UNIT) if column in notes else ""
            yield f"{indent}  .{column}", ", ".join(filter(None, (str(type_), unit))), "", ""
        if len(columns) > MAX_COLUMNS:
            yield f"{indent}  … {count_text(len(columns) - MAX_COLUMNS, 'more column')}", "", "", ""


def _array_type(node: dict[str, Any]) -> list[str]:
    return [f"{dtype_text(node['dtype'])} {'×'.join(map(str, node['shape']))}"] if "shape" in node else []


@click.command(
    cls=Command,
    examples="""
    datapkg search iris
    datapkg search "air quality" --registry work
    """,
)
@click.argument("query", type=TEXT, nargs=-1)
@registry_option
@pass_session
def search(session: Session, query: tuple[str, ...], registry: str | None) -> None:
    """Find packages at a registry.

    Lists the packages that you can read and that contain every word of QUERY, and where each word was found. Without
    QUERY, lists all packages that you can read.
    """
    _print_found(session, " ".join(query), registry, "no package holds these words")


def _print_found(session: Session, query: str, registry: str | None, nothing: str) -> None:
    """Print the packages of a registry that contain every word of a query."""
    from datapkg.api.search import search as find

    found = find(session.home, query, registry=registry)
    out = session.out
    if out.json:
        out.answer({"packages": found}, [])
    elif not found:
        out.say(nothing)
    else:
        rows = [
            (
                each["package"],
                "public" if each["public"] else "private",
                size_text(each["bytes_logical"]),
                time_text(each["pushed_at"] or ""),
                shortened(each["title"] or each["description"], MAX_TITLE),
                *([", ".join(dict.fromkeys(map(_place, each["matches"])))] if query else []),
            )
            for each in found
        ]
        header = ("package", "access", "size", "pushed (UTC)", "title", *(["found in"] if query else []))
        out.table(header, rows, right=[2])
        out.say("", f"  install one  datapkg install {found[0]['package']}{registry_words(registry)}")


def _place(match: dict[str, str]) -> str:
    """Return where a word was found; names and titles are in the table already."""
    where, text = match["where"], match["text"]
    if where == "column":
        return f"column {text} of {match['path']}"
    if where == "node":
        return f"node {match['path']}"
    return where if where in ("name", "title") else f"{'README' if where == 'readme' else where}: {text}"
