"""The settings of this user: the folders, environment variables and settings file that datapkg reads."""

from __future__ import annotations

import json
import os
import warnings
from functools import cached_property
from pathlib import Path

from datapkg.errors import DamagedFile, InvalidInput
from datapkg.format.frozen import dataclass
from datapkg.format.suggestions import close_names, did_you_mean
from datapkg.format.texts import quoted
from datapkg.objects.files import private_folder, read_json, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

APP = "datapkg"
MAX_JOBS = 64
LEAST_RATE = 20_000
"""The lowest limit on bytes a second: a registry ends an upload that is slower than 17 kB/s."""

OBSERVED = "DATAPKG_OBSERVED"


METRICS_VARIABLE = "DATAPKG_METRICS"


def metrics_file() -> Path | None:
    """Return the file to which this program, if it is a run of a stage, appends its metrics; else None."""
    text = os.environ.get(METRICS_VARIABLE)
    return Path(text) if text else None


@dataclass(frozen=True)
class Setting:
    """One value and where it comes from: an environment variable, the settings file, or the default."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class SettingType:
    """The environment variable of a setting, its default, and the values that it takes.

    `parse` reads a value written as text; text that it cannot read it returns unchanged, and `is_valid` rejects it.
    """

    variable: str
    default: Any
    expected: str
    parse: Callable[[str], Any]
    is_valid: Callable[[Any], bool]


def _address(text: str) -> str:
    from datapkg.remote.addresses import check_address  # loads what most commands never use

    return check_address(text)


def _whole_number(text: str) -> object:
    return int(text) if text.strip().isdigit() and len(text) <= 30 else text


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _rate(text: str) -> object:
    from datapkg.format.selection import parse_size  # loads what most commands never use

    try:
        return parse_size(text.strip().removesuffix("/s"))
    except InvalidInput:
        return text


def _paths(text: str) -> list[str]:
    return [each for each in text.split(os.pathsep) if each]


def _lock(text: str) -> str:
    return "off" if text.strip().lower() == "off" else os.path.abspath(os.path.expanduser(text))


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)  # True is an int


def _are_texts(values: Any) -> bool:
    return all(isinstance(each, str) for each in values)


_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

SETTINGS = {
    # The registry of refs and commands that name none.
    "registry": SettingType("DATAPKG_REGISTRY", None, "an address", _address, lambda value: isinstance(value, str)),
    # Names for other registries, as used in work:user/name; set one at a time, as registries.NAME.
    "registries": SettingType(
        *("", {}, "a mapping of names to addresses", str),
        lambda value: isinstance(value, dict) and _are_texts(value.values()),
    ),
    # Read-only stores that are searched after the user's own.
    "path": SettingType(
        *("DATAPKG_PATH", [], "a list of folders", _paths),
        lambda value: isinstance(value, list) and _are_texts(value),
    ),
    # The lock file that decides which states are meant, in place of the nearest one; `off` for none.
    "lock": SettingType(
        *("DATAPKG_LOCK", None, "the path of a lock file, or off", _lock),
        lambda value: isinstance(value, str) and bool(value),
    ),
    # Through which folder, bucket or package data of a build on a cluster move, if its workers do not see the store.
    "objects": SettingType(
        *("DATAPKG_OBJECTS", None, "a URL such as s3://BUCKET/PREFIX, or a package", str),
        lambda value: isinstance(value, str),
    ),
    # How long a registry may send nothing, retries included.
    "timeout_s": SettingType(
        *("DATAPKG_TIMEOUT_S", 60, "a number of seconds, at most 86400", _number),
        lambda value: _is_number(value, (int, float)) and 0 < value <= 86_400,
    ),
    # How long a whole command may use registries; 0 is no limit.
    "max_time_s": SettingType(
        *("DATAPKG_MAX_TIME_S", 0, "a number of seconds, 0 for no limit", _number),
        lambda value: _is_number(value, (int, float)) and 0 <= value <= 10**9,
    ),
    # How many requests are made to a registry at once where that is faster.
    "jobs": SettingType(
        *("DATAPKG_JOBS", 8, f"a whole number from 1 to {MAX_JOBS}", _whole_number),
        lambda value: _is_number(value, int) and 1 <= value <= MAX_JOBS,
    ),
    # How many bytes a second all transfers together move; 0 is no limit.
    "bwlimit": SettingType(
        *("DATAPKG_BWLIMIT", 0, "bytes a second such as 5MB/s, at least 20kB/s, or 0 for no limit", _rate),
        lambda value: _is_number(value, int) and (value == 0 or LEAST_RATE <= value < 1 << 62),
    ),
    # Whether data that is read and not on this machine is fetched from its registry at that moment.
    "lazy": SettingType(
        *("DATAPKG_LAZY", False, f"one of {', '.join(_BOOLEANS)}"),
        lambda text: _BOOLEANS.get(text.strip().lower(), text),
        lambda value: isinstance(value, bool),
    ),
    # The limit for one file, archive member or repository that a build fetches.
    "max_source_bytes": SettingType(
        *("DATAPKG_MAX_SOURCE_BYTES", 100 << 30, "a number of bytes", _whole_number),
        lambda value: _is_number(value, int) and 0 < value < 1 << 62,
    ),
}


def observed_file() -> str | None:
    """Return the file to which this process reports what it imports and reads, if `datapkg lock --observed` runs it."""
    return os.environ.get(OBSERVED)


class UserSettings:
    """The settings and the folders of one user; all are below `DATAPKG_HOME` where it is set, else where appdirs says.

    A value comes from an option, else its environment variable, else the settings file, else it is the default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        own = self._environ.get("DATAPKG_HOME")
        if own:
            base = Path(own).expanduser().absolute()
            if base.exists() and not base.is_dir():
                raise InvalidInput(f"DATAPKG_HOME is {base}, which is not a folder", hint="unset DATAPKG_HOME")
            self.data, self.config, self.cache = base, base, base / "cache"
        else:
            import appdirs

            self.data = Path(appdirs.user_data_dir(APP, False))
            self.config = Path(appdirs.user_config_dir(APP, False))
            self.cache = Path(appdirs.user_cache_dir(APP, False))
        self.file = self.config / "settings.json"
        self._given: dict[str, Setting] = {}

    @property
    def environ(self) -> dict[str, str]:
        """A copy of the environment, for other programs that are started."""
        return dict(self._environ)

    def secret(self, name: str) -> str:
        """Return an environment variable that a build file names instead of holding the secret itself."""
        if value := self._environ.get(name):
            return value
        raise InvalidInput(f"the environment variable {name} is not set", hint=f"export {name}=…")

    def all(self) -> list[Setting]:
        """Return all settings."""
        return [self.get(name) for name in SETTINGS]

    def get(self, name: str) -> Setting:
        """Return one setting; raise `InvalidInput` if it does not exist or has a value of the wrong type."""
        if name not in SETTINGS:
            raise _unknown(name)
        if name in self._given:
            return self._given[name]
        variable = SETTINGS[name].variable
        if variable and (text := self._environ.get(variable)):
            try:
                return Setting(name, _parse(name, text), variable)
            except InvalidInput as error:
                raise InvalidInput(f"{variable}: {error.message}", hint=f"unset {variable}") from None
        if name in (values := self._from_file(name)):
            return Setting(name, _check(name, values[name], f"datapkg config --unset {name}"), str(self.file))
        return Setting(name, SETTINGS[name].default, "default")

    def give(self, name: str, text: str, option: str) -> None:
        """Let an option of the command line override a setting for this process; raise `InvalidInput`."""
        try:
            self._given[name] = Setting(name, _parse(name, text), option)
        except InvalidInput as error:
            raise InvalidInput(f"{option}: {error.message}", hint=f"{option} {_example(name)}") from None

    def set(self, name: str, text: str | None) -> None:
        """Write a setting into the settings file, or remove it (None); `registries.work` sets one of the names."""
        from datapkg.objects.folder_lock import changing  # most commands only read

        self._changed(name, text)  # a mistake is reported before anything is made
        private_folder(self.config)
        with changing(self.config):
            self.__dict__.pop("_values", None)  # another process may have written since
            values = {key: value for key, value in self._changed(name, text).items() if value not in (None, {})}
            write_atomic(self.file, json.dumps(values, indent=2).encode() + b"\n", self.config / "tmp")
            self.__dict__.pop("_values", None)

    def _changed(self, name: str, text: str | None) -> dict[str, Any]:
        head, dot, key = name.partition(".")
        if dot and head == "registries":
            names = dict(_check(head, self._values.get(head, {}), f"datapkg config --unset {head}"))
            names.pop(key, None)
            changed: dict[str, Any] = {head: names if text is None else {**names, key: _address(text)}}
        elif name in SETTINGS and (name != "registries" or text is None):
            changed = {name: None if text is None else _parse(name, text)}
        else:
            raise _unknown(name)
        return {**self._values, **changed}

    @cached_property
    def _values(self) -> dict[str, Any]:
        value = read_json(self.file, "settings", f"mend or remove {self.file}")
        if not isinstance(value, dict):
            raise InvalidInput(f"the settings {self.file} are not a mapping", hint=f"rm {self.file}")
        return value

    def _from_file(self, name: str) -> dict[str, Any]:
        """Return the settings file. A corrupt one blocks nothing that is on this machine, but names no registry."""
        try:
            return self._values
        except InvalidInput as error:
            # Another registry than the one that the user chose must not be asked.
            if name in ("registry", "registries"):
                raise
            warnings.warn(f"{error.message}; {name} has its default; {error.hint}", DamagedFile, stacklevel=3)
            return {}


def _unknown(name: str) -> InvalidInput:
    names = [each for each in SETTINGS if each != "registries"]
    near, known = close_names(name, names, 1), ", ".join(names)
    return InvalidInput(
        f"there is no setting {quoted(name)}{did_you_mean(near) or f'; there are {known} and registries.NAME'}",
        hint="" if near else "datapkg config",
        **({"meant": [name, *near]} if near else {}),
    )


def _parse(name: str, text: str) -> Any:
    """Return the value that a text means; the hint of the error shows how values of the setting are written."""
    of = SETTINGS[name]
    return _check(name, of.parse(text), f"datapkg config {name} {_example(name)}")


def _example(name: str) -> str:
    """Return a value as it is written."""
    return {"bwlimit": "5MB/s", "lock": "off", "max_time_s": "3600"}.get(name) or str(SETTINGS[name].default).lower()


def _check(name: str, value: Any, hint: str) -> Any:
    of = SETTINGS[name]
    if not of.is_valid(value):
        raise InvalidInput(f"setting {name} is {of.expected}, got {quoted(value)}", hint=hint)
    return value
