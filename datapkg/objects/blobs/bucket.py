"""Bytes under keys in a bucket: S3 and compatible stores, Google Cloud Storage, Azure Blob Storage.

The library obstore sends the requests. It takes credentials, endpoint and region from the environment variables that
the programs of each provider use, such as `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property, partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar, cast
from urllib.parse import urlsplit

from datapkg.errors import DatapkgError, InvalidInput, MissingDependency, Refused, Unreachable
from datapkg.format.urls import BUCKETS
from datapkg.objects.blobs import azure_copy
from datapkg.objects.blobs.base import BlobInfo, Blobs, absent, check_key
from datapkg.objects.blobs.piece_stream import PieceStream
from datapkg.objects.threads import ThreadPool

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

PART_BYTES = 8 << 20
"""S3 takes no part below 5 MiB, except the last."""
MAX_PARTS = 9_000
"""S3 takes 10,000 parts of one object."""
PARTS_AT_ONCE_BYTES = 64 << 20
COPIED_BYTES = 5 << 30
"""S3 copies up to this size in one request; a larger object is read and written."""
PIECE_BYTES = 256 << 10
TRIES = 4
PAUSE_S = 0.2
_NOT_PARTIAL = "non-partial response"  # the library's words for a whole file in answer to a range
TIMEOUT = timedelta(hours=6)
"""For a whole request with its body, on a slow line; `READ_TIMEOUT` ends one that no longer moves."""
READ_TIMEOUT = timedelta(seconds=30)
RACES, RACERS = 4, 8
"""A store without atomic creates may still have one winner in a single race, by luck."""
SIGNED_S = 300
CONTENT_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json"}

T = TypeVar("T")


class BucketBlobs(Blobs):
    """The keys of a bucket that begin with the path of its URL, such as `s3://bucket/some/prefix`.

    Without `is_signed`, no credentials are sent.
    """

    jobs = 8

    def __init__(self, url: str, *, is_signed: bool = True) -> None:
        self._url = check_bucket_url(url)
        self._unsigned: dict[str, Any] = {} if is_signed else {"skip_signature": True}
        self._store = self._opened(max_retries=3)

    def _opened(self, max_retries: int) -> S3Store | GCSStore | AzureStore:
        from_url, config_errors = _library()
        try:
            return from_url(  # type: ignore[no-any-return]
                self._url,
                **self._unsigned,
                # http is used only where the operator set an endpoint with it.
                client_options={"allow_http": True, "timeout": TIMEOUT, "read_timeout": READ_TIMEOUT},
                retry_config={"max_retries": max_retries, "retry_timeout": timedelta(seconds=20)},
            )
        except config_errors as error:
            raise InvalidInput(
                f"{self._url} cannot be used: {_reason(error)}",
                hint="set the credentials of the store in the environment",
            ) from None

    @property
    def url(self) -> str:
        return self._url

    @cached_property
    def can_create(self) -> bool:
        """Whether exactly one of several concurrent creators wins; tested where the provider does not document it."""
        if urlsplit(self._url).scheme != "s3":
            return True
        # The library takes the endpoint from the environment and shows it only in a signed URL.
        parts = urlsplit(self.signed_url("tmp/race", 60) or "")
        if (parts.hostname or "").endswith(".amazonaws.com"):
            return True
        endpoint = f"{parts.scheme}://{parts.netloc}"
        return not _is_swift(endpoint) and all(
            self._has_one_winner(f"tmp/race-{uuid.uuid4().hex}") for _ in range(RACES)
        )

    def _has_one_winner(self, key: str) -> bool:
        start = threading.Barrier(RACERS)

        def win(number: int) -> bool:
            start.wait(SIGNED_S)  # as long only where a thread is missing
            # Bytes of its own: equal ones would count as those of an earlier try that arrived.
            return self._create(key, b"%d" % number)

        try:
            with ThreadPool(RACERS) as pool:
                return sum(pool.map(win, range(RACERS))) == 1
        except threading.BrokenBarrierError:
            raise RuntimeError(f"can't start new thread, of {RACERS}") from None
        finally:
            self.delete(key)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        body = _BucketStream(self, check_key(key), start, stop)
        body.connect()
        return io.BufferedReader(body, PIECE_BYTES)

    def get(self, key: str, start: int, stop: int | None, etag: str | None = None) -> tuple[Iterator[Any], int, str]:
        """Return the pieces of a range, where it ends, and the version; a range behind the end has none."""
        import obstore

        options: dict[str, Any] = {} if etag is None else {"if_match": etag}
        if stop is not None:
            options["range"] = (start, stop)
        elif start:
            options["range"] = {"offset": start}
        with self._translated(key):
            try:
                # HTTP cannot express an empty range; the request for the head below still raises NotFound.
                found = None if start == stop else obstore.get(self._store, key, options=cast(Any, options))
            except obstore.exceptions.GenericError:  # no byte is in the range; each store reports this differently
                if "range" not in options or start < obstore.head(self._store, key)["size"]:
                    raise
                return iter(()), start, ""
            if found is None:
                return iter(()), start, str(obstore.head(self._store, key)["e_tag"])
            end = found.meta["size"] if stop is None else min(stop, found.meta["size"])
            return self._pieces(key, found), end, str(found.meta["e_tag"])

    def _pieces(self, key: str, found: Any) -> Iterator[Any]:
        with self._translated(key):
            yield from found.stream(PIECE_BYTES)

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        import obstore

        check_key(key)
        wanted = [(start, stop) for start, stop in ranges if start < stop]
        starts, ends = [start for start, _ in wanted], [stop for _, stop in wanted]
        ask = partial(obstore.get_ranges, self._store, key, starts=starts, ends=ends)
        found = iter(self._asked(key, ask) if wanted else ())
        if ranges and not wanted and self.size(key) is None:
            raise absent(key, self._url)
        pieces = [bytes(next(found)) if start < stop else b"" for start, stop in ranges]
        if any(len(data) != stop - start for data, (start, stop) in zip(pieces, ranges, strict=True)):
            raise self.unreachable(key, "it sent fewer bytes than were asked for")
        return pieces

    def size(self, key: str) -> int | None:
        import obstore

        try:
            return self._asked(check_key(key), lambda: obstore.head(self._store, key)["size"])
        except LookupError:
            return None

    def create(self, key: str, data: bytes) -> bool:
        check_key(key)
        if not self.can_create:
            raise Refused(f"{self._url} lets two writers create the same key, so it cannot decide who was first")
        return self._create(key, data)

    def _create(self, key: str, data: bytes) -> bool:
        """Create a key; after a lost answer, compare what is there to find out who created it."""
        import obstore

        for number in range(TRIES):
            try:
                with self._translated(key):
                    obstore.put(self._patient, key, data, mode="create", use_multipart=False)
                return True
            except obstore.exceptions.AlreadyExistsError:
                return number > 0 and self.read(key, len(data) + 1) == data
            except Unreachable:
                if number == TRIES - 1:
                    raise
                time.sleep(PAUSE_S * 2**number)
        raise AssertionError("unreachable")

    @cached_property
    def _patient(self) -> S3Store | GCSStore | AzureStore:
        """The store without retries of its own, which hide whether an earlier try arrived."""
        return self._opened(max_retries=0)

    def put(self, key: str, stream: BinaryIO) -> None:
        import obstore

        check_key(key)
        head, kind = _read_up_to(stream, PART_BYTES), _content_type(key)
        # One request instead of the three that the smallest multipart upload needs.
        if len(head) < PART_BYTES:
            self._asked(key, lambda: obstore.put(self._store, key, head, use_multipart=False, attributes=kind))
            return
        with contextlib.ExitStack() as stack, self._translated(key):
            # Longer parts where 9,000 of 8 MiB (75 GB) are too few; a stream of unknown length keeps 8 MiB.
            part = max(PART_BYTES, -(-_bytes_left(stream) // MAX_PARTS))
            # Read in another thread: the stream may be of a bucket too, and the library cannot be used inside itself.
            reader = stack.enter_context(ThreadPool(1))
            pieces = chain([head], iter(lambda: reader.submit(stream.read, PART_BYTES).result(), b""))
            at_once = max(1, PARTS_AT_ONCE_BYTES // part)
            how = {"use_multipart": True, "chunk_size": part, "max_concurrency": at_once, "attributes": kind}
            obstore.put(self._store, key, pieces, **how)

    def delete(self, key: str) -> None:
        import obstore

        with contextlib.suppress(LookupError):
            self._asked(check_key(key), lambda: obstore.delete(self._store, key))

    def copy(self, key: str, target: str) -> None:
        import obstore

        size = self.size(check_key(key))
        if size is None:
            raise absent(key, self._url)
        is_azure = urlsplit(self._url).scheme == "az"
        if is_azure and size <= azure_copy.MAX_BYTES and self._is_copied(key, target):
            return
        if is_azure or size > COPIED_BYTES:
            with self.open(key) as stream:
                self.put(target, stream)
            return
        self._asked(key, lambda: obstore.copy(self._store, key, check_key(target), overwrite=True))

    def _is_copied(self, key: str, target: str) -> bool:
        source, to = self.signed_url(key, SIGNED_S), self.signed_url(target, SIGNED_S, "PUT")
        return source is not None and to is not None and azure_copy.is_copied(source, to)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        import obstore

        with self._translated(prefix):
            for page in obstore.list(self._store, prefix or None):
                for each in page:
                    if each["path"].startswith(prefix):
                        yield BlobInfo(each["path"], each["size"], each["last_modified"])

    def signed_url(self, key: str, seconds: int, method: Literal["GET", "PUT"] = "GET") -> str | None:
        import obstore

        try:
            with self._translated(check_key(key)):
                return obstore.sign(self._store, method, key, timedelta(seconds=seconds))
        except DatapkgError:  # with a token alone, some providers cannot sign
            return None

    def _asked(self, key: str, ask: Callable[[], T]) -> T:
        """Return the answer to a request that may be sent twice, and is where its connection broke.

        The library itself retries after an answer that allows it, and after some of the broken connections.
        """
        for number in count(1):
            try:
                with self._translated(key):
                    return ask()
            except Unreachable as error:
                if number == TRIES or not error.detail.get("broke_off"):
                    raise
            time.sleep(PAUSE_S * 2 ** (number - 1))
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Inside, exceptions of the library are ours, without its texts, which may have parts of requests."""
        from obstore import exceptions

        try:
            yield
        except (FileNotFoundError, exceptions.NotFoundError):
            raise absent(key, self._url) from None
        except exceptions.AlreadyExistsError:
            raise
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise self._refusal(_reason(error)) from None
        except exceptions.BaseError as error:
            reason = _reason(error)
            if reason.startswith(("401", "403")) or "ExpiredToken" in reason:
                raise self._refusal(reason) from None
            unreachable = self.unreachable(key, reason)
            status = reason[:3] if reason[:3].isdecimal() else ""  # without one, there was no answer
            unreachable.detail["broke_off"] = not status and _NOT_PARTIAL not in reason
            unreachable.detail["is_busy"] = status == "429" or status.startswith("5")
            raise unreachable from None

    def _refusal(self, reason: str) -> DatapkgError:
        """Return the error for credentials that the store does not accept, or no longer."""
        return Refused(
            f"{self._url} refuses the request: {reason}",
            hint="check that the credentials in the environment are right and have not expired",
        )

    def unreachable(self, key: str, reason: str) -> Unreachable:
        """Return the error for a store that does not answer, or not as it should."""
        return Unreachable(f"{self._url} did not serve {key or 'a list'}: {reason}", again=True)


class _BucketStream(PieceStream):
    """A range of a key; a connection that breaks is made again where it broke, to the same version."""

    def __init__(self, blobs: BucketBlobs, key: str, start: int, stop: int | None) -> None:
        super().__init__(start, start)
        self._blobs, self._key, self._stop = blobs, key, stop
        self._pieces: Iterator[Any] = iter(())
        self._etag: str | None = None

    def connect(self) -> None:
        """Ask for what is left."""
        self._pieces, self._end, self._etag = self._blobs.get(self._key, self._at, self._stop, self._etag)

    def next_piece(self) -> Any:
        for number in range(TRIES):
            try:
                if number:
                    time.sleep(PAUSE_S * 2**number)
                    self.connect()
                if piece := next(self._pieces, b""):
                    return piece
            except Unreachable:
                if number == TRIES - 1:
                    raise
        raise self._blobs.unreachable(self._key, "it broke off")


def check_bucket_url(url: str) -> str:
    """Return a URL such as `s3://bucket/prefix` without a slash at its end; raise `InvalidInput` for any other."""
    parts = urlsplit(url)
    if parts.scheme not in BUCKETS or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidInput(f"{url!r} is not the URL of a bucket: expected s3://BUCKET/PREFIX, gs://… or az://…")
    return url.rstrip("/")


def _content_type(key: str) -> Any:
    """Return the attributes of a key: a bucket that is a web site sends pages with the type that they were put with."""
    kind = CONTENT_TYPES.get(key.rpartition(".")[2])
    return {"Content-Type": kind} if kind else None


def _is_swift(endpoint: str) -> bool:
    """Return whether OpenStack Swift answers: it lets two creators win, too seldom to be found out by trying."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(endpoint, timeout=READ_TIMEOUT.total_seconds()) as answer:
            headers = answer.headers
    except HTTPError as error:
        headers = error.headers
    except OSError as error:
        raise Unreachable(f"{endpoint} cannot be reached: {error}", again=True) from None
    return "X-Trans-Id" in headers or "X-Openstack-Request-Id" in headers


def _library() -> tuple[Any, Any]:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise MissingDependency("buckets need the library obstore", hint="pip install obstore") from error
    return from_url, (BaseError, ValueError)


def _reason(error: BaseException) -> str:
    """Return the status and code of a store's answer, or else the last cause, in a few words."""
    text = str(error).partition("\n\nDebug source")[0]
    status, code = re.search(r"status code: (\d{3})(?: ([A-Za-z ]+))?", text), re.search(r"<Code>(\w+)</Code>", text)
    if status:
        return f"{status[1]} {code[1] if code else (status[2] or '').strip()}".strip()
    return " ".join(text.split()).rpartition(" - ")[2][:200]


def _read_up_to(stream: BinaryIO, size: int) -> bytes:
    pieces = []
    while size and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _bytes_left(stream: BinaryIO) -> int:
    """Return how many bytes are left in a seekable stream, 0 for another."""
    if not stream.seekable():
        return 0
    at = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    stream.seek(at)
    return end - at
