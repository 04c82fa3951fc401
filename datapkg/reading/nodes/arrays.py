"""Arrays of numbers, stored as .npy objects; no pickle is ever read."""

from __future__ import annotations

from datapkg.errors import CorruptObject, InvalidInput, exhausted
from datapkg.reading.missing.python_code import expression
from datapkg.reading.nodes.base import Node
from datapkg.reading.nodes.not_loaded import NotLoaded, no_array_attribute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, BinaryIO, NoReturn

    import numpy as np

    from datapkg.format.manifest.parsed import ArrayNode


class Array(NotLoaded, Node):
    """An array node; calling it returns a new numpy array, which may be written to. numpy functions accept the node."""

    __kind__ = "array"

    @property
    def __entry__(self) -> ArrayNode:
        entry: ArrayNode = self.__source__.entry(self.__at__)  # type: ignore[assignment]
        return entry

    def __call__(self) -> np.ndarray[Any, Any]:
        """Return the numpy array; raise `ObjectNotFound`, `CorruptObject`."""
        import numpy as np

        from datapkg.tables.npy_header import check_size, read_header

        entry = self.__entry__
        with self.__source__.open(self.__at__, self.hash, whole=True) as stream:
            try:
                shape, _, dtype = read_header(stream)
                if (shape, dtype) != (self.shape, np.dtype(self.dtype)):
                    found = f"its object has {dtype.str} {shape}"
                    raise InvalidInput(f"the manifest says {self.dtype} {self.shape}, and {found}")
                # Before numpy reads, which allocates whatever the header states.
                check_size(shape, dtype, entry.size - stream.tell())
                stream.seek(0)
                array: np.ndarray[Any, Any] = np.load(stream, allow_pickle=False)
            except (ValueError, TypeError, EOFError) as error:
                what = f"{self.ref.package}/{self.__at__} cannot be read as an array: {error}"
                raise exhausted(error) or CorruptObject(what) from error
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the array for `np.asarray(node)` and numpy's functions."""
        if copy is False:
            place = f"{self.__source__.ref.package}/{self.__at__}"
            raise InvalidInput(f"{place}: the array of a node is always a copy: copy=False is not possible")
        array = self()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, key: object) -> NoReturn:
        loaded = expression(self.__source__, self.__at__)
        raise TypeError(f"an array node is not loaded and cannot be indexed; write: {loaded}()[…]")

    def __iter__(self) -> NoReturn:
        loaded = expression(self.__source__, self.__at__)
        raise TypeError(f"an array node is not loaded and cannot be iterated; write: for each in {loaded}()")

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> Any:
            if name[:1] == "_":
                raise AttributeError(name)
            raise no_array_attribute(self, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension."""
        return tuple(self.__entry__.shape)

    @property
    def dtype(self) -> str:
        """The type of the numbers as numpy's array interface writes it, such as "<f8"."""
        return self.__entry__.dtype

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    @property
    def hash(self) -> str:
        """The sha256 of the .npy object."""
        return self.__entry__.hash

    @property
    def path(self) -> Path:
        """A read-only path of the .npy file."""
        return self.__source__.path(self.__entry__)

    def open(self) -> BinaryIO:
        """Return the .npy object as a stream, which the caller closes."""
        return self.__source__.open(self.__at__, self.hash)
