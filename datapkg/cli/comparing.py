"""The command that compares working files with the last build from them: status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from datapkg.cli.arguments import PATH, REF
from datapkg.cli.changes import MAX_LISTED
from datapkg.cli.command import Command, Session, pass_session
from datapkg.format.names import Ref

if TYPE_CHECKING:
    from datapkg.api.status import PackageStatus


@click.command(
    cls=Command,
    examples="""
    datapkg status
    datapkg status me/sales
    datapkg status me/sales ./sales
    datapkg status me/sales --upstream
    """,
)
@click.argument("ref", type=REF, required=False)
@click.argument("path", type=PATH, required=False)
@click.option(
    "--upstream", is_flag=True, help="Ask servers, repositories and registries whether sources there changed."
)
@pass_session
def status(session: Session, ref: Ref | None, path: Path | None, upstream: bool) -> None:
    """Compare working files with the last build from them.

    Without REF, compares all packages that were built from this folder or below; PATH is by default where the package
    was built from. A file is read only if its size or times have changed. To see what a push would change for users,
    run datapkg push --dry-run.

    With --upstream, sources at URLs, in buckets and repositories, and other packages are checked too: by ETag or
    Last-Modified, else by their hash. Nothing is built.
    """
    from datapkg.api.status import statuses

    found = statuses(session.home, ref, path, upstream=upstream)
    value = [
        {
            "package": each.package,
            "hash": each.hash,
            "source": each.source,
            "is_pushed": each.is_pushed,
            **asdict(each.changes),
            "upstream": None if each.upstream is None else [asdict(source) for source in each.upstream],
        }
        for each in found
    ]
    lines = [line for each in found for line in _status_lines(each)]
    session.out.answer({"packages": value}, lines, quiet=[each.package for each in found if _has_changed(each)])


def _has_changed(status: PackageStatus) -> bool:
    return bool(status.changes) or any(each.state == "changed" for each in status.upstream or ())


def _upstream_lines(status: PackageStatus) -> Iterator[str]:
    for each in status.upstream or ():
        where = f"{each.path}: {each.source}" if each.path else each.source
        yield f"  {'cannot tell' if each.state == 'unknown' else each.state:11}  {where} ({each.why})"
    if status.upstream == []:
        yield "  no sources elsewhere"
    changed = [each for each in status.upstream or () if each.state == "changed"]
    is_url = any(each.kind == "url" for each in changed)
    refs = [Ref.parse(each.source) for each in changed if each.kind == "package"]
    build = f"datapkg build {status.package} {quote(status.source)}{' --update' if is_url else ''}"
    if refs:  # a build takes the states that are installed
        packages = dict.fromkeys(quote(str(Ref(each.user, each.name, "", each.state, each.registry))) for each in refs)
        yield f"  take what changed  datapkg install {' '.join(packages)}"
        yield f"  then build it      {build}"
    elif is_url:
        yield f"  take what changed  {build}"


def _status_lines(status: PackageStatus) -> Iterator[str]:
    changes = status.changes
    yield f"{status.package}  built from {status.source}"
    renamed = [f"{old} → {new}" for old, new in changes.renamed]
    asked = {each.path for each in status.upstream or ()}
    unseen = [f"{path}: only a build can tell" for path in changes.unseen if path not in asked]
    kinds = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    for kind, paths in {**kinds, "renamed": renamed, "unseen": unseen}.items():
        yield from (f"  {kind:7}  {path}" for path in paths[:MAX_LISTED])
        if len(paths) > MAX_LISTED:
            yield f"  {kind:7}  … {len(paths) - MAX_LISTED:,} more; --json has all"
    nothing = "  nothing changed" if status.upstream is None else "  nothing changed here"
    yield f"  build it  datapkg build {status.package} {quote(status.source)}" if changes else nothing
    yield from _upstream_lines(status)
    if not status.is_pushed:
        yield f"  not pushed yet; review what would change for consumers  datapkg push {status.package} --dry-run"
