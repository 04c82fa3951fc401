"""The settings of a registry, from the environment and from options, as one frozen object."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import appdirs

from datapkg.errors import InvalidInput
from datapkg.format.urls import BUCKETS

PREFIX = "DATAPKG_REGISTRY_"
MAX_PORT = 65_535
MIB, TIB = 1 << 20, 1 << 40


def _default_data() -> Path:
    return Path(appdirs.user_data_dir("datapkg-registry"))


@dataclass(frozen=True)
class Settings:
    """All settings of a registry; `DATAPKG_REGISTRY_` and the name in capitals sets one in the environment."""

    data: Path = field(default_factory=_default_data)
    objects: str = ""
    host: str = "127.0.0.1"
    port: int = 8484
    public_url: str = ""
    max_object_bytes: int = TIB
    max_batch_bytes: int = 64 * MIB
    max_manifest_bytes: int = 512 * MIB
    max_package_bytes: int = 16 * TIB
    max_record_bytes: int = 16 * MIB
    max_previews_bytes: int = 4 * MIB
    max_json_bytes: int = 8 * MIB
    max_tags: int = 1_000
    max_versions: int = 10_000
    max_pushes: int = 10_000
    max_uploads: int = 64
    max_check_bytes: int = 256 * MIB
    max_check_memory_bytes: int = 1024 * MIB
    check_timeout_s: int = 20
    max_unpublished_bytes: int = TIB
    min_free_bytes: int = 64 * MIB
    max_maps_bytes: int = 1024 * MIB
    body_timeout_s: int = 60
    push_age_s: int = 24 * 3600
    stage_result_age_s: int = 30 * 24 * 3600
    max_stage_results: int = 100_000
    max_stage_result_bytes: int = TIB
    max_run_cache_bytes: int = TIB
    sweep_every_s: int = 3600
    signed_urls_s: int = 0
    read_urls_s: int = 12 * 3600
    direct_uploads_s: int = 0

    @property
    def database(self) -> Path:
        """The file of the SQLite database."""
        return self.data / "registry.db"

    @property
    def temporary(self) -> Path:
        """The folder of unfinished files."""
        return self.data / "tmp"

    @property
    def max_publish_bytes(self) -> int:
        """The maximum size of a publish request: record, previews and their envelope."""
        return self.max_record_bytes + self.max_previews_bytes + MIB

    @property
    def slot_wait_s(self) -> float:
        """How long a request waits for a free slot before it gets 503; clients give up after a minute."""
        return self.body_timeout_s / 4

    def at(self, port: int) -> Settings:
        """Return the same settings with the port that is actually listened on."""
        return replace(self, port=port)

    @property
    def address(self) -> str:
        """Where this process listens, as a URL that works on this machine."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def url(self) -> str:
        """The start of every absolute URL that the registry writes; never taken from a request."""
        return self.public_url or self.address


def setting_name(name: str) -> str:
    """Return the environment variable of a setting: `max_tags` → `DATAPKG_REGISTRY_MAX_TAGS`."""
    return PREFIX + name.upper()


def read_settings(environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
    """Return the settings from the environment; options that are not None override them.

    Raise `InvalidInput` listing every invalid setting.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for each in fields(Settings):
        name = setting_name(each.name)
        value: Any = options.get(each.name)
        where = "--" + each.name.replace("_", "-")
        if value is None and environ.get(name):
            value, where = environ[name], name
        if value is not None:
            try:
                given[each.name] = _reader(each)(value)
            except ValueError as error:
                problems.append((where, str(error)))
    if problems:
        raise InvalidInput("; ".join(f"{where}: {what}" for where, what in problems), problems=problems)
    return Settings(**given)


def _reader(setting: Field[Any]) -> Callable[[Any], Any]:
    return _READERS.get(setting.name) or _READERS[str(setting.type)]


def _read_count(value: int | str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f"expected a whole number, got {value!r}") from None
    if number < 0:
        raise ValueError(f"expected 0 or more, got {number}")
    return number


def _read_port(value: int | str) -> int:
    port = _read_count(value)
    if port > MAX_PORT:
        raise ValueError(f"{port} is not a port; ports are 0 to {MAX_PORT}")
    return port


def _read_path(value: Path | str) -> Path:
    return Path(value).expanduser().absolute()


def _read_url(value: str) -> str:
    parts = urlsplit(value)
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or more:
        raise ValueError(f"{value!r} is not a URL such as https://data.example.org, without a path or query")
    return value.rstrip("/")


def _read_objects(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("file", *BUCKETS) or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{value!r} is not a URL such as s3://BUCKET/PREFIX, gs://…, az://… or file:///FOLDER")
    return value.rstrip("/")


# By the name of a setting, else by its type. By hand rather than with pydantic-settings: options override the
# environment here, and each problem names the option or variable and what it expects. Translating pydantic's texts into
# that takes more code than these readers.
_READERS: dict[str, Callable[[Any], Any]] = {
    "public_url": _read_url,
    "objects": _read_objects,
    "port": _read_port,
    "Path": _read_path,
    "int": _read_count,
    "str": str,
}
