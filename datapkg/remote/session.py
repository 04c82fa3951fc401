"""One HTTP session with one registry: its token, retries, time limits and errors, in one place."""

from __future__ import annotations

import contextlib
import io
import json
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar

import msgspec
import requests

from datapkg.errors import (
    DatapkgError,
    Forbidden,
    InvalidInput,
    InvalidName,
    NotLoggedIn,
    PackageNotFound,
    RejectedToken,
    Unreachable,
    from_wire,
)
from datapkg.format.names import Ref
from datapkg.format.texts import quoted, visible_lines
from datapkg.format.urls import without_credentials
from datapkg.remote.credentials import Credential, may_carry_token
from datapkg.remote.time_limits import (
    RATE_PER_JOB,
    CommandDeadline,
    RateLimit,
    RetryDeadline,
    SlowTransferGuard,
)
from datapkg.remote.token_auth import TokenAuth, is_public_read, origin_of
from datapkg.remote.transport import (
    READ_TIMEOUT_S,
    REDIRECTS,
    Transport,
    number_in,
    redirect_target,
    translated,
    unpacked_pieces,
)

TRIES = 4
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
MAX_REDIRECTS = 5
SENT_PIECE_BYTES = 128 << 10
"""urllib3 gives each piece of a body the time that it gives a connection, so a longer one needs a faster line."""
# An upper bound: `concurrency` starts only as many as make the whole faster.
JOBS = 8
READ_SHARE = 0.5
"""A connection that sends nothing is given up after this share of the time limit, which is half a minute of one."""
# A hostile registry could otherwise fill the memory.
MAX_JSON_BYTES = 64 << 20
MAX_ERROR_BYTES = 1 << 20
_LATER_HINT = "type it again later: what arrived is kept"
_NO_REGISTRY_HINT = "is this the address of a datapkg registry, of a version that has this? (datapkg config)"
_HINT = "check the network, that the registry is running, and its address: datapkg config registry"

T = TypeVar("T")
M = TypeVar("M", bound=msgspec.Struct)


class RegistrySession:
    """Requests to one registry at `url`; raises our errors only.

    `read_timeout_s` limits the wait for one request with all its tries, `command` the whole, `rate` the bytes a second.
    `jobs` is how many requests are made at once where that is faster; `sent_bytes` and `received_bytes` count bodies.
    A token that the registry rejects is left out of reads, with a `RejectedToken` warning: public packages need none.
    """

    def __init__(
        self,
        url: str,
        token: str | Credential | None = None,
        *,
        tries: int = TRIES,
        read_timeout_s: float = READ_TIMEOUT_S,
        command: CommandDeadline | None = None,
        rate: RateLimit | None = None,
        jobs: int = JOBS,
    ):
        self.credential = token if isinstance(token, Credential) else Credential(token)
        token = self.credential.token
        if token and not may_carry_token(url):
            raise InvalidInput(
                f"a token is not sent over plain http to {url}: anybody on the way could read it",
                hint="use an https:// address",
            )
        self.url = url
        self.sent_bytes = 0
        self.received_bytes = 0
        self._tries = tries
        self.patience = RetryDeadline(read_timeout_s, command)
        self._rate = rate or RateLimit()
        # Each of few connections is still faster than what a registry calls too slow.
        self.jobs = max(1, min(jobs, self._rate.bytes_per_s // RATE_PER_JOB)) if self._rate.bytes_per_s else jobs
        self._counting = threading.Lock()
        headers = {"Accept-Encoding": "gzip"}
        self._auth = TokenAuth(token, origin_of(url))
        self.transport = Transport(self._auth, headers=headers, max_redirects=MAX_REDIRECTS, pool_size=jobs)

    def reply(
        self,
        model: type[M],
        method: str,
        path: str,
        body: Any = None,
        params: dict[str, Any] | None = None,
        work: int = 0,
        *,
        again: bool = True,
    ) -> M:
        """Send a small request; return the answer as a `model`, or raise `Unreachable` if it is not one.

        Fields that the model does not have are skipped. `work` as in `request`; without `again` there is no second try.
        """
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}

        def attempt() -> M:
            with self.request(method, path, work=work, data=data, headers=headers, params=params) as response:
                text = self.body(response, MAX_JSON_BYTES)
            to = self._other_origin(response)
            return self._decoded(model, text, f"{method} {path}", f" (redirected to {to})" if to else "")

        return self.retried(attempt) if again else attempt()

    def _decoded(self, model: type[M], text: bytes, request: str, redirected: str) -> M:
        try:
            return msgspec.json.decode(text, type=model)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at ")
            where = where.strip("`").removeprefix("$.") or "the answer"
            message = f"{self.url} answered {request} with an unexpected value: {where}: {what}{redirected}"
            raise Unreachable(visible_lines(message), hint=_HINT) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"{self.url} answered {request} with something that is not JSON{redirected}"
            raise Unreachable(message, hint=_HINT) from error

    def sent(self, size: int) -> None:
        """Note bytes of a body that were sent; wait where they are more than the rate allows."""
        with self._counting:
            self.sent_bytes += size
        self._moved(size)

    def received(self, size: int) -> None:
        """Note bytes of a body that came, as `sent` does."""
        with self._counting:
            self.received_bytes += size
        self._moved(size)

    def _moved(self, size: int) -> None:
        self.patience.moved(size)
        self._rate.take(size)
        self.patience.command.check(self.url)

    def retried(self, attempt: Callable[[], T]) -> T:
        """Retry what failed on the way or at the server, after a pause that grows, while the time limit lasts.

        Not by urllib3's `Retry`: that ends with the headers, and a body that breaks off, which is the usual failure of
        long transfers, would not be retried. Nor does it know a time limit for all tries together.
        """
        with self.patience.waiting():
            self.patience.command.check(self.url)
            for number in range(1, self._tries + 1):
                try:
                    return attempt()
                except DatapkgError as error:
                    self.patience.command.check(self.url)
                    pause = pause_s(number, error.detail.get("retry_after_s"))
                    if number == self._tries or not error.detail.get("again") or pause >= self.patience.left_s:
                        raise
                    time.sleep(pause)
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def request(
        self, method: str, path: str, *, work: int = 0, follow: bool = True, **options: Any
    ) -> Iterator[requests.Response]:
        """One try; inside, the body is still to be read. A refusal raises the error that the registry sent.

        A read whose token is rejected is asked again without it. `work` is how many bytes the registry reads or writes
        before it answers. Without `follow`, a redirect is an answer.
        """

        def is_refusal(answer: requests.Response) -> bool:
            return _is_refused(answer) and (follow or answer.status_code not in REDIRECTS)

        response = self._answer(method, path, options, work, follow=follow)
        try:
            if is_refusal(response):
                refusal = self._refusal(response, method, path)
                if not (isinstance(refusal, NotLoggedIn) and self._may_omit_token(method, path)):
                    raise refusal
                response.close()
                self._auth.was_rejected = True
                response = self._answer(method, path, options, work, follow=follow)
                if is_refusal(response):
                    raise refusal
                self._warn_of_token()
            yield response
        finally:
            response.close()

    def _answer(
        self, method: str, path: str, options: dict[str, Any], work: int = 0, *, follow: bool = True
    ) -> requests.Response:
        if isinstance(data := options.get("data"), bytes):
            options = {**options, "data": SizedBody(self, [data], len(data))}
        # What only reads is tried again within the limit where its connection has stalled.
        share = READ_SHARE if self._tries > 1 and is_public_read(method, path) else 1
        with self._translated(f"{method} {path}"):
            return self.transport.answer(
                method,
                self.url + path,
                follow=follow and method in ("GET", "HEAD"),
                timeout=self.patience.timeouts(share, work),
                **options,
            )

    def _may_omit_token(self, method: str, path: str) -> bool:
        return bool(self.credential.token) and not self._auth.was_rejected and is_public_read(method, path)

    def _warn_of_token(self) -> None:
        source = f" from {self.credential.source}" if self.credential.source else ""
        message = f"{self.url} rejected the token{source}; public packages are read without it"
        warnings.warn(f"{message}; to replace it: {self.credential.hint}", RejectedToken, stacklevel=2)

    def _other_origin(self, response: requests.Response) -> str:
        """Return the address that answered, if a redirect led to another origin; tokens are not sent there."""
        return "" if origin_of(response.url) == origin_of(self.url) else without_credentials(response.url)

    def _refusal(self, response: requests.Response, method: str, path: str) -> DatapkgError:
        status = response.status_code
        if status in REDIRECTS and "Location" in response.headers:
            return self._redirect(response, method, path)
        error = self._explained(response, status, f"{method} {path}")
        if to := self._other_origin(response):
            error.explain(f"redirected to {to}; tokens are not sent past a redirect")
            if (
                status in (400, 403) and method == "GET"
            ):  # a signed address may have expired: the registry gives another
                error.detail["again"] = True
        elif type(error) in (NotLoggedIn, Forbidden, PackageNotFound) and "needs" not in error.detail:
            rejected = self._auth.was_rejected and is_public_read(method, path)
            note = f"without the rejected token from {self.credential.source}" if rejected else self.credential.note
            is_withheld = not self.credential.token and bool(self.credential.source)
            is_about_token = isinstance(error, NotLoggedIn) or rejected or is_withheld
            if type(error) is PackageNotFound:
                self._locate(error)
            error.explain(note, self.credential.hint if is_about_token else None)
        return error

    def _locate(self, error: PackageNotFound) -> None:
        """Add where a package was looked for, and the hint: to log in if that was not done, else to search."""
        package = str(error.detail.get("package", ""))
        try:
            name = Ref.parse(package).name
        except InvalidName:
            return
        error.message = f"package {quoted(package)} not found at {self.url}, or you lack access"
        search = f"datapkg search {name} --registry {self.url}"
        error.explain("", search if self.credential.token else self.credential.hint)

    def _redirect(self, response: requests.Response, method: str, path: str) -> DatapkgError:
        """Return the error for a redirect of a request that changes something; such a one is not followed."""
        target = redirect_target(self.url + path, response.headers["Location"])
        moved = target.partition(path)[0] if path in target else ""
        hint = f"if that is your registry: datapkg config registry {visible_lines(moved)}" if moved else _HINT
        return Unreachable(
            f"{self.url} redirects {method} {path} to {visible_lines(without_credentials(target))}", hint=hint
        )

    def _explained(self, response: requests.Response, status: int, asked: str) -> DatapkgError:
        try:
            value = _visible(json.loads(self.body(response, MAX_ERROR_BYTES)))
        except (ValueError, RecursionError, DatapkgError):
            value = None
        error = from_wire(value.get("error") if isinstance(value, dict) else None, status)
        for ours in ("registry", "again", "retry_after_s", "meant"):  # they control this machine's retries and hints
            error.detail.pop(ours, None)
        if isinstance(error, Unreachable) and "status" in error.detail:
            error.message = f"{self.url} answered {asked} with HTTP status {status} and no explanation of ours"
            error.explain("", _LATER_HINT if status in RETRIED else _NO_REGISTRY_HINT)
        if status in RETRIED:
            error.detail["again"] = True
            error.detail["retry_after_s"] = number_in(response.headers, "Retry-After")
        return error

    def body(self, response: requests.Response, limit: int) -> bytes:
        """Return the whole body of an answer; raise `Unreachable` if that is more than `limit` bytes, unpacked too."""
        data = io.BytesIO()
        self.receive(response, limit, data)
        return data.getvalue()  # without a copy, unlike joined pieces

    def receive(self, response: requests.Response, limit: int, file: IO[bytes]) -> None:
        """Write the whole body of an answer to a file; raise as `body` does."""
        size, pace = 0, self.pace()
        announced = number_in(response.headers, "Content-Length") or 0
        with self.reading():
            # Not begun where the header announces too much.
            for piece in unpacked_pieces(response) if announced <= limit else ():
                file.write(piece)
                pace.add(len(piece))
                size += len(piece)
                self.received(len(piece))
                if size > limit:
                    break
        if max(size, announced) > limit:
            raise Unreachable(f"{self.url} answered with more than {limit:,} bytes where few were expected", more=True)

    @contextlib.contextmanager
    def _translated(self, asked: str) -> Iterator[None]:
        limit = f"within {self.patience.limit_s:g} s (DATAPKG_TIMEOUT_S)"
        plain = self.url.replace("https://", "http://", 1)
        # A token is sent over plain http to this machine alone, so elsewhere the http address would not help.
        http_hint = f"datapkg config registry {plain} (or --registry {plain})" if may_carry_token(plain) else ""
        with translated(self.url, asked, hint=_HINT, again_hint=_HINT, limit=limit, http_hint=http_hint):
            yield

    def pace(self) -> SlowTransferGuard:
        """Return a check on the speed of one body, with the time limit of this session."""
        return SlowTransferGuard(self.url, self.patience.limit_s)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, failures to read a body are our errors."""
        with self._translated("with a body"):
            yield


class SizedBody:
    """The body of a request: it is sent in pieces that a slow line takes in the time of one, and counted."""

    def __init__(self, session: RegistrySession, pieces: Iterable[bytes], size: int) -> None:
        self._session, self._pieces, self._size = session, pieces, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        for piece in self._pieces:
            view = memoryview(piece)
            for start in range(0, len(view), SENT_PIECE_BYTES):
                part = view[start : start + SENT_PIECE_BYTES]
                yield part
                self._session.sent(len(part))


def _visible(value: Any) -> Any:
    """Return a value of JSON without hidden or control characters in its texts, since tracebacks show them."""
    if isinstance(value, str):
        return visible_lines(value)
    if isinstance(value, list):
        return [_visible(each) for each in value]
    if isinstance(value, dict):
        return {visible_lines(key): _visible(each) for key, each in value.items()}
    return value


def _is_refused(response: requests.Response) -> bool:
    return response.status_code >= 300 and response.status_code != 304


def pause_s(number: int, retry_after: object) -> float:
    """How long to wait before try `number` + 1; a server's Retry-After (in seconds) is followed up to a minute."""
    pause = 0.2 * 2 ** (number - 1) * (1 + random.random() / 2)
    return max(pause, min(retry_after, 60)) if isinstance(retry_after, int) else pause
