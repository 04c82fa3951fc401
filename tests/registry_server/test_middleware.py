"""Every response, also to an error, has the common form and headers."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from datapkg.errors import DatapkgError, InvalidInput, NotFound
from datapkg.format import wire
from registry_server.app import create_app, load_routes
from registry_server.services import browse
from registry_server.settings import Settings
from tests.registry_server import wire_names
from tests.registry_server.asgi import Answer, Client, House

PUSHES = f"{wire.PACKAGES}/ada/iris/pushes"


def check(answer: Answer, status: int) -> None:
    """Assert an error in our form, without internals."""
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint", "detail"}
    assert body["error"]["message"]
    assert answer.headers["cache-control"] == "no-store"
    for inside in ("Traceback", "site-packages", "sqlalchemy", "pydantic"):
        assert inside not in answer.text


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v2/packages", "/api/v1/packages/", "/api/v1/packages/a"])
def test_unknown_path_is_not_found(house: House, path: str) -> None:
    answer = house.nobody.get(path)
    check(answer, 404)
    assert isinstance(answer.error, NotFound)


def test_no_request_builds_a_route_once_the_server_has_started(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(load_routes(house.app))
    monkeypatch.setattr("fastapi.routing.get_dependant", None)
    assert house.nobody.get(wire.HEALTH).status == 200
    assert house.nobody.get("/").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", wire.PACKAGES),
        ("DELETE", wire.ME),
        ("PATCH", f"{wire.PACKAGES}/ada/iris"),
        ("OPTIONS", wire.PACKAGES),
        ("POST", wire.HEALTH),
        ("TRACE", wire.PACKAGES),
        ("FOO", wire.PACKAGES),
    ],
)
def test_unsupported_method_is_rejected(house: House, method: str, path: str) -> None:
    check(house.nobody.request(method, path), 405)


BODIES: list[tuple[bytes, str]] = [
    (b"", "application/json"),
    (b"{", "application/json"),
    (b"[" * 1_000_000, "application/json"),
    (b'{"a":' * 200_000, "application/json"),
    (b'{"manifest":' + b"[" * 900 + b"]" * 900 + b"}", "application/json"),
    (b"null", "application/json"),
    (b"[]", "application/json"),
    (b'"x"', "application/json"),
    (b"1e999", "application/json"),
    (b"NaN", "application/json"),
    (b"\xff\xfe\x00", "application/json"),
    (b'{"manifest": 5, "hashes": {}}', "application/json"),
    (b'{"manifest": "\\ud800", "hashes": ["\\u0000"]}', "application/json"),
    (b"a=b", "application/x-www-form-urlencoded"),
    (b"--x\r\n", "multipart/form-data; boundary=x"),
    (b"{}", "text/plain"),
    (b"{}", "application/json; charset=utf-7"),
    (b"1" * 10_000, "application/json"),
]


@pytest.mark.parametrize(("body", "content_type"), BODIES, ids=range(len(BODIES)))
def test_invalid_body_lists_its_mistakes(ada: Client, body: bytes, content_type: str) -> None:
    for path in (PUSHES, f"{PUSHES}/x/missing", f"{PUSHES}/x/publish", f"{wire.PACKAGES}/ada/iris/objects/read"):
        answer = ada.post(path, body=body, headers={"content-type": content_type})
        check(answer, 400)
        assert isinstance(answer.error, InvalidInput)


def test_all_mistakes_of_a_body_are_listed_at_once(ada: Client) -> None:
    answer = ada.post(PUSHES, {"manifest": "x", "hashes": ["0" * 64, "y", "z"], "more": 1})
    assert isinstance(answer.error, InvalidInput)
    places = [place for place, _ in answer.error.problems]
    assert places == ["body.manifest", "body.hashes[1]", "body.hashes[2]", "body.more"]


def test_texts_that_no_database_accepts_are_rejected(ada: Client) -> None:
    for path in (
        f"{wire.PACKAGES}?q=%00",
        f"{wire.PACKAGES}?q=%ed%a0%80",
        f"{wire.PACKAGES}?user=%00%ff",
        f"{wire.PACKAGES}/%00/%ed%a0%80",
        f"{wire.PACKAGES}/ada/iris/resolve?state=%00",
        f"{wire.PACKAGES}/ada/iris/log?cursor=%00",
    ):
        assert ada.get(path).status in (200, 400, 404), path
    check(ada.post(f"{PUSHES}/%00/missing", {"hashes": []}), 404)
    check(ada.post(f"{PUSHES}/%ed%a0%80/missing", {"hashes": []}), 400)


def test_unexpected_error_reveals_only_a_log_id(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(browse, "info", broken)
    answer = ada.get(f"{wire.PACKAGES}/ada/iris")
    check(answer, 500)
    assert type(answer.error) is DatapkgError
    assert answer.json()["error"]["code"] == "error"
    assert "secret" not in answer.text
    id = answer.error.detail["id"]
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert any(id in record.getMessage() and record.exc_info for record in logged)


def test_tokens_are_never_logged(house: House, ada: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert ada.token
    ada.publish("ada/iris", {"a": b"1"})
    house.nobody.get(wire.ME, headers={"authorization": "Bearer dpk_verysecret"})
    assert ada.token not in caplog.text
    assert "dpk_" not in caplog.text


@pytest.mark.parametrize("path", [wire.PACKAGES, f"{wire.PACKAGES}/no/such", "/api/nosuch", wire.ME])
def test_other_origins_read_the_api_without_credentials(house: House, path: str) -> None:
    headers = house.nobody.get(path, headers={"origin": "https://elsewhere.example.org"}).headers
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers


def test_other_origins_read_only_public_data(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", {"a": b"1"}, public=True)
    for path in (wire.ME, f"{wire.PACKAGES}/ada/iris", f"{wire.PACKAGES}/no/such"):
        assert "access-control-allow-origin" not in ada.get(path).headers
    inner = create_app(Settings(data=tmp_path / "inner"))  # without an address for everybody
    assert "access-control-allow-origin" not in Client(inner).get(wire.PACKAGES).headers
    inner.state.registry.close()


@pytest.mark.parametrize("path", [wire.HEALTH, "/openapi.json", "/nosuch"])
def test_other_origins_read_nothing_else(house: House, path: str) -> None:
    assert "access-control-allow-origin" not in house.nobody.get(path).headers


@pytest.mark.parametrize("path", [wire.PACKAGES, "/api/nosuch", wire.HEALTH, "/openapi.json", "/nosuch"])
def test_every_response_has_the_common_headers(house: House, path: str) -> None:
    headers = house.nobody.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_head_is_get_without_a_body(house: House, ada: Client) -> None:
    ada.publish("ada/iris", {"a": b"1"}, public=True)
    for path in (wire.PACKAGES, f"{wire.PACKAGES}/ada/iris", f"{wire.PACKAGES}/no/such", wire.HEALTH):
        got, asked = house.nobody.get(path), house.nobody.request("HEAD", path)
        assert (asked.status, asked.body) == (got.status, b"")
        assert asked.headers == got.headers


def test_me_returns_the_user_of_the_token(house: House, ada: Client) -> None:
    assert ada.get(wire.ME).json() == {"user": "ada"}
    assert house.nobody.get(wire.ME).json() == {"user": None}
    assert house.nobody.get(wire.HEALTH).json() == {"status": "ok"}


def test_openapi_has_every_path_of_the_wire(house: House) -> None:
    paths = house.nobody.get("/openapi.json").json()["paths"]
    assert set(wire_names.PATHS) <= set(paths)


def test_openapi_has_every_message_of_the_wire(house: House) -> None:
    described = house.nobody.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert wire_names.MESSAGES.keys() <= schemas.keys()
    for name, strict in (("Publish", True), ("PackageInfo", False)):
        struct, schema = wire_names.MESSAGES[name], schemas[name]
        assert list(schema["properties"]) == list(struct.__struct_fields__)
        assert (schema.get("additionalProperties") is False) == strict
    assert schemas["Pointed"]["properties"]["hash"] == {
        "type": "string",
        "maxLength": 64,
        "pattern": "^[0-9a-f]{64}$",
        "title": "Hash",
    }
    entries = schemas["PackageInfo"]["properties"]["versions"]
    assert entries["items"] == {"$ref": "#/components/schemas/VersionEntry"}


def test_absolute_urls_are_never_taken_from_the_request(ada: Client) -> None:
    headers = {"host": "evil.example.org", "x-forwarded-host": "evil.example.org", "forwarded": "host=evil.example.org"}
    started = ada.request("GET", wire.ME, headers=headers)
    assert "evil" not in started.text
    for path in (f"{wire.PACKAGES}/", "/ada/", "/ada/iris/"):
        answer = ada.request("GET", path, headers=headers)
        assert "evil" not in json.dumps(answer.headers) + answer.text


def test_short_refused_body_is_drained(house: House) -> None:
    pieces: Any = [b"x" * 1_000] * 3
    answer = house.nobody.request("PUT", f"{PUSHES}/x/objects/{'0' * 64}", pieces)
    assert answer.status == 401
    assert "connection" not in answer.headers
    answer = house.nobody.request("PUT", f"{PUSHES}/x/objects/{'0' * 64}", [b"x" * (1 << 20)] * 6)
    assert answer.status == 401
    assert answer.headers["connection"] == "close"


def test_body_is_not_drained_with_expect_continue(house: House) -> None:
    headers = {"expect": "100-continue"}
    answer = house.nobody.request("PUT", f"{PUSHES}/x/objects/{'0' * 64}", b"x", headers=headers)
    assert (answer.status, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "\xb2", str(10**30)])
def test_invalid_content_length_is_rejected(ada: Client, length: str) -> None:
    answer = ada.request("POST", PUSHES, b"{}", headers={"content-length": length})
    assert answer.status in (400, 413)
