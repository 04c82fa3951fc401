"""What the commands of a registry's operator share: options, groups of commands, and opening a registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted
from registry_server.settings import read_settings

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PROGRAM = "datapkg-registry"
# Commands that take something away; a mistyped word never suggests one.
REMOVING = frozenset({"revoke"})

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder with all data; only serve and import create a new one. [env: DATAPKG_REGISTRY_DATA]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")


class OperatorGroup(click.Group):
    """A group of commands; it and the groups in it suggest the command that a mistyped word meant."""

    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if (word := args[0]) not in self.commands and not word.startswith("-"):
            raise InvalidInput(
                f"there is no command {quoted(word)}{suggestion(word, self.commands.keys() - REMOVING)}",
                hint=f"{ctx.command_path} --help",
            )
        return super().resolve_command(ctx, args)


def with_registry(
    command: Callable[..., Any], *, create: bool = False, writes: Callable[[Mapping[str, Any]], object] = lambda _: True
) -> Callable[..., Any]:
    """Open the registry of `--data` for a command with `--json`, pass it as the first argument, and close it.

    A command that never `writes`, or not with its options, can have a registry that can only be read.
    """

    @wraps(command)
    def wrapped(data: Path | None, **options: Any) -> Any:
        from sqlalchemy.exc import DatabaseError

        from registry_server.services.registry import open_registry, unusable

        registry = open_registry(read_settings(data=data), create=create, only_reads=not writes(options))
        try:
            return command(registry, **options)
        except DatabaseError as error:
            raise unusable(registry.settings, error) from error
        finally:
            registry.close()

    return data_option(json_option(wrapped))
