"""Threads that die for lack of memory, or never begin, delay a command and never stop it."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from datapkg.objects import concurrency, threads
from datapkg.objects.concurrency import run_all
from datapkg.objects.threads import Patience, PendingCall, ThreadPool, start


@pytest.fixture(params=["never begin", "die at once", "die at the second call"])
def dying(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make threads end early, and let nobody wait long for them."""
    monkeypatch.setattr(Patience, "seconds", 0.05)
    monkeypatch.setattr(concurrency, "PATIENCE_S", 0.05)
    begin = _thread.start_new_thread

    class Broken(SimpleQueue[Any]):
        left = 1 if request.param == "die at the second call" else 0

        def get(self, *args: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise MemoryError
            return super().get(*args)

    def start_new_thread(function: Callable[..., Any], args: tuple[Any, ...]) -> int:
        return 0 if request.param == "never begin" else begin(function, args)

    monkeypatch.setattr(threads, "SimpleQueue", Broken)
    monkeypatch.setattr(_thread, "start_new_thread", start_new_thread)


def test_calls_of_dead_threads_are_made_by_who_waits(dying: None) -> None:
    with ThreadPool(4) as pool:
        calls = [pool.submit(pow, at, 2) for at in range(100)]
        assert [each.result() for each in calls] == [at * at for at in range(100)]


def test_values_of_dead_threads_are_mapped_in_their_order(dying: None) -> None:
    with ThreadPool(3) as pool:
        assert list(pool.map(lambda one, two: one * two, range(5), range(5))) == [0, 1, 4, 9, 16]


def test_transfers_of_dead_threads_are_made_by_who_waits(dying: None) -> None:
    done: list[int] = []
    run_all([lambda moved, at=at: (moved(1), done.append(at)) for at in range(100)], 4, lambda _: None)
    assert sorted(done) == list(range(100))


@pytest.mark.parametrize("size", [1, 3])
def test_errors_of_calls_reach_who_waits(size: int) -> None:
    def fail(at: int) -> int:
        if at == 2:
            raise MemoryError(at)
        return at

    with ThreadPool(size) as pool:
        calls = [pool.submit(fail, at) for at in range(4)]
        assert [calls[at].result() for at in (0, 1, 3)] == [0, 1, 3]
        with pytest.raises(MemoryError):
            calls[2].result()


def test_leaving_a_pool_cancels_what_has_not_begun_and_waits_for_the_rest() -> None:
    begun, go_on, made = threading.Event(), threading.Event(), []

    def wait_and_make(at: int) -> None:
        begun.set()
        assert go_on.wait(60)
        made.append(at)

    with ThreadPool(1) as pool:
        calls = [pool.submit(wait_and_make, at) for at in range(3)]
        assert begun.wait(60)
        helper = start(lambda: [each.cancel() for each in calls] and go_on.set())
    helper.result()
    assert (made, [each.is_done for each in calls]) == ([0], [True] * 3)


def test_call_is_made_once() -> None:
    made: list[int] = []
    call = PendingCall(lambda: made.append(1), Patience())
    assert (call.wait(0.01), call.run(), call.run(), call.is_done) == (False, True, False, True)
    call.result()
    assert made == [1]


def test_threads_that_cannot_be_started_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    with ThreadPool(2) as pool, pytest.raises(RuntimeError, match="can't start"):
        pool.submit(int)
    with pytest.raises(RuntimeError, match="can't start"):
        run_all([lambda _: None] * 3, 2, lambda _: None)
