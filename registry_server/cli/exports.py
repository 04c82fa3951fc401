"""Commands that write a registry to a folder or file, and read it back."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from datapkg.format.texts import count_text, size_text
from datapkg.objects.files import no_such_path
from registry_server.cli.command import with_registry


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--no-tokens", is_flag=True, help="Leave out the hashes of tokens: users need new ones after an import.")
@partial(with_registry, writes=lambda _: False)
def export(registry: Any, target: Path, no_tokens: bool, as_json: bool) -> None:
    """Write all of a registry to a folder or a .tar file.

    TARGET is a folder, or a file if its name ends in .tar. An export has users, access, packages with all their states,
    tags, versions, logs and objects. It has the hashes of tokens, so that users stay logged in after an import, and
    no token itself. Run caches of stages are not exported, since builds fill them again. This works while the registry
    runs, and of a registry that can only be read. To a folder with an earlier export, only what is new is copied.

    \b
    Examples:
      datapkg-registry export /backup/registry --data ./registry
      datapkg-registry export registry.tar --data ./registry --no-tokens
    """
    from registry_server.services import exports, policy

    done = exports.export(registry, policy.THE_OPERATOR, target, tokens=not no_tokens)
    _print("exported", f"to {target}", done, as_json)


def _existing(_: click.Context, __: click.Parameter, path: Path) -> Path:
    if not path.exists():
        raise no_such_path(path, note="no registry was made")
    return path


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path), callback=_existing)
@partial(with_registry, create=True)
def load(registry: Any, source: Path, as_json: bool) -> None:
    """Fill a new or empty registry from an export, a folder or a file.

    Every object is verified. If anything of the export is damaged or missing, nothing is imported.

    \b
    Example:
      datapkg-registry import /backup/registry --data ./restored
    """
    from registry_server.services import exports, policy

    _print("imported", f"from {source}", exports.load(registry, policy.THE_OPERATOR, source), as_json)


def _print(verb: str, where: str, done: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    what = f"{count_text(done.packages, 'package')} with {count_text(done.objects, 'object')}"
    copied = f"{done.copied_objects:,} copied ({size_text(done.copied_bytes)})"
    click.echo(f"{verb} {what} ({size_text(done.size_bytes)}) {where}; {copied}")
    if done.run_cache_results:
        click.echo(
            f"not exported: {count_text(done.run_cache_results, 'result')} in run caches; builds fill them again"
        )
    for hash in done.left_out:
        click.echo(f"damaged, left out: {hash}")
