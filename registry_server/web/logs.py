"""Log lines: one for each record, whatever text of a request it contains."""

from __future__ import annotations

import logging

from datapkg.format.texts import visible

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class LineFormatter(logging.Formatter):
    """Format a record as one line with hidden characters written out; a traceback follows, each line of it indented.

    So no text from a request can start a line that looks like a record.
    """

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return visible(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's own name
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join("    " + visible(line) for line in text.split("\n"))
