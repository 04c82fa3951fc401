"""Errors of sources in one line: which file, which node, where it was asked for, and a hint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from datapkg.building.readers import TRANSFORMS
from datapkg.building.readers.encodings import encoding_hint
from datapkg.building.sources.warnings_capture import captured_warnings
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.errors import DatapkgError, InvalidInput, TransformFailed
from datapkg.format.texts import quoted
from datapkg.tables.derived_objects import StoreFailed


@contextmanager
def translated_errors(spec: NodeSpec, source: FileSource | None, known: Sequence[str] = ()) -> Iterator[list[str]]:
    """Turn what a library raises into `TransformFailed`, in one line; return a list that its warnings are added to.

    `known` is what is wrong with the source in any case, and so the likely reason.
    """
    with captured_warnings() as warnings:
        try:
            yield warnings
        except InvalidInput as error:
            raise failure(spec, source, error, known, error.hint) from error
        except StoreFailed as error:
            raise error.__cause__ or error from None
        except DatapkgError:
            raise
        except Exception as error:
            raise failure(spec, source, error, known) from error


@contextmanager
def located_errors(spec: NodeSpec) -> Iterator[None]:
    """Add to our errors where in the build file the node was asked for."""
    try:
        yield
    except DatapkgError as error:
        if not spec.place:
            raise
        detail = {"node": spec.path, **error.detail}
        raise type(error)(f"{spec.place}: {error}", hint=error.hint, **detail) from error.__cause__


def failure(
    spec: NodeSpec, source: FileSource | None, error: Exception, known: Sequence[str], hint: str = ""
) -> TransformFailed:
    """Return the error for what a library raises while it reads a source, or keeps a value that has none."""
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    reason = "; ".join([*known, reason])
    if source is None:
        return TransformFailed(f"{quoted(spec.path)} cannot be kept: {reason}", hint=hint, node=spec.path)
    row = re.search(r"\b(?:line|row) (\d+)", reason)
    place = f"{spec.place}: " if spec.place and spec.place != source.shown else ""
    as_it_is = "transform: id" if source.record else f"{{file: {source.shown}, transform: id}}"
    advice = f"to keep the file as it is, write in a build file: {as_it_is}"
    if spec.kwargs:
        advice = f"correct its kwargs ({', '.join(spec.kwargs)}), or {advice}"
    family = TRANSFORMS[spec.transform].family
    hint = encoding_hint(error, family, source.path, source.shown, spec.kwargs) or hint
    return TransformFailed(
        f"{place}{quoted(source.shown)} cannot be read as {spec.transform}: {reason}",
        hint=hint or advice,
        file=source.shown,
        node=spec.path,
        transform=spec.transform,
        **({"row": int(row[1])} if row else {}),
    )
