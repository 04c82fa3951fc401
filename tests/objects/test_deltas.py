"""New bytes of a delta are read from a mapped object without keeping its pages in memory."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from datapkg.format.chunks import Step
from datapkg.objects.deltas import NewBytes

SIZE, CONTENT = 64 << 20, b"0123456789abcdef"


def mapped_bytes() -> int:
    """Return the pages of files that this process has in memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    # Those of files in `/dev/shm` are counted apart.
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssFile:", "RssShmem:")))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_new_bytes_are_given_back(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(CONTENT * (SIZE // len(CONTENT)))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        before = mapped_bytes()
        with memoryview(data) as view:
            stream = NewBytes(view, [Step(None, 0, SIZE // 2), Step("0" * 64, 0, 5), Step(None, SIZE // 2, SIZE // 2)])
            buffer = bytearray(1 << 20)
            read = 0
            while count := stream.readinto(buffer):
                assert buffer.startswith(CONTENT)
                read += count
        assert read == SIZE
        assert mapped_bytes() - before < SIZE // 4
