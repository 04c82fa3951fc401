"""Failures of a command: any exception as one of our errors, with message, hint and exit code."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from datapkg.cli.command import no_such
from datapkg.errors import Conflict, DatapkgError, InvalidInput, NotFound, Refused, Unreachable, exhausted
from datapkg.format.texts import cut
from datapkg.objects.files import OTHER_HOME, UNWRITABLE

if TYPE_CHECKING:
    from datapkg.cli.command import Session
    from datapkg.home import Home

EXIT_INTERRUPTED = 130  # 128 + SIGINT

OS_HINTS = {
    errno.ENOSPC: "make room in {home}, or where it was to write, and run it again",
    errno.EDQUOT: "make room in {home}, or where it was to write, and run it again",
    errno.EIO: "see what the system says about the disk: dmesg; then: datapkg verify",
    errno.EROFS: "write elsewhere; what datapkg keeps is in {home}, and DATAPKG_HOME moves it",
    errno.EACCES: "see who may read and write there: ls -ld",
    errno.EPERM: "see who may read and write there: ls -ld",
    errno.ENAMETOOLONG: "use a shorter name",
}


def failure_of(error: BaseException, session: Session) -> tuple[DatapkgError, int]:
    """Return the error to print, and the exit code."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return DatapkgError("interrupted"), EXIT_INTERRUPTED
    lack = None if isinstance(error, click.ClickException) else exhausted(error)
    failure = lack or (error if isinstance(error, DatapkgError) else _translated(error, session))
    return failure, failure.exit_code


def _translated(error: BaseException, session: Session) -> DatapkgError:
    """Translate a foreign exception; one that is neither click's nor the system's is reported as a bug."""
    if isinstance(error, click.ClickException):
        return _usage_error(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _system_error(error, session)
    return DatapkgError(
        f"this is a bug in datapkg: {type(error).__name__}: {cut(str(error), 500)}", hint="--debug shows where"
    )


def _usage_error(error: click.ClickException) -> InvalidInput:
    """Translate click's error about a wrongly typed command; the hint shows its help or the correction."""
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context is not None else "datapkg --help"
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        name, near = error.option_name, (error.possibilities or [])[:1]
        return no_such("option", name, near, hint)
    message = message[:1].lower() + message[1:].removesuffix(".")
    if isinstance(error, click.MissingParameter) and context is not None:
        usage = [context.command_path, *context.command.collect_usage_pieces(context)]
        message += f"; usage: {' '.join(usage)}"
        if isinstance(error.param, click.Option):
            return InvalidInput(
                message, hint=hint, missing_words=[error.param.opts[0], error.param.make_metavar(context)]
            )
    return InvalidInput(message, hint=hint)


def _system_error(error: OSError, session: Session) -> DatapkgError:
    """Translate an error of the operating system, with the path."""
    place = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    other = os.fsdecode(error.filename2) if isinstance(error.filename2, (str, bytes, os.PathLike)) else ""
    places = " → ".join(cut(each, 300) for each in (place, other) if each)
    reason = error.strerror or os.strerror(error.errno or 0)
    hint = OS_HINTS.get(error.errno or 0, "")
    if error.errno in UNWRITABLE and _is_at_home(place, session.home):
        return Refused(f"datapkg cannot write {cut(place, 300)}: {reason}", hint=OTHER_HOME)
    if "{home}" in hint:
        hint = hint.format(home=session.home.data)
    return _class_of(error)(f"{places}: {reason}" if places else reason, hint=hint)


def _is_at_home(place: str, home: Home) -> bool:
    """Return whether a path is in a folder of datapkg itself, or above one that could not be created."""
    if not place:
        return False
    path = Path(place).absolute()
    return any(path.is_relative_to(own) or own.is_relative_to(path) for own in (home.data, home.config, home.cache))


def _class_of(error: OSError) -> type[DatapkgError]:
    table: list[tuple[tuple[type[OSError], ...], type[DatapkgError]]] = [
        ((FileNotFoundError, NotADirectoryError), NotFound),
        ((FileExistsError, IsADirectoryError), Conflict),
        ((PermissionError,), Refused),
        ((ConnectionError, TimeoutError), Unreachable),
    ]
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInput
    return next((ours for theirs, ours in table if isinstance(error, theirs)), DatapkgError)
