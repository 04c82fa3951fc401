"""How fast is an object that is kept as a recipe read, compared with the same object kept whole?

A sequential read of one stream, ranges that are each opened anew, and the pieces of one reply of the registry, all in
this process and in CPU seconds; then requests over HTTP. Whole and recipe are read in turns, and the fastest round
counts, since both are read from the page cache.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from _bench import MB, Row, at_least, options, report, run, scratch, workplace

from datapkg.format.chunks import Step
from datapkg.objects.paced_read import pieces
from datapkg.objects.packs import PackedObjects

PIECES = {"1 MiB": 1 << 20, "64 KiB": 64 << 10}
BAR = 0.8
MOST_REQUESTS = 200

Read = Callable[[PackedObjects, str, int, int], Iterator[bytes]]


def made(folder: Path, size: int, ranges: int) -> tuple[PackedObjects, PackedObjects, str]:
    """Return an object whole, the same as a recipe of alternating ranges of two objects, and its hash."""
    step = size // ranges
    base, own = os.urandom(step * ranges), os.urandom(step * ranges)
    at = [(base if number % 2 else own, number * step) for number in range(ranges)]
    data = b"".join(source[start : start + step] for source, start in at)
    whole, recipe = PackedObjects(folder / "whole"), PackedObjects(folder / "recipe")
    hash = whole.put_bytes(data)
    names = {id(each): recipe.put_bytes(each) for each in (base, own)}
    recipe.recipes.keep(hash, [Step(names[id(source)], start, step) for source, start in at])
    return whole, recipe, hash


def streamed(home: PackedObjects, hash: str, size: int, piece: int) -> Iterator[bytes]:
    """Read one stream."""
    with home.open(hash) as stream:
        while data := stream.read(piece):
            yield data


def reopened(home: PackedObjects, hash: str, size: int, piece: int) -> Iterator[bytes]:
    """Open each range anew, as the registry does for each request with a Range."""
    for at in range(0, size, piece):
        yield from pieces(home, hash, at, min(at + piece, size), lambda: piece)


def replied(home: PackedObjects, hash: str, size: int, piece: int) -> Iterator[bytes]:
    """Read what a reply of the registry is sent as."""
    return pieces(home, hash, 0, size, lambda: piece)


def rates(homes: list[PackedObjects], hash: str, size: int, read: Read, piece: int, rounds: int) -> list[float]:
    """Return the best MB/s of each home; the bytes that come are verified once."""
    best = [0.0 for _ in homes]
    for number in range(rounds):
        for at, home in enumerate(homes):
            start = time.process_time()
            got = sum(map(len, read(home, hash, size, piece)))
            taken = time.process_time() - start
            best[at] = max(best[at], got / MB / taken)
            if not number:
                sha256 = hashlib.sha256()
                for data in read(home, hash, size, piece):
                    sha256.update(data)
                assert (got, sha256.hexdigest()) == (size, hash)
    return best


def served(environ: dict[str, str], folder: Path, size: int, ranges: int) -> tuple[HTTPConnection, list[str]]:
    """Push two versions of a file, the second of which is kept as a recipe; return their paths at the registry."""
    data = bytearray(os.urandom(size))
    path, paths = folder / "files" / "file.bin", []
    path.parent.mkdir()
    for _ in range(2):
        path.write_bytes(data)
        run("datapkg", "build", "me/file", str(path.parent), environ=environ)
        run("datapkg", "push", "me/file", "-q", environ=environ)
        paths.append(f"/api/v1/packages/me/file/objects/{hashlib.sha256(data).hexdigest()}")
        for number in range(ranges // 2):
            at = size * (2 * number + 1) // ranges
            data[at : at + 1_000] = os.urandom(1_000)
    assert len(list((folder / "registry" / "recipes").glob("*/*"))) == 1
    connection = HTTPConnection(urlsplit(environ["DATAPKG_REGISTRY"]).netloc)
    connection.auth = {"authorization": f"Bearer {environ['DATAPKG_TOKEN']}"}  # type: ignore[attr-defined]
    return connection, paths


def fetched(connection: HTTPConnection, path: str, size: int, piece: int) -> float:
    """Return the MB/s of an object that is fetched in ranges over one connection."""
    start = time.perf_counter()
    size = min(size, MOST_REQUESTS * piece)
    for at in range(0, size, piece):
        headers = {**connection.auth, "range": f"bytes={at}-{min(at + piece, size) - 1}"}  # type: ignore[attr-defined]
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        assert response.status == 206, response.read()
        while response.read(1 << 20):
            pass
    return size / MB / (time.perf_counter() - start)


def main() -> None:
    chosen = options(__doc__, mb=(8, 100, 400), ranges=(61, 61, 61), rounds=(1, 9, 15))
    rows: list[Row] = []
    with scratch() as folder:
        whole, recipe, hash = made(folder, chosen.mb * MB, chosen.ranges)
        size = whole.size(hash)
        for what, read in (("one stream", streamed), ("ranges", reopened), ("registry's reply", replied)):
            for name, piece in PIECES.items():
                of_whole, of_recipe = rates([whole, recipe], hash, size, read, piece, chosen.rounds)
                share = of_recipe / of_whole
                row = {"whole MB/CPU s": of_whole, "recipe MB/CPU s": of_recipe, "share": share, **at_least(share, BAR)}
                rows.append({"what": f"{what}, {name}", **row})
    with workplace() as (folder, environ):
        size = chosen.mb * MB
        connection, paths = served(environ, folder, size, chosen.ranges)
        for name, piece in {"the whole": size, **PIECES}.items():
            turns = [[fetched(connection, path, size, piece) for path in paths] for _ in range(chosen.rounds)]
            of_whole, of_recipe = map(max, zip(*turns, strict=True))
            share = of_recipe / of_whole
            row = {"whole MB/s": of_whole, "recipe MB/s": of_recipe, "share": share, **at_least(share, BAR)}
            rows.append({"what": f"GET with Range, {name}", **row})
    report(chosen, rows)


if __name__ == "__main__":
    main()
