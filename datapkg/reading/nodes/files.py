"""Files: the original bytes, as a path, a stream or text."""

from __future__ import annotations

from datapkg.errors import InvalidInput
from datapkg.reading.nodes.base import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, BinaryIO

    from PIL.Image import Image

    from datapkg.format.manifest.parsed import FileNode


class File(Node):
    """A file node; calling it returns a read-only path with the suffix of the original file name."""

    __kind__ = "file"

    @property
    def __entry__(self) -> FileNode:
        entry: FileNode = self.__source__.entry(self.__at__)  # type: ignore[assignment]
        return entry

    def __call__(self) -> Path:
        return self.path

    @property
    def path(self) -> Path:
        """A read-only path of the file, with its original name; raise `ObjectNotFound`, `CorruptObject`."""
        return self.__source__.path(self.__entry__)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def hash(self) -> str:
        """The sha256 of the file's bytes."""
        return self.__entry__.hash

    @property
    def file_name(self) -> str:
        """The original name of the file."""
        return self.__entry__.file_name or self.name

    def open(self) -> BinaryIO:
        """Return the bytes as a stream, which the caller closes; raise `ObjectNotFound`, `CorruptObject`."""
        return self.__source__.open(self.__at__, self.hash)

    def read_bytes(self) -> bytes:
        """Return all bytes; what is fetched is verified by its hash."""
        with self.__source__.open(self.__at__, self.hash, whole=True) as stream:
            return stream.read()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return all of the file as text, with its line ends unchanged."""
        return self.read_bytes().decode(encoding, errors)

    def json(self) -> Any:
        """Return the value of a JSON file; raise `InvalidInput` naming the line with the error."""
        from json import loads

        place = f"{self.__source__.ref.package}/{self.__at__}"
        try:
            return loads(self.read_bytes())
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{place} cannot be read as JSON: {error}") from error

    def image(self) -> Image:
        """Return the file as an image of Pillow; raise `InvalidInput` for what is not an image, `MissingDependency`."""
        from datapkg.reading.nodes.images import open_image

        return open_image(self.read_bytes, f"{self.__source__.ref.package}/{self.__at__}")
