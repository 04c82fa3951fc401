"""Every error has one wire code, HTTP status and exit code, and comes back over the wire as what it was."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import traceback

import pytest

from datapkg import errors
from datapkg.errors import DatapkgError, InvalidInput, NodeNotFound, PackageNotInstalled, Unreachable, from_wire

FAMILIES = {
    errors.InvalidInput: ("invalid", 400, 2, ValueError),
    errors.NotFound: ("not_found", 404, 3, LookupError),
    errors.Conflict: ("conflict", 409, 4, Exception),
    errors.BuildFailed: ("build_failed", 422, 5, Exception),
    errors.IntegrityError: ("integrity", 422, 6, ValueError),
    errors.Refused: ("refused", 403, 7, PermissionError),
    errors.Unreachable: ("unreachable", 502, 8, ConnectionError),
    errors.MissingDependency: ("missing_extra", 500, 9, ImportError),
    errors.ResourceExhausted: ("exhausted", 503, 10, MemoryError),
}
OTHER_STATUS = {errors.NotLoggedIn: 401, errors.QuotaExceeded: 413, errors.DiskFull: 507}


@pytest.mark.parametrize("name", errors.CLASSES)
def test_round_trip_over_the_wire(name: str) -> None:
    cls = errors.CLASSES[name]
    error = cls("what failed", hint="what to type", expected="a", count=3)
    back = from_wire(json.loads(json.dumps(error.to_wire())), cls.status)
    assert type(back) is cls
    assert (back.message, back.hint, back.detail) == ("what failed", "what to type", {"expected": "a", "count": 3})
    assert str(back) == "what failed"


@pytest.mark.parametrize("name", errors.CLASSES)
def test_each_class_belongs_to_one_family(name: str) -> None:
    cls = errors.CLASSES[name]
    if cls is DatapkgError:
        return
    (family,) = [each for each in FAMILIES if issubclass(cls, each)]
    code, status, exit_code, builtin = FAMILIES[family]
    assert (cls.code, cls.exit_code) == (code, exit_code)
    assert cls.status == OTHER_STATUS.get(cls, status)
    assert issubclass(cls, builtin)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    for name in errors.CLASSES:
        assert name in (inspect.getdoc(errors) or "")


def test_errors_are_what_python_expects_too() -> None:
    assert issubclass(PackageNotInstalled, ModuleNotFoundError)
    assert issubclass(NodeNotFound, KeyError)
    assert issubclass(NodeNotFound, AttributeError)
    assert str(NodeNotFound("no node x")) == "no node x"


def test_problems_come_back_as_pairs() -> None:
    error = InvalidInput("two mistakes", problems=[("a:1", "this"), ("a:2", "that")])
    assert from_wire(json.loads(json.dumps(error.to_wire()))).problems == [("a:1", "this"), ("a:2", "that")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [PackageNotInstalled("x", hint="y"), errors.HashMismatch("m", expected="a")])
def test_errors_are_copied_and_pickled(error: DatapkgError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), other.message, other.hint, other.detail) == (
            type(error),
            error.message,
            error.hint,
            error.detail,
        )


@pytest.mark.parametrize("garbage", [None, [], "text", {}, {"message": 3}, {"message": None, "code": "invalid"}])
def test_an_answer_in_other_words_is_unreachable(garbage: object) -> None:
    error = from_wire(garbage, 502)
    assert isinstance(error, Unreachable)
    assert "502" in str(error)


@pytest.mark.parametrize("problems", [5, "text", [1], [[1, 2]], [["a"]], {"a": "b"}, None])
def test_problems_of_a_wrong_form_are_left_out(problems: object) -> None:
    error = from_wire({"code": "invalid", "message": "m", "detail": {"type": "InvalidInput", "problems": problems}})
    assert isinstance(error, InvalidInput)
    assert error.problems == []


@pytest.mark.parametrize(
    "detail", [{"type": "NoSuchClass"}, {"type": ["x"]}, {"message": "x", "self": 1}, "text", None]
)
def test_an_unknown_class_falls_back_to_its_family(detail: object) -> None:
    error = from_wire({"code": "conflict", "message": "m", "detail": detail})
    assert type(error) is errors.Conflict


def test_a_traceback_shows_the_hint_unless_the_message_has_it() -> None:
    shown = "".join(traceback.format_exception(NodeNotFound("no node 'x'", hint="datapkg show u/p")))
    assert shown.endswith("datapkg.errors.NodeNotFound: no node 'x'\nhint: datapkg show u/p\n")
    twice = NodeNotFound("no node 'x'; type: datapkg show u/p", hint="datapkg show u/p")
    assert "".join(traceback.format_exception(twice)).count("datapkg show") == 1
    assert str(pickle.loads(pickle.dumps(twice))) == str(twice)


def test_a_circle_of_causes_ends() -> None:
    error = errors.Unreachable("gone")
    error.__cause__ = error
    assert list(errors.causes(error)) == [error]
    assert errors.exhausted(error) is None
    outer = ValueError("outer")
    outer.__cause__, error.__cause__ = error, outer
    assert list(errors.causes(outer)) == [outer, error]
