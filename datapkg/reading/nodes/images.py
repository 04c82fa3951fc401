"""Open a file of a package as an image of Pillow, without running any code that it contains."""

from __future__ import annotations

import io
from collections.abc import Callable

from datapkg.errors import InvalidInput, MissingDependency

TYPE_CHECKING = False
if TYPE_CHECKING:
    from PIL.Image import Image

RUN_PROGRAMS = {"EPS"}  # Pillow passes these formats to Ghostscript
# What Pillow's decoders raise for damaged files.
_BROKEN = (ArithmeticError, EOFError, LookupError, MemoryError, OSError, SyntaxError, TypeError, ValueError)


def open_image(read: Callable[[], bytes], place: str) -> Image:
    """Return the image in a file, which is read once Pillow is known to be installed; messages name its `place`.

    Raise `InvalidInput` for what is not an image, or is bigger than Pillow's limit; `MissingDependency`.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing_library("pillow", "PIL", error) from error
    data = read()
    Image.init()
    try:
        image = Image.open(io.BytesIO(data), formats=[form for form in Image.OPEN if form not in RUN_PROGRAMS])
        image.load()
    except Image.DecompressionBombError as error:
        line = "PIL.Image.MAX_IMAGE_PIXELS"
        raise InvalidInput(f"{place} is not opened: {error}; the limit is {line}", hint=line) from error
    except Image.UnidentifiedImageError as error:
        raise InvalidInput(f"{place} is not an image in a format of Pillow") from error
    except _BROKEN as error:
        raise InvalidInput(f"{place} cannot be read as an image: {error}") from error
    return image


def missing_library(library: str, module: str, error: ModuleNotFoundError) -> MissingDependency:
    """Return the error that names the library to install; raise `error` if another module is missing."""
    if (error.name or "").partition(".")[0] != module:
        raise error
    line = f"pip install {library}"
    return MissingDependency(f"{library} is not installed; type: {line}", hint=line)
