"""Where this machine keeps what is datapkg's, and the settings: the only reader of the environment and of appdirs."""

from __future__ import annotations

import json
import os
import warnings
from functools import cached_property
from pathlib import Path

from datapkg.errors import (
    DamagedFile,
    InvalidInput,
    PackageNotFound,
    PackageNotInstalled,
    TagNotFound,
    VersionNotFound,
)
from datapkg.format.frozen import dataclass
from datapkg.format.names import Ref, State
from datapkg.format.texts import quoted
from datapkg.objects.files import private_folder, write_atomic
from datapkg.project import nearest_lock
from datapkg.store.index import Index
from datapkg.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from datapkg.remote.client import Client
    from datapkg.remote.credentials import Credential, Credentials

APP = "datapkg"


@dataclass(frozen=True)
class Setting:
    """One value and where it comes from: an environment variable, the settings file, or the default."""

    name: str
    value: Any
    source: str


SETTINGS: dict[str, tuple[str, Any, str]] = {
    "registry": ("DATAPKG_REGISTRY", None, "address of the registry that is meant where none is named"),
    "registries": ("", {}, "names for other registries, as used in work:user/name"),
    "path": ("DATAPKG_PATH", [], "read-only stores that are looked in after the own one"),
    "timeout_s": ("DATAPKG_TIMEOUT_S", 60, "seconds to wait for a registry that sends nothing, retries included"),
    "lazy": ("DATAPKG_LAZY", False, "whether what is read and not on this machine is fetched from its registry then"),
    "max_source_bytes": (
        *("DATAPKG_MAX_SOURCE_BYTES", 100 << 30),
        "bytes of one file, archive member or repository that a build fetches, at most",
    ),
}


_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class ResolvedState:
    """A state of a package in a store; `why` says what decided it: the ref, a lock file, or what is current."""

    store: Store
    ref: Ref
    hash: str
    why: str


class Home:
    """Stores, settings and credentials: in the one folder `DATAPKG_HOME`, else where appdirs says."""

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

    @cached_property
    def index(self) -> Index:
        return Index(self.cache / "index.db")

    @cached_property
    def store(self) -> Store:
        """The store that is written to."""
        return Store(self.data / "store", self.index)

    @cached_property
    def stores(self) -> list[Store]:
        """All stores in the order in which they are looked in."""
        others = [Path(each).expanduser().absolute() for each in self.setting("path").value]
        return [self.store, *(Store(each, self.index, self.cache / "links") for each in others if each.is_dir())]

    def secret(self, name: str) -> str:
        """A variable of the environment that a build file names, for it may not hold the secret itself."""
        if value := self._environ.get(name):
            return value
        raise InvalidInput(f"the environment variable {name} is not set", hint=f"export {name}=…")

    @property
    def environ(self) -> dict[str, str]:
        """A copy of the environment, to start other programs with."""
        return dict(self._environ)

    @property
    def settings_path(self) -> Path:
        return self.config / "settings.json"

    @cached_property
    def _file(self) -> dict[str, Any]:
        try:
            value = json.loads(self.settings_path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, OSError, RecursionError) as error:
            hint = f"mend or remove {self.settings_path}"
            raise InvalidInput(f"the settings {self.settings_path} cannot be read: {error}", hint=hint) from error
        if not isinstance(value, dict):
            raise InvalidInput(f"the settings {self.settings_path} are not a mapping", hint=f"rm {self.settings_path}")
        return value

    def setting(self, name: str) -> Setting:
        """One setting, from the environment, else the settings file, else its default."""
        if name not in SETTINGS:
            raise _no_setting(name)
        variable, default, _ = SETTINGS[name]
        if variable and self._environ.get(variable):
            try:
                return Setting(name, _from_text(name, self._environ[variable]), variable)
            except InvalidInput as error:
                raise InvalidInput(f"{variable}: {error.message}", hint=f"unset {variable}") from None
        if name in (values := self._file_for(name)):
            return Setting(name, _checked(name, values[name]), str(self.settings_path))
        return Setting(name, default, "default")

    def _file_for(self, name: str) -> dict[str, Any]:
        """The settings file; a damaged one blocks nothing that is on this machine, but names no registry."""
        try:
            return self._file
        except InvalidInput as error:
            if name in ("registry", "registries"):
                raise
            warnings.warn(f"{error.message}; {name} has its default; {error.hint}", DamagedFile, stacklevel=3)
            return {}

    def settings(self) -> list[Setting]:
        """All settings."""
        return [self.setting(name) for name in SETTINGS]

    def set_setting(self, name: str, text: str | None) -> None:
        """Writes a setting into the settings file, or takes it out (None); `registries.work` sets one of the names."""
        head, dot, key = name.partition(".")
        values = {key: _checked(key, value) if key in SETTINGS else value for key, value in self._file.items()}
        if dot and head == "registries":
            names = {**values.get(head, {}), **({key: _checked_registry(text)} if text is not None else {})}
            if text is None:
                names.pop(key, None)
            values[head] = names
        elif name in SETTINGS and name != "registries":
            values[name] = _from_text(name, text) if text is not None else None
        else:
            raise _no_setting(name)
        kept = {key: value for key, value in values.items() if value not in (None, {})}
        private_folder(self.config)
        write_atomic(self.settings_path, json.dumps(kept, indent=2).encode() + b"\n", self.config / "tmp")
        self.__dict__.pop("_file", None)

    @cached_property
    def credentials(self) -> Credentials:
        from datapkg.remote.credentials import Credentials

        return Credentials(self.config / "credentials.json")

    def registry_url(self, named: str | None = None) -> str:
        """The address of a registry: one named in the settings, an address, or (None) the one of the settings.

        Raises `InvalidInput` where there is none, with the line to type.
        """
        from datapkg.remote.credentials import check_origin, with_scheme

        if named is not None and "://" in named:
            return check_origin(named)
        if named is not None:
            known = self.setting("registries").value
            if named not in known:
                names = ", ".join(sorted(known)) or "none"
                message = f"there is no registry named {named!r} in the settings; there are: {names}"
                if meant := with_scheme(named):
                    raise InvalidInput(f"{message}; did you mean {meant}?", meant=[named, meant])
                raise InvalidInput(message, hint=f"datapkg config registries.{named} https://data.example.org")
            return check_origin(known[named])
        if not self.setting("registry").value:
            raise InvalidInput(
                "no registry is set", hint="datapkg config registry https://data.example.org (or set DATAPKG_REGISTRY)"
            )
        return check_origin(self.setting("registry").value)

    def is_known(self, url: str) -> bool:
        """Whether this registry stands in the settings, so that it may be asked without a question."""
        from datapkg.remote.credentials import check_origin

        known = [self.setting("registry").value, *self.setting("registries").value.values()]
        return url in {check_origin(each) for each in known if each}

    def token(self, url: str) -> str | None:
        """The token for a registry, if there is one."""
        return self.credential(url).token

    def credential(self, url: str) -> Credential:
        """The token for a registry: `DATAPKG_TOKEN` for `DATAPKG_REGISTRY` alone, else what `login` kept.

        Without a token the source is the reason why `DATAPKG_TOKEN` is not it.
        """
        from datapkg.remote.credentials import Credential, check_origin, check_token

        given, registry = self._environ.get("DATAPKG_TOKEN"), self._environ.get("DATAPKG_REGISTRY")
        login = f"datapkg login --registry {url}"
        if given and registry and check_origin(registry) == url:
            hint = "set DATAPKG_TOKEN to a valid token, or unset it to use the one of `datapkg login`"
            return Credential(check_token(given), "DATAPKG_TOKEN", hint)
        if token := self.credentials.token(url):
            return Credential(token, "`datapkg login`", login)
        if given:
            where = f"is {check_origin(registry)}" if registry else "is not set"
            why = f"DATAPKG_TOKEN is only sent to the registry in DATAPKG_REGISTRY, which {where}"
            return Credential(None, why, f"export DATAPKG_REGISTRY={url}")
        return Credential(None, "", login)

    def client(self, named: str | None = None, token: str | None = None) -> Client:
        """A client of a registry (see `registry_url`), with the token kept for it."""
        from datapkg.remote.client import Client
        from datapkg.remote.credentials import Credential
        from datapkg.remote.session import RegistrySession

        url = self.registry_url(named)
        timeout_s = self.setting("timeout_s").value
        credential = Credential(token, "", f"datapkg login --registry {url}") if token else self.credential(url)
        return Client(RegistrySession(url, credential, read_timeout_s=timeout_s))

    def users(self) -> list[str]:
        """Users of whom a package is here, in order."""
        return sorted({user for store in self.stores for user in store.refs.users()})

    def packages(self, user: str) -> list[str]:
        """A user's packages that are here, in order."""
        return sorted({name for store in self.stores for name in store.refs.packages(user)})

    def find(self, ref: Ref, start: Path | None = None) -> ResolvedState:
        """The state of a package that is meant here: the ref's own, else the nearest lock's, else the current one.

        `start` is where the search for a lock begins, by default the working directory. Raises `PackageNotInstalled`
        (with the line that installs it), `VersionNotFound`, `TagNotFound`.
        """
        if ref.state is not None:
            return self._find_state(ref)
        lock = nearest_lock(start)
        if lock and (hash := lock[1].hash_of(ref.package)):
            for store in self.stores:
                if store.holds(hash):
                    return ResolvedState(store, ref, hash, str(lock[0]))
            raise PackageNotInstalled(
                f"{ref.package} is pinned to sha256:{hash[:12]}… by {lock[0]}, and that state is not installed",
                hint="datapkg install",
            )
        for store in self.stores:
            if current := store.refs.current(ref.user, ref.name):
                return ResolvedState(store, ref, store.here(ref.user, ref.name, current.hash), "current")
        raise not_installed(ref, self)

    def pin(self, ref: Ref, start: Path | None = None) -> Ref | None:
        """What the nearest lock says of a package: its state and registry; None where it says nothing."""
        lock = nearest_lock(start)
        pin = lock[1].pin_for(ref.package) if lock else None
        return Ref(ref.user, ref.name, ref.path, State("hash", pin.hash), pin.registry) if pin else None

    def _find_state(self, ref: Ref) -> ResolvedState:
        assert ref.state is not None
        kind, value = ref.state.kind, ref.state.value
        known_anywhere = False
        for store in self.stores:
            refs = store.refs
            known_anywhere = known_anywhere or refs.current(ref.user, ref.name) is not None
            if kind == "hash":
                hashes = {value} if len(value) == 64 else refs.known_hashes(ref.user, ref.name)
                matches = sorted(each for each in hashes if each.startswith(value))
                if len(matches) > 1:
                    listed = ", ".join(each[:16] for each in matches)
                    raise InvalidInput(f"{ref} is not one state: the hashes {listed} begin so", candidates=matches)
                hash = matches[0] if matches else None
            elif kind == "range":
                hash = _best_version(refs.versions(ref.user, ref.name), value)
            else:
                is_version = kind == "version"
                pointers = (refs.versions if is_version else refs.tags)(ref.user, ref.name)
                hash = pointers.get(value) or (_best_version(pointers, f"=={value}") if is_version else None)
            if hash and store.holds(hash):
                return ResolvedState(store, ref, hash, "ref")
        if not known_anywhere or kind == "hash":
            raise not_installed(ref, self)
        error: type[PackageNotFound] | type[VersionNotFound] | type[TagNotFound]
        error = TagNotFound if kind == "tag" else VersionNotFound
        raise error(f"{ref} is not installed here", hint=f"datapkg install {ref}")


def _no_setting(name: str) -> InvalidInput:
    """Return the error for a setting that does not exist, with the one that is near or all of them."""
    from datapkg.format.suggestions import close_names

    near = close_names(name, [each for each in SETTINGS if each != "registries"])
    said = f"did you mean {near[0]}?" if near else f"there are {', '.join(SETTINGS)} and registries.NAME"
    return InvalidInput(
        f"there is no setting {quoted(name)}; {said}",
        hint="" if near else "datapkg config",
        **({"meant": [name, near[0]]} if near else {}),
    )


def not_installed(ref: Ref, home: Home | None = None) -> PackageNotInstalled:
    """The error for a package that is not here, with the line that installs it, and one of this `home` that is near."""
    from datapkg.format.suggestions import close_names

    here = [f"{user}/{name}" for user in home.users() for name in home.packages(user)] if home else []
    near = [each for each in close_names(ref.package, here, cutoff=0.8) if each != ref.package][:1]
    advice = f" (did you mean {near[0]!r}?)" if near else ""
    return PackageNotInstalled(f"{ref} is not installed{advice}", hint=f"datapkg install {ref}", package=ref.package)


def _best_version(versions: dict[str, str], specifier: str) -> str | None:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    matching = list(SpecifierSet(specifier).filter(versions, prereleases=True if specifier.startswith("==") else None))
    return versions[max(matching, key=Version)] if matching else None


def _example(name: str) -> str:
    """Return the line that gives a setting its default, which shows how values of it are written."""
    return f"datapkg config {name} {str(SETTINGS[name][1]).lower()}"


def _from_text(name: str, text: str) -> Any:
    if name == "path":
        return [each for each in text.split(os.pathsep) if each]
    if name == "max_source_bytes":
        if not text.strip().isdigit() or len(text) > 30:
            raise InvalidInput(f"setting {name} is a number of bytes, got {text[:80]!r}", hint=_example(name))
        return _checked(name, int(text))
    if name == "lazy":
        if text.strip().lower() not in _BOOLEANS:
            raise InvalidInput(
                f"setting {name} is one of {', '.join(_BOOLEANS)}, got {text[:80]!r}", hint=_example(name)
            )
        return _BOOLEANS[text.strip().lower()]
    if name == "timeout_s":
        try:
            return _checked(name, float(text))
        except ValueError:
            line = f"setting {name} is a number of seconds, got {text[:80]!r}"
            raise InvalidInput(line, hint=_example(name)) from None
    return _checked_registry(text) if name == "registry" else text


def _checked_registry(text: str | None) -> str:
    from datapkg.remote.credentials import check_origin

    return check_origin(text or "")


def _checked(name: str, value: Any) -> Any:
    """A value of the settings file, of the type that its setting has."""
    texts = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    right = {
        "registry": isinstance(value, str),
        "registries": texts,
        "path": isinstance(value, list) and all(isinstance(each, str) for each in value),
        "max_source_bytes": isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 62,
        "lazy": isinstance(value, bool),
        "timeout_s": isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 86_400,
    }[name]
    if not right:
        raise InvalidInput(
            f"setting {name} has a value that it cannot have: {str(value)[:80]!r}", hint="datapkg config"
        )
    return value
