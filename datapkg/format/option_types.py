"""Types of the options of both programs that are not free text; errors name what was expected, and an example."""

from __future__ import annotations

from typing import Any

import click

from datapkg.errors import InvalidInput
from datapkg.format.suggestions import close_names
from datapkg.format.texts import quoted


class NumberType(click.ParamType):  # type: ignore[type-arg] # generic in the newest click only
    """The type of a number from `minimum` to `maximum` (None: without a limit); whole, unless the example is not."""

    name = "number"

    def __init__(self, minimum: int, maximum: int | None = None, *, example: float) -> None:
        self._minimum, self._maximum, self._example = minimum, maximum, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        try:
            number = type(self._example)(value)
        except ValueError:
            raise self._wrong(value, param, ctx) from None
        if not self._minimum <= number <= (self._maximum or float("inf")):
            raise self._wrong(value, param, ctx)
        return number

    def _wrong(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> InvalidInput:
        kind = "a whole number" if isinstance(self._example, int) else "a number"
        limits = f"from {self._minimum} {'on' if self._maximum is None else f'to {self._maximum:,}'}"
        return not_a_value(value, f"{kind} {limits}", f"{self._example:g}", param, ctx)


class ChoiceType(click.Choice):  # type: ignore[type-arg]
    """The type of one of several words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        words = [str(each) for each in self.choices]
        if value in words:
            return str(value)
        nearest = close_names(str(value)[:100], words, limit=1) or words
        raise not_a_value(value, f"{', '.join(words[:-1])} or {words[-1]}", nearest[0], param, ctx)


def not_a_value(
    value: Any, expected: str, example: str, param: click.Parameter | None, ctx: click.Context | None
) -> InvalidInput:
    """Return the error for a value of an option or argument."""
    name, typed = "the value", example
    if isinstance(param, click.Option):
        name = max(param.opts, key=len)
        typed = f"{name} {example}"
    elif param is not None:
        name = param.human_readable_name
    detail = {"meant": [str(value), example]} if value else {}
    return InvalidInput(
        f"{name} is {quoted(str(value))}; expected {expected}, such as {typed}",
        hint=f"{ctx.command_path} --help" if ctx is not None else "",
        **detail,
    )
