"""Translate errors of sources to one line with the file, the node, its place in the build file, and a hint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from datapkg.building.readers import TRANSFORMS
from datapkg.building.readers.encodings import encoding_hint
from datapkg.building.sources.warnings_capture import captured_warnings
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.errors import DatapkgError, InvalidInput, TransformFailed, exhausted
from datapkg.format.texts import quoted
from datapkg.tables.derived_objects import StoreFailed


@contextmanager
def translated_errors(spec: NodeSpec, source: FileSource | None, known: Sequence[str] = ()) -> Iterator[list[str]]:
    """Turn library exceptions into a one-line `TransformFailed`; yield a list to which library warnings are added.

    `known` are problems that were found in the source before, and are the likely reason.
    """
    with captured_warnings() as warnings:
        try:
            yield warnings
        except InvalidInput as error:
            raise exhausted(error, f"building {spec.path}") or failure(
                spec, source, error, known, error.hint
            ) from error
        # The store failed, not the source: its own error tells what to do.
        except StoreFailed as error:
            raise error.__cause__ or error from None
        except DatapkgError:
            raise
        except Exception as error:
            raise exhausted(error, f"building {spec.path}") or failure(spec, source, error, known) from error


@contextmanager
def located_errors(spec: NodeSpec) -> Iterator[None]:
    """Add the node's place in the build file to datapkg errors."""
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
    """Return the error for an exception raised while reading a source, or storing a value if `source` is None."""
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
