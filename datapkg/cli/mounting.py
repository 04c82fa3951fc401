"""Commands that show a package as a folder of files: mount, unmount."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import PATH, pinned, ref_argument, registry_option
from datapkg.cli.command import Command, Session, pass_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from datapkg.api.results import MountResult
    from datapkg.errors import DatapkgError
    from datapkg.format.names import Ref


@click.command(
    cls=Command,
    examples="""
    datapkg mount uciml/iris ./iris
    datapkg mount uciml/iris/raw@1.0.0 ./raw --lazy --background
    datapkg unmount ./raw
    """,
)
@ref_argument
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("-b", "--background", is_flag=True, help="Return when the folder is ready; keep serving it.")
@click.option(
    "--lazy", is_flag=True, default=None, help="Download missing files from the registry when they are opened."
)
@registry_option
@click.option("--allow-other", is_flag=True, help="Allow other users of this machine to read.")
@pass_session
def mount(session: Session, ref: Ref, folder: Path, background: bool, **options: Any) -> None:
    """Show a package as a folder of read-only files.

    REF is a package or a group in it; later updates of the package are not shown. DIR must be empty, or is created.
    Ctrl-C or datapkg unmount DIR unmounts it.
    """
    if background:
        _mount_in_background(session, ref, folder, options)
        return
    from datapkg.api.mount import mount as show

    def ready(mounted: MountResult) -> None:
        _announce(session, mounted.package, mounted.hash, mounted.folder, f"Ctrl-C, or {_unmount_line(folder)}")
        session.out.flush()

    if not show(session.home, ref, folder, ready=ready, tell=_once(session), **options):
        session.out.note(f"files below {folder} were still open; programs that read them get an error")
        session.out.flush()
        os._exit(0)  # a thread may wait for a registry for long


@click.command(
    cls=Command,
    examples="""
    datapkg unmount ./iris
    """,
)
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--force", is_flag=True, help="Unmount even if programs have its files open.")
@pass_session
def unmount(session: Session, folder: Path, force: bool) -> None:
    """Unmount a folder that datapkg mount shows."""
    from datapkg.api.mount import unmount as take_away

    done = take_away(folder, force)
    session.out.answer({"unmounted": str(done)}, [f"unmounted {folder}"], quiet=[])


def _announce(session: Session, package: str, hash: str, folder: Path, how: str) -> None:
    value = {"mounted": str(folder), "package": package, "hash": hash}
    session.out.answer(value, [f"mounted {pinned(package, hash)} on {folder}; to unmount: {how}"], quiet=[])


def _unmount_line(folder: Path) -> str:
    from shlex import quote

    return f"datapkg unmount {quote(str(folder))}"


def _once(session: Session) -> Callable[[str, DatapkgError], None]:
    """Report each path that cannot be read, once as long as the reason stays the same."""
    reported: dict[str, str] = {}

    def report(path: str, error: DatapkgError) -> None:
        if reported.get(path) != error.message:
            reported[path] = error.message
            session.out.note(f"{path} could not be read: {error.message}")

    return report


def _mount_in_background(session: Session, ref: Ref, folder: Path, options: dict[str, Any]) -> None:
    """Start another process that mounts, and wait for its first line, or its error."""
    import json
    import subprocess
    import tempfile

    from datapkg.errors import from_wire

    switches = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is True]
    registry = ["--registry", options["registry"]] if options["registry"] else []
    words = ["mount", "--json", *switches, *registry, "--", str(ref), str(folder)]
    with tempfile.TemporaryFile() as stderr:  # nobody reads what comes later, and no pipe breaks
        process = subprocess.Popen(
            [sys.executable, "-m", "datapkg", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=session.home.settings.environ,
            start_new_session=True,  # Ctrl-C in this terminal, or its end, does not unmount
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
        except BaseException:  # Ctrl-C too: nothing is left that mounts later
            process.terminate()
            process.wait()
            raise
        process.stdout.close()
        if not line:
            process.wait()
            stderr.seek(0)
            text = stderr.read().decode(errors="replace")
            raise from_wire(_last_error(text))
    mounted = json.loads(line)
    os.listdir(mounted["mounted"])  # waits for the first answer
    _announce(session, mounted["package"], mounted["hash"], Path(mounted["mounted"]), _unmount_line(folder))


def _last_error(text: str) -> object:
    """Return the error that a process wrote as JSON, after any other output."""
    import json

    line = text.strip().rpartition("\n")[2]
    try:
        return json.loads(line)["error"]
    except (ValueError, KeyError, TypeError):
        return {"code": "error", "message": f"the process that was to mount ended: {line or 'without a word'}"}
