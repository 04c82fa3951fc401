"""The command log: the history of a package."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import TEXT, ref_argument, registry_option
from datapkg.cli.changes import change_lines
from datapkg.cli.command import Command, Session, pass_session
from datapkg.cli.listing import names_text
from datapkg.errors import InvalidInput
from datapkg.format.option_types import NumberType
from datapkg.format.texts import hash_text, size_text, time_text

if TYPE_CHECKING:
    from datapkg.cli.log_graph import GraphRow
    from datapkg.cli.output import Output
    from datapkg.format.names import Ref

LOG_LINES = 100


@click.command(
    cls=Command,
    examples="""
    datapkg log uciml/iris
    datapkg log me/sales --local
    datapkg log me/sales@1.2.0 --changes
    datapkg log me/sales -n 5
    datapkg log me/sales --graph
    """,
)
@ref_argument
@click.option("--remote/--local", default=None, help="Only events at the registry, or only those on this machine.")
@click.option("--changes", is_flag=True, help="Show what each state changed for users.")
@click.option("--graph", is_flag=True, help="Draw which states each state was made from.")
@click.option(
    "-n",
    "--limit",
    type=NumberType(1, example=20),
    default=LOG_LINES,
    show_default=True,
    help="List at most so many events.",
)
@click.option("--cursor", type=TEXT, default="", metavar="TEXT", help="Continue after the events that were listed.")
@click.option("--all", "is_all", is_flag=True, help="List all events.")
@registry_option
@pass_session
def log(session: Session, ref: Ref, *, limit: int, is_all: bool, graph: bool, **options: Any) -> None:
    """List the pushes and local builds of a package.

    Lists pushes at the registry, and builds and installs on this machine, newest first. If REF has a state, lists
    only the events of that state. If there are more events than are listed, the last line has the command that lists
    the next ones.

    With --graph, lists states, each below those that were made from it: local builds, merges, and pushes that replaced
    another state (push --force) or go on from one (push --onto).
    """
    from datapkg.api.log import log_page

    if graph and options["changes"]:
        raise InvalidInput("--graph and --changes cannot be combined", hint=f"datapkg log {ref} --graph")

    entries, following = log_page(session.home, ref, limit=None if is_all else limit, **options)
    out = session.out
    if out.json:
        out.answer({"package": ref.package, "log": entries, "next": following}, [])
        return
    if graph:
        _print_graph(out, entries)
    else:
        _print_log(out, entries, options["changes"])
    if following:
        out.say("", f"  older ones  {_next_page(ref, limit, following, options)}{' --graph' if graph else ''}")


def _next_page(ref: Ref, limit: int, following: str, options: dict[str, Any]) -> str:
    """Return the command that lists the events after these."""
    words = ["datapkg", "log", str(ref), "--cursor", following]
    words += [{True: "--remote", False: "--local"}[options["remote"]]] if options["remote"] is not None else []
    words += ["--changes"] if options["changes"] else []
    words += ["--registry", options["registry"]] if options["registry"] else []
    words += ["-n", str(limit)] if limit != LOG_LINES else []
    return shlex.join(words)


def _print_log(out: Output, entries: list[dict[str, Any]], changes: bool) -> None:
    header = ("when (UTC)", "event", "state", "size", "who", "names", "message")
    if not changes:
        out.table(header, [_log_row(each) for each in entries])
        return
    for each in entries:
        lines = ["  not known: a state is neither here nor at the registry"]
        lines = lines if each["changes"] is None else change_lines(each["changes"])
        out.answer({}, ["  ".join(filter(None, _log_row(each))), *lines])


def _print_graph(out: Output, entries: list[dict[str, Any]]) -> None:
    from datapkg.cli.log_graph import graph_lines, state_rows

    rows = state_rows(entries)
    lines = list(graph_lines([(row.hash, row.parents) for row in rows]))
    width = max((len(text) for text, number in lines if number is not None), default=0)
    out.answer(
        {}, [text if number is None else f"{text:{width}}  {_state_text(rows[number])}" for text, number in lines]
    )


def _state_text(row: GraphRow) -> str:
    """Return what the graph has beside a state: that of its oldest push, else of its oldest entry."""
    pushes = [each for each in row.entries if each["event"] == "push"]
    shown = (pushes or row.entries)[-1]
    events = ", ".join(dict.fromkeys(each["event"] for each in reversed(row.entries)))
    when, _, state, size, who, names, message = _log_row(shown)
    return "  ".join(filter(None, [state, when, events, who, names, size, message]))


def _log_row(entry: dict[str, Any]) -> tuple[str, ...]:
    who = entry["author"] or "this machine"
    state, names = hash_text(entry["hash"]), names_text(entry)
    ref, _, hash = entry["copied_from"].partition("@sha256:")
    copied = f"copy of {ref}@{hash_text(hash)}" if ref else ""
    message = "; ".join(filter(None, [copied, entry["message"]]))
    size = "" if entry["bytes_logical"] is None else size_text(entry["bytes_logical"])
    return time_text(entry["created_at"]), entry["event"], state, size, who, names, message
