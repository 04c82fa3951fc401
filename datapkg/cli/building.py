"""Commands that make packages: generate, build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from datapkg.cli.arguments import (
    PATH,
    PATH_OR_ADDRESS,
    TEXT,
    import_line,
    message_option,
    pinned,
    ref_argument,
    registry_option,
)
from datapkg.cli.command import Command, Session, pass_session
from datapkg.cli.publishing import push_lines, report_pushed
from datapkg.errors import BuildFailed, InvalidInput
from datapkg.format.names import Ref
from datapkg.format.option_types import NumberType
from datapkg.format.texts import count_text, size_text

if TYPE_CHECKING:
    from datapkg.api.build_result import BuildResult
    from datapkg.api.push_result import PushResult
    from datapkg.api.run_cache import CachePush
    from datapkg.building.spec.options import BuildOptions
    from datapkg.cli.output import Output

BUILD_FILE = "build.yml"
_SKIPPED_SHOWN = 5
_IGNORED = "ignored by .gitignore"  # which has a note of its own
_FROM_CACHE = {"taken": "", "would be taken": "would be taken "}
_WAS = ("was left out", "were left out")
_PUSH_OPTIONS = ("tag", "version", "public")

gitignore_option = click.option(
    "--no-gitignore", is_flag=True, help="Include files that .gitignore excludes (no build file)."
)


@click.command(
    cls=Command,
    examples="""
    datapkg generate ./sales
    """,
)
@click.argument("directory", type=PATH, metavar="DIR")
@gitignore_option
@pass_session
def generate(session: Session, directory: Path, no_gitignore: bool) -> None:
    """Write a first build file and README for a folder.

    DIR/build.yml lists every data file below DIR as a node; DIR/README.md is a form to fill in. Existing files are
    never overwritten.
    """
    from datapkg.api.build import generate as write

    written = write(directory, gitignore=not no_gitignore)
    for warning in written.warnings:
        session.out.note(warning)
    files = written.files
    session.out.answer({"files": [str(each) for each in files]}, [f"wrote {each}" for each in files])
    session.out.say("", f"  look at {directory / BUILD_FILE}, then:  datapkg build USER/NAME {directory}")


@click.command(
    cls=Command,
    examples="""
    datapkg build me/sales
    datapkg build me/sales ./sales/build.yml -m "figures of May"
    datapkg build me/flowers https://git.example.org/flowers.git@v1.2#data
    datapkg build me/weather build.yml --push --tag nightly
    datapkg build me/model --from train --on dask
    """,
)
@ref_argument
@click.argument("path", type=PATH_OR_ADDRESS, required=False)
@message_option
@click.option("--no-build-file", is_flag=True, help="Ignore the build.yml of the folder.")
@click.option("--allow-outside", is_flag=True, help="Allow the build file to name files outside its folder.")
@click.option("--update", is_flag=True, help="Download again, and update the checksums in the build file.")
@click.option("--allow-code", is_flag=True, help="Allow the build file of a repository to run code here.")
@click.option("--force", is_flag=True, help="Ignore caches: download and read every source again.")
@click.option("--explain", is_flag=True, help="Show for each node and stage why it was built or reused.")
@click.option("--dry-run", is_flag=True, help="Build and check without keeping the result.")
@gitignore_option
@click.option("--allow-empty", is_flag=True, help="Allow an empty package.")
@click.option("--keep-going", is_flag=True, help="Skip sources and stages that fail, and exit with code 5.")
@click.option(
    "--from",
    "again",
    type=TEXT,
    multiple=True,
    metavar="STAGE",
    help="Run this stage and those that depend on it.",
)
@click.option("--jobs", type=NumberType(1, 1000, example=4), metavar="N", help="Run stages on at most N cores.")
@click.option(
    "--on",
    type=TEXT,
    default="",
    metavar="CLUSTER",
    help="Build on a cluster: dask, or an address such as tcp://HOST:8786.",
)
@click.option(
    "--objects",
    type=TEXT,
    default="",
    metavar="PLACE",
    help="With --on: move data through this folder, bucket or package.",
)
@click.option("--push", is_flag=True, help="Publish the result, unless the registry has it already.")
@click.option("-t", "--tag", type=TEXT, help="With --push: set this tag on the state, besides latest.")
@click.option("-v", "--version", type=TEXT, help="With --push: give the state this version, which never moves.")
@click.option("--public", is_flag=True, help="With --push: make the package public.")
@click.option("--pull-cache", is_flag=True, help="Take results of stages from the run cache of the package.")
@click.option("--push-cache", is_flag=True, help="Push results of stages to the run cache of the package.")
@registry_option
@pass_session
def build(
    session: Session,
    ref: Ref,
    path: Path | str | None,
    message: str,
    no_build_file: bool,
    no_gitignore: bool,
    explain: bool,
    jobs: int | None,
    push: bool,
    push_cache: bool,
    registry: str | None,
    **ways: Any,
) -> None:
    """Build a package from files, a build file or a repository.

    The package is stored on this machine, and its hash is printed. PATH is by default the build.yml of the working
    directory; https://HOST/REPOSITORY.git@REVISION#FOLDER is fetched with git. Stages of the build file run only if
    something changed; --dry-run shows which would run.
    """
    from datapkg.api.build import BuildOptions

    _check_options(ref, path, {**ways, "push": push, "push_cache": push_cache, "registry": registry})
    source = path or _build_file_here(ref)
    pushing = {"registry": registry, **{name: ways.pop(name) for name in _PUSH_OPTIONS}}
    ways |= {"jobs": jobs or 0, "registry": registry}
    options = BuildOptions(build_file=not no_build_file, gitignore=not no_gitignore, **ways)
    cached = None
    with session.progress() as progress:
        if push_cache:
            from datapkg.api.run_cache import check_may_fill, push_results

            check_may_fill(session.home, ref, registry, is_pushed=push)
        how = {"explained": explain, "message": message, "progress": progress}
        result, pushed = _built(session, ref, source, options, how, pushing if push else None)
        if push_cache:
            cached = push_results(session.home, ref, result, registry=registry, progress=progress)
    _report_build(session.out, result, pushed, cached, registry, explain=explain, dry_run=options.dry_run)
    if result.left_out:
        # No error: the package was built and reported. The code tells scripts that it is not complete.
        click.get_current_context().exit(BuildFailed.exit_code)


def _built(
    session: Session,
    ref: Ref,
    source: Any,
    options: BuildOptions,
    how: dict[str, Any],
    pushing: dict[str, Any] | None,
) -> tuple[BuildResult, PushResult | None]:
    """Build the package, and with the options of a push publish the result."""
    if pushing is None:
        from datapkg.api.build import build_package

        return build_package(session.home, ref, source, options, **how), None
    from datapkg.api.build_and_push import build_and_push

    return build_and_push(session.home, ref, source, options, **how, **pushing)


def _check_options(ref: Ref, path: Path | str | None, given: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for options of a build that do not go together."""
    line = f"datapkg build {ref}{f' {quote(str(path))}' if path else ''}"
    if not given["push"] and any(given[name] for name in _PUSH_OPTIONS):
        raise InvalidInput("--tag, --version and --public go with --push", hint=f"{line} --push")
    if given["registry"] and not any(given[name] for name in ("push", "pull_cache", "push_cache")):
        raise InvalidInput("--registry goes with --push, --pull-cache or --push-cache", hint=f"{line} --push")
    if given["push_cache"] and given["dry_run"]:
        raise InvalidInput("--push-cache does not go with --dry-run", hint=f"{line} --dry-run")
    if given["objects"] and not given["on"]:
        raise InvalidInput("--objects goes with --on", hint=f"{line} --on dask")


def _report_build(
    out: Output,
    result: BuildResult,
    pushed: PushResult | None,
    cached: CachePush | None,
    registry: str | None,
    *,
    explain: bool,
    dry_run: bool,
) -> None:
    """Print what a build made, and what it left out; `registry` is the one that a push named."""
    for note in [*_build_notes(result), *(cached.warnings if cached else ())]:
        out.note(note)
    # The outputs of a stage that did not run are unknown, so the hash of the package is too.
    is_known = not any(each["action"] in ("would run", "would be taken") for each in result.stages)
    value = {
        **_build_value(result, is_known=is_known),
        **({"explain": result.why} if explain else {}),
        **({"stages": result.stages} if result.stages else {}),
        **({"dry_run": True} if dry_run else {}),
        **({"pushed": asdict(pushed)} if pushed else {}),
        **({"cached": asdict(cached)} if cached else {}),
    }
    state = pinned(result.package, result.hash) if is_known else result.package
    nodes = _counts_line(result) if is_known else f"the rest: {_counts_line(result)}"
    reasons = [f"  {path}: {why}" for path, why in result.why.items()] if explain else []
    lines = [f"{'would build' if dry_run else 'built'} {state}", f"  {nodes}", *_stage_lines(result, explain), *reasons]
    lines += [*_left_out_lines(result), *(push_lines(pushed) if pushed else ()), *_cached_lines(cached)]
    out.answer(value, lines, quiet=[state])
    if pushed:
        report_pushed(out, pushed, registry)
    elif not dry_run and not result.left_out:
        out.say("", f"  import it   {import_line(result.package)}", f"  publish it  datapkg push {result.package}")


def _build_value(result: BuildResult, *, is_known: bool) -> dict[str, Any]:
    """Return what `--json` prints of every build; the state is None where it is not known."""
    return {
        "package": result.package,
        "hash": result.hash if is_known else None,
        "nodes": {"built": result.built, "reused": result.reused} if is_known else None,
        "bytes_logical": result.bytes_logical if is_known else None,
        "warnings": result.warnings,
        "skipped": result.skipped,
        "updated": result.updated,
        **({"left_out": result.left_out} if result.left_out else {}),
    }


def _counts_line(result: BuildResult) -> str:
    reread = f" ({result.reread:,} read again: the same data)" if result.reread else ""
    counts = f"{count_text(result.built, 'node')} built, {result.reused:,} reused{reread}"
    return f"{counts}, {size_text(result.bytes_logical)}"


def _build_notes(result: BuildResult) -> Iterator[str]:
    yield from result.warnings
    for each in result.updated:
        old = each["old"] or "not given"
        yield f"{each['url']}: sha256 was {old}, is now {each['new']}; the build file was updated"
    skipped = [each for each in result.skipped if not each.endswith(_IGNORED)]
    if skipped:
        more = " …" if len(skipped) > _SKIPPED_SHOWN else ""
        yield f"left out {len(skipped):,}: {', '.join(skipped[:_SKIPPED_SHOWN])}{more}"


def _stage_lines(result: BuildResult, explain: bool) -> Iterator[str]:
    """Yield a line for each stage that ran, would run or failed, and to explain those that were reused too."""
    stopped = [each for each in result.stages if each["action"] == "stopped"]
    for each in result.stages:
        if each["action"] in _FROM_CACHE:
            yield f"  stage {each['stage']} {_FROM_CACHE[each['action']]}{each['why']}"
        elif each["action"] != "stopped" and (explain or each["action"] != "reused"):
            time = f" in {each['seconds']:.1f} s" if "seconds" in each else ""
            why = f": {each['why']}" if each["why"] else ""
            yield f"  stage {each['stage']} {each['action']}{time}{why}"
    for why, count in Counter(each["why"] for each in stopped).items():
        yield f"  {count_text(count, 'run')} not begun: {why}"
    reused = sum(each["action"] == "reused" for each in result.stages)
    if reused:
        yield f"  {count_text(reused, 'stage')} reused"


def _cached_lines(cached: CachePush | None) -> Iterator[str]:
    if cached is None:
        return
    amount = f"{count_text(cached.objects_sent, 'object')}, {size_text(cached.bytes_sent)}"
    if cached.added:
        what = f"{count_text(cached.added, 'result')} of stages"
        yield f"pushed {what} to the run cache of {cached.package}: {amount}"
    elif cached.present:
        yield f"the run cache of {cached.package} has {count_text(cached.present, 'result')} of these stages already"
    else:
        yield f"no results of stages to push to the run cache of {cached.package}"


def _left_out_lines(result: BuildResult) -> Iterator[str]:
    if result.left_out:
        yield f"  {count_text(len(result.left_out), 'source')} could not be read and {_WAS[len(result.left_out) > 1]}:"
        yield from (f"    {path}: {reason}" for path, reason in result.left_out.items())


def _build_file_here(ref: Ref) -> Path:
    path = Path(BUILD_FILE)
    if not path.is_file():
        raise InvalidInput(f"there is no {BUILD_FILE} here; name what to build", hint=f"datapkg build {ref} PATH")
    return path
