"""Commands that tell what there is: ls, show, log, search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import TEXT, import_line, pinned, ref_argument, registry_option
from datapkg.cli.command import Command, Session, pass_session
from datapkg.cli.texts import aligned, count_text, cut, hash_text, size_text, time_text

if TYPE_CHECKING:
    from datapkg.api.results import Shown
    from datapkg.format.names import Ref

MAX_COLUMNS = 30
MAX_META = 300
MAX_TITLE = 60


@click.command(
    cls=Command,
    examples="""
    datapkg ls
    datapkg ls --json
    """,
)
@pass_session
def ls(session: Session) -> None:
    """List the packages on this machine."""
    from datapkg.api.listing import list_packages

    packages = list_packages(session.home)
    out = session.out
    if out.json:
        out.answer({"packages": [asdict(each) for each in packages]}, [])
    elif not packages:
        out.say("nothing is installed here", "", "  get something  datapkg install USER/NAME")
    else:
        rows = [
            (each.package, hash_text(each.hash), size_text(each.bytes_logical), each.origin, each.title[:MAX_TITLE])
            for each in packages
        ]
        out.table(("package", "state", "size", "from", "title"), rows, right=[2])


@click.command(
    cls=Command,
    examples="""
    datapkg show uciml/iris
    datapkg show uciml/iris@1.2.0
    datapkg show uciml/iris/measurements --json
    """,
)
@ref_argument
@pass_session
def show(session: Session, ref: Ref) -> None:
    """Show what is in a package: tables, columns, files, sizes.

    REF is a package on this machine, or a node in it.
    """
    from datapkg.api.listing import show as look

    shown = look(session.home, ref)
    out = session.out
    out.answer(asdict(shown), _head(shown))
    if out.json:
        return
    rows = list(_tree(shown.nodes))
    if rows:
        out.table(("node", "kind", "rows", "size"), rows, right=[2, 3])
    out.say("", f"  import it  {import_line(shown.package)}")


def _head(shown: Shown) -> list[str]:
    total = size_text(sum(node["size"] or 0 for node in shown.nodes))
    title = [str(shown.meta["title"])] if "title" in shown.meta else []
    meta = [
        (f"  {key}", cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), MAX_META))
        for key, value in shown.meta.items()
        if key != "title"
    ]
    return [pinned(shown.package, shown.hash), *title, f"  {total}", *(aligned(meta) if meta else []), ""]


def _tree(nodes: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """A row a node and a row a column of each table, indented by depth; groups that have no line of their own too."""
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
        yield from ((f"{indent}  .{column[0]}", str(column[1]), "", "") for column in columns[:MAX_COLUMNS])
        if len(columns) > MAX_COLUMNS:
            yield f"{indent}  … {count_text(len(columns) - MAX_COLUMNS, 'more column')}", "", "", ""


def _array_type(node: dict[str, Any]) -> list[str]:
    return [f"{node['dtype']} {'×'.join(map(str, node['shape']))}"] if "shape" in node else []


@click.command(
    cls=Command,
    examples="""
    datapkg log uciml/iris
    datapkg log me/sales --local
    """,
)
@ref_argument
@click.option("--remote/--local", default=None, help="At its registry, or what happened on this machine.")
@registry_option
@pass_session
def log(session: Session, ref: Ref, remote: bool | None, registry: str | None) -> None:
    """List the pushes of a package.

    At its registry, newest first; where there is no registry, or it does not have the package, builds and installs
    on this machine.
    """
    from datapkg.api.history import log as read

    entries = read(session.home, ref, remote=remote, registry=registry)
    out = session.out
    if out.json:
        out.answer({"package": ref.package, "log": entries}, [])
        return
    rows = [
        (
            time_text(each["at"]),
            each["event"],
            hash_text(each["hash"]),
            each["author"],
            ", ".join([*each["versions"], *each["tags"]]),
            each["message"],
        )
        for each in entries
    ]
    out.table(("when (UTC)", "event", "state", "who", "names", "message"), rows)


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

    Lists those that you may see and that hold every word of QUERY; all of them without QUERY.
    """
    from datapkg.api.search import search as find

    found = find(session.home, " ".join(query), registry=registry)
    out = session.out
    if out.json:
        out.answer({"packages": found}, [])
    elif not found:
        out.say("no package holds these words")
    else:
        rows = [
            (
                each["package"],
                "public" if each["public"] else "private",
                size_text(each["bytes_logical"]),
                time_text(each["pushed_at"] or ""),
                (each["title"] or each["description"])[:MAX_TITLE],
            )
            for each in found
        ]
        out.table(("package", "access", "size", "pushed (UTC)", "title"), rows, right=[2])
        out.say("", f"  install one  datapkg install {found[0]['package']}")
