"""The light frozen dataclasses of datapkg behave like those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from datapkg.format.frozen import dataclass as light


class Body:
    a: int
    b: str = "b"
    c: dict[str, int] = {}  # noqa: RUF012 - of each value its own

    @property
    def both(self) -> str:
        return f"{self.a}{self.b}"


@light(frozen=True)
class Light(Body):
    a: int
    b: str = "b"
    c: dict[str, int] = {}  # noqa: RUF012


@dataclasses.dataclass(frozen=True)
class Heavy(Body):
    a: int
    b: str = "b"
    c: dict[str, int] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize("cls", [Light, Heavy])
def test_light_class_behaves_like_a_frozen_dataclass(cls: Any) -> None:
    one, two = cls(1), cls(a=1, b="b", c={})
    assert one == two
    assert one is not two
    assert one != cls(2)
    assert one != 1
    assert (one.a, one.both, one.c) == (1, "1b", {})
    assert one.c is not cls(1).c
    assert repr(one) == f"{cls.__name__}(a=1, b='b', c={{}})"
    assert hash(cls(1, c=None)) == hash(cls(1, c=None))
    assert dataclasses.replace(one, a=5) == cls(5)
    assert dataclasses.asdict(one) == {"a": 1, "b": "b", "c": {}}
    assert [field.name for field in dataclasses.fields(cls)] == ["a", "b", "c"]
    assert dataclasses.is_dataclass(one)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    for change in (lambda: setattr(one, "a", 2), lambda: setattr(one, "new", 2), lambda: delattr(one, "a")):
        with pytest.raises(AttributeError):
            change()
    for wrong in (lambda: cls(), lambda: cls(1, 2, 3, 4), lambda: cls(1, a=1), lambda: cls(1, d=1)):
        with pytest.raises(TypeError):
            wrong()
