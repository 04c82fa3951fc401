"""Prepare the argument of `build`: resolve it to a spec and fetch its sources; write checksums after the build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datapkg.building.sources.fetcher import Checksum, Fetcher, fetch_sources
from datapkg.building.sources.handlers import handler_of
from datapkg.building.spec.folder_files import BUILD_FILE
from datapkg.building.spec.from_value import spec_for, spec_from_values
from datapkg.building.spec.model import BuildSpec, NodeSpec, UrlSource
from datapkg.building.spec.options import BuildOptions
from datapkg.building.spec.url_extract import UPDATE
from datapkg.errors import Forbidden, InvalidBuildFile, InvalidInput


@dataclass(frozen=True)
class PreparedBuild:
    """A package to build; `sums` are computed checksums, which `write_sums` writes into the build file."""

    spec: BuildSpec
    sums: tuple[Checksum, ...] = ()
    path: Path | None = None
    _sources: tuple[UrlSource, ...] = ()
    _hashes: Mapping[str, str] | None = None

    def write_sums(self) -> bool:
        """Write new checksums into the build file, after the build has succeeded; return whether the file changed."""
        if self.path is None or not self._hashes:
            return False
        from datapkg.building.sources.checksum_edit import write_checksums

        return write_checksums(self.path, self._sources, self._hashes)


@contextmanager
def prepared(
    source: Any, fetcher: Fetcher, options: BuildOptions, *, environ: Mapping[str, str], hint: str = ""
) -> Iterator[PreparedBuild]:
    """Yield what to build from a path, the address of a repository, or values in memory; it is valid inside the block.

    `environ` is the environment for git, `hint` the command that accepts new checksums. Raise what `spec_for`,
    `fetch_sources` and `open_checkout` raise.
    """
    if not isinstance(source, (str, Path)):
        yield PreparedBuild(spec_from_values(source))
        return
    address = _address(source)
    if address is None:
        yield _of_path(Path(source), fetcher, options, hint)
        return
    from datapkg.building.sources.git_repository import open_checkout

    if options.update:
        raise InvalidInput("--update writes into a build file, and one in a repository cannot be changed from here")
    with open_checkout(address, fetcher.downloads.folder / "tmp", environ, fetcher.limit_bytes) as checkout:
        # All files of a checkout were committed, so its `.gitignore` does not apply.
        plain = replace(options, allow_outside=False, gitignore=False)
        found = _of_path(checkout.folder, fetcher, plain, hint, is_foreign=True)
        warnings = [*_lfs_warning(checkout.folder), *found.spec.warnings]
        yield replace(found, spec=replace(found.spec, git=checkout.record, warnings=warnings))


def _lfs_warning(folder: Path) -> list[str]:
    """Return a warning if a repository stores files in Git LFS."""
    path = folder / ".gitattributes"
    if path.is_symlink() or not path.is_file():
        return []
    with path.open("rb") as stream:
        is_used = b"filter=lfs" in stream.read(1 << 20)
    return ["the repository keeps files in Git LFS; only their pointers were fetched"] if is_used else []


def _address(source: str | Path) -> Any:
    if isinstance(source, Path) or not ("://" in source or "@" in source):
        return None
    from datapkg.building.spec.git_address import is_address, parse_address

    return parse_address(source) if is_address(source) else None


def _of_path(
    path: Path, fetcher: Fetcher, options: BuildOptions, hint: str, *, is_foreign: bool = False
) -> PreparedBuild:
    ways = {"build_file": options.build_file, "allow_outside": options.allow_outside, "update": options.update}
    try:
        spec = spec_for(path, **ways, gitignore=options.gitignore)
    except InvalidBuildFile as error:
        if hint and all(UPDATE in what for _, what in error.problems):
            error.explain("", hint)
        raise
    if is_foreign and not options.allow_code:
        _refuse_code(spec)
    sources = tuple(node.source for node in spec.nodes if isinstance(node.source, UrlSource))
    here = fetch_sources(spec, fetcher, update=options.update, force=options.force, hint=hint)
    if not options.update:
        return PreparedBuild(here.spec)
    hashes = {url: each.new for url, each in here.sums.items()}
    build_file = path / BUILD_FILE if path.is_dir() else path
    return PreparedBuild(here.spec, tuple(here.sums.values()), build_file, sources, hashes)


def _refuse_code(spec: BuildSpec) -> None:
    """Raise `Forbidden` if the build file of a fetched repository runs code or queries a database."""
    places = [f"{stage.place}: {stage.command}" for stage in spec.stages]
    places += [f"{node.place}: {what}" for node in spec.nodes if (what := _code_of(node))]
    if places:
        lines = "".join(f"\n  {each}" for each in places[:20])
        raise Forbidden(
            f"the build file in the repository has code run on this machine:{lines}",
            hint="read it, and add --allow-code to the command if you trust it",
        )


def _code_of(node: NodeSpec) -> str:
    """Return the code that a node runs or the database that it queries; "" for none."""
    if code := handler_of(node.source).code(node.source):
        return code
    named = [check.name or "a check" for check in node.checks if "python" in check.rules]
    return f"python in {', '.join(named[:5])}" if named else ""
