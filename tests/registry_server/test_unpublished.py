"""The bytes that a user has sent and not published are counted only where the limit may be exceeded."""

from __future__ import annotations

from registry_server.services.unpublished import UnpublishedBytes


def test_all_is_counted_only_if_the_limit_may_be_exceeded() -> None:
    unpublished, counted = UnpublishedBytes(), []

    def count() -> int:
        counted.append(100)
        return 100

    unpublished.add(1, 10_000)  # before the first count, which will include it
    for _ in range(50):
        assert not unpublished.are_more(1, 1_000, count)
        unpublished.add(1, 10)
    assert counted == [100]
    assert not unpublished.are_more(1, 599, count)
    assert counted == [100, 100]  # 600 at most, but 100 were left: the others were published meanwhile
    assert unpublished.are_more(1, 99, count)
    assert not unpublished.are_more(2, 100, count)
