"""Images: one as Pillow has it, many as a grid; what is not an image says so, and nothing of it runs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import PIL
import pytest
from PIL import Image

from datapkg.errors import InvalidInput, MissingDependency, NotFound
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Group
from tests.reading.packages import file_node, install, iris_frame, table_node


@pytest.fixture(autouse=True)
def _without_a_screen() -> None:
    mpl.use("agg")


def encoded(array: Any, form: str = "PNG") -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.asarray(array, dtype="uint8")).save(sink, form)
    return sink.getvalue()


def group(home: Home, **files: bytes) -> Group:
    nodes = [file_node(home, f"g/{name}", data, file_name=name.replace("_", ".")) for name, data in files.items()]
    install(home, "me/images", *nodes, table_node(home, "g/table", iris_frame()), file_node(home, "g/deep/a.png", b"x"))
    found = load("me/images/g", home)
    assert isinstance(found, Group)
    return found


RED = np.full((4, 6, 3), [255, 0, 0])


def test_a_file_as_an_image(home: Home) -> None:
    node = group(home, a_png=encoded(RED))["a_png"]
    image = node.image()
    assert (image.size, image.mode, image.format) == ((6, 4), "RGB", "PNG")
    assert np.array_equal(np.asarray(image), RED)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/was-here) (w) file\n%%EOF\n"


@pytest.mark.parametrize("data", [b"", b"no image", encoded(RED)[:45], encoded(RED)[:20], EPS], ids=range(5))
def test_non_image_is_rejected(home: Home, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was run"))
    with pytest.raises(InvalidInput, match=r"me/images/g/a (is not|cannot be read as) an image"):
        group(home, a=data)["a"].image()


def test_too_big_image_is_rejected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InvalidInput, match=r"24 pixels.*the limit is PIL.Image.MAX_IMAGE_PIXELS"):
        group(home, a=encoded(RED))["a"].image()


def test_a_group_of_images_as_a_grid(home: Home) -> None:
    files = {f"{n}_png": encoded(np.full((3, 3), n)) for n in range(7)}
    figure = group(home, **files, no_txt=b"text", bad_jpg=b"no image", money_gif=encoded(RED, "GIF")).plot(columns=4)
    assert figure is not None
    assert len(figure.axes) == 9
    assert [axes.get_title() for axes in figure.axes[:2]] == ["0_png", "1_png"]
    assert [len(axes.images) for axes in figure.axes].count(1) == 8
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == [
        "me/images/g/bad_jpg is not an image in a format of Pillow"
    ]
    figure.savefig(io.BytesIO())


def test_a_long_group_is_shown_in_part(home: Home) -> None:
    figure = group(home, **{f"{n:02}$x$_png": encoded(RED) for n in range(30)}).plot(limit=6)
    assert figure is not None
    assert (len(figure.axes), figure.get_suptitle()) == (6, "me/images/g (the first 6 of 30)")
    figure.savefig(io.BytesIO())
    for wrong in ({"limit": 0}, {"columns": 0}):
        with pytest.raises(InvalidInput, match="1 and more"):
            group(home).plot(**wrong)


def test_a_group_without_images_has_no_grid(home: Home) -> None:
    with pytest.raises(NotFound, match=r"me/images/g has no image directly in it.*: group\['deep'\]\.plot\(\)"):
        group(home, a_txt=b"text").plot()
    install(home, "me/images", file_node(home, "g/a.txt", b"text"), table_node(home, "g/table", iris_frame()))
    none = load("me/images/g", home)
    assert isinstance(none, Group)
    with pytest.raises(NotFound, match=r"me/images/g has no image: in it are 1 file, 1 table"):
        none.plot()


def test_a_missing_library_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    images = group(home, a_png=encoded(RED))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot")
    with pytest.raises(MissingDependency, match="pip install matplotlib"):
        images.plot()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependency, match="pip install pillow"):
        images["a_png"].image()
    assert Path(PIL.__file__).exists()
