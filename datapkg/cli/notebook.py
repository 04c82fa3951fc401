"""The command line in a notebook: `%load_ext datapkg`, then `%datapkg install uciml/iris`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from datapkg.cli.command import Session
from datapkg.cli.main import main, program
from datapkg.cli.output import Output, text_for_people
from datapkg.errors import DatapkgError
from datapkg.resolve import find_installed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from datapkg.objects.progress import Progress

MAGIC = "datapkg"
DATA = "datapkg.data."


class CommandFailed(Exception):
    """A command of a notebook that failed with an exit code other than 0.

    It is raised so that the rest of the cell does not run; the notebook shows its message without a traceback.
    """

    def __init__(self, words: str, exit_code: int) -> None:
        super().__init__(words)
        self.exit_code = exit_code

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


def load_ipython_extension(shell: Any) -> None:
    """Register the magic command; called by `%load_ext datapkg`, and harmless when called again."""
    shell.register_magic_function(run, "line", MAGIC)
    shell.set_hook("complete_command", complete, str_key=f"%{MAGIC}")
    _complete_through_groups()


def _complete_through_groups() -> None:
    """Let IPython evaluate nested nodes while it completes `package.group["`; this runs no code of a package."""
    from IPython.core import guarded_eval

    from datapkg.reading.importer import PackageModule
    from datapkg.reading.nodes.groups import Group, Package

    # Not a public interface of IPython: where it differs, names are completed without nested nodes.
    policy: Any = getattr(guarded_eval, "EVALUATION_POLICIES", {}).get("limited")
    for allowed in (getattr(policy, "allowed_getattr", None), getattr(policy, "allowed_getitem", None)):
        if isinstance(allowed, set):
            allowed.update({PackageModule, Group, Package})


def unload_ipython_extension(shell: Any) -> None:
    """Remove the magic command; called by `%unload_ext datapkg`."""
    shell.magics_manager.magics["line"].pop(MAGIC, None)
    shell.strdispatchers["complete_command"].strs.pop(f"%{MAGIC}", None)


def run(line: str) -> None:
    """Run one command line of datapkg, split as by a shell; without arguments, print an overview.

    %datapkg install uciml/iris
    """
    session = NotebookSession()
    try:
        args = shlex.split(line)
    except ValueError as error:
        raise CommandFailed(f"error: {error}: {line.strip():.200}", 2) from None
    code = main(args, session)
    session.out.flush()
    if code:
        raise CommandFailed(session.out.failures.rstrip("\n") or f"error: exit code {code}", code)
    for note in stale():
        session.out.note(note)


def complete(shell: Any, event: Any) -> list[str]:
    """Return completions of the word before the cursor, after `%datapkg`."""
    from click.shell_completion import ShellComplete

    words = event.line[: event.line.rfind(event.symbol)] if event.symbol else event.line
    try:
        args = shlex.split(words)[1:]
        found = ShellComplete(program, {}, MAGIC, "").get_completions(args, event.symbol)
    except (ValueError, OSError, DatapkgError):
        return []
    return [each.value for each in found if each.type == "plain"]


def stale() -> list[str]:
    """Yield a note for each imported package of which an import would now give another state."""
    from datapkg.home import Home
    from datapkg.reading.importer import PackageModule

    loaded = [each for name, each in sys.modules.items() if name.startswith(DATA) and isinstance(each, PackageModule)]
    notes = []
    for module in loaded:
        ref = module.__source__.ref
        try:
            is_stale = find_installed(Home(), type(ref)(ref.user, ref.name)).hash != module.__source__.hash
        except (DatapkgError, OSError):
            continue
        if is_stale:
            notes.append(f"{ref.package} was imported in another state; to have this one: importlib.reload({ref.name})")
    return notes


class NotebookOutput(Output):
    """An output that prints into the cell and collects failures, which end the cell."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = ""

    def raw(self, data: bytes | memoryview) -> None:
        """Print bytes as text, since a cell shows nothing else."""
        if hasattr(sys.stdout, "buffer"):
            super().raw(data)
        else:
            self._write(sys.stdout, text_for_people(bytes(data)))

    def error(self, error: DatapkgError, traceback: str = "") -> None:
        self.failures += self.error_text(error, traceback)


class NotebookSession(Session):
    """A session with the output, prompts and progress of a notebook."""

    out: NotebookOutput

    def __init__(self) -> None:
        self.out = NotebookOutput()

    def progress(self) -> AbstractContextManager[Progress]:
        from datapkg.api.notebook_progress import Bar, is_notebook

        return Bar() if is_notebook() and not (self.out.quiet or self.out.json) else super().progress()
