"""Hostile text in every part of every request is rejected or not found; it causes no failure and no forged log line."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from datapkg.format import wire
from registry_server.web.logs import LineFormatter
from tests.registry_server import wire_names
from tests.registry_server.asgi import Client, House

SURROGATE, HIDDEN = "\\ud800", "x%0A2026-01-01%20ERROR%20forged%E2%80%AE"
TEXTS = ["%00", "%ed%a0%80", "%ff", HIDDEN, "%F0%9F%98%80" * 40, "..", "%25"]
ENDPOINTS = [
    (method, value) for value in wire_names.PATHS if value != wire.HEALTH for method in ("GET", "PUT", "POST", "DELETE")
]
BODIES = [
    '{"manifest": "%s"}',
    '{"hashes": ["%s"]}',
    '{"hash": "%s"}',
    '{"manifest": "' + "0" * 64 + '", "message": "%s"}',
    '{"manifest": "' + "0" * 64 + '", "record": {"%s": ["%s"]}}',
    '{"manifest": "' + "0" * 64 + '", "tag": "%s", "version": "%s"}',
    '{"%s": 1}',
]


def hostile(text: str) -> Iterator[tuple[str, str]]:
    """Yield requests with this text in each part of the path in turn, and in the query."""
    for method, template in ENDPOINTS:
        names = re.findall(r"{(\w+)}", template)
        good = {"user": "ada", "name": "iris", "hash": "0" * 64, "push": "x", "tag": "t", "version": "1", "who": "bob"}
        for name in names:
            yield method, template.format(**good | {name: text})
        if method == "GET":
            path = template.format(**good)
            yield method, f"{path}?q={text}&user={text}&cursor={text}&limit={text}&state={text}"


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_hostile_text_in_a_url_is_rejected(ada: Client, text: str) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    requests = list(hostile(text))
    for method, path in requests[:: 1 if text == HIDDEN else 3]:
        answer = ada.request(method, path, sends={} if method in ("PUT", "POST") else None)
        assert answer.status < 500, (method, path, answer.text)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_lone_surrogate_in_a_body_is_rejected(ada: Client, body: str) -> None:
    ada.publish("ada/iris", {"a": b"1"})
    started = ada.post(f"{wire.PACKAGES}/ada/iris/pushes", {"manifest": "0" * 64, "hashes": []}).json()["push"]
    base = f"{wire.PACKAGES}/ada/iris"
    sent = body.replace("%s", SURROGATE).encode()
    for method, path in [
        ("POST", "pushes"),
        ("POST", f"pushes/{started}/missing"),
        ("POST", f"pushes/{started}/publish"),
        ("POST", "objects/read"),
        ("PUT", "tags/t"),
        ("PUT", "versions/1"),
        ("PUT", "access/public"),
    ]:
        answer = ada.request(method, f"{base}/{path}", sent, headers={"content-type": "application/json"})
        assert answer.status == 400, (path, answer.text)


@pytest.mark.parametrize(
    "key", [[1, "\ud800", "x"], [1, "x", "\udfff"], [1, "\0", "x"], [1 << 70, "a", "b"], [True, "a", "b"], {"a": 1}]
)
def test_forged_cursor_is_rejected(house: House, key: Any) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()
    assert house.nobody.get(f"{wire.PACKAGES}?cursor={cursor}").status == 400
    assert house.nobody.get(f"/?cursor={cursor}").status == 400


def test_request_text_cannot_forge_a_log_line() -> None:
    forged = "/x\r\n2026-01-01 00:00:00 ERROR forged\u202e\x1b[2J\ud800"
    try:
        raise RuntimeError(forged)
    except RuntimeError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "error %s", (forged,), (RuntimeError, error, None))
    text = LineFormatter().format(record)
    first, *rest = text.splitlines()
    assert first.endswith("error /x⟨U+000D⟩⟨U+000A⟩2026-01-01 00:00:00 ERROR forged⟨U+202E⟩⟨U+001B⟩[2J⟨U+D800⟩")
    assert len(rest) > 1
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in text
    text.encode()
