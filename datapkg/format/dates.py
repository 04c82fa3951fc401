"""A state as of a date: `{2026-05-01}` or `{2026-05-01T12:00Z}` in a reference."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from datapkg.errors import InvalidName, VersionNotFound
from datapkg.format.texts import quoted

# ASCII, since `\d` matches the digits of all scripts otherwise.
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?\Z", re.ASCII)


def normal_date(text: str) -> str:
    """Return a date with or without a time in one form: `2026-05-01`, `2026-05-01T12:00:00Z`; raise `InvalidName`.

    A time without a zone is UTC, and so is the result.
    """
    try:
        at = moment(text) if _DATE.match(text) else None
    except (ValueError, OverflowError):
        at = None
    if at is None:
        raise InvalidName(
            f"date {quoted(text)} is not allowed: it is {{2026-05-01}} or {{2026-05-01T12:00Z}}, UTC without a zone"
        )
    return text if len(text) == 10 else at.isoformat().replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """Return the moment that a date means, in UTC; without a time, the one in which that day begins."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def no_state_then(package: str, value: str, first: datetime) -> VersionNotFound:
    """Return the error for a date before the first push of a package."""
    since = first.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return VersionNotFound(
        f"{package} has no state as of {value}: it was first pushed at {since}",
        hint=f"datapkg log {package} --remote",
        first_pushed_at=first.isoformat(),
    )


def check_past(package: str, value: str, now: datetime) -> None:
    """Raise `InvalidName` for a date in the future, whose state is not known yet."""
    if moment(value) > now:
        raise InvalidName(
            f"{value} is in the future, so the state of {package} as of then is not known yet",
            hint=f"datapkg install {package}",
        )
