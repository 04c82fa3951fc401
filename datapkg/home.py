"""The stores, credentials and registry clients of one user, as the settings describe them."""

from __future__ import annotations

import os
import time
from functools import cached_property
from pathlib import Path

from datapkg.errors import InvalidInput
from datapkg.format.suggestions import did_you_mean
from datapkg.settings import UserSettings
from datapkg.store.index import Index
from datapkg.store.store import Store
from datapkg.wheel_pins import pinned_packages

# How long an address is asked for the files of a registry before it is taken for a server.
_PROBE_S = 5.0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from datapkg.remote.client import Client
    from datapkg.remote.credentials import Credential, Credentials
    from datapkg.remote.session import RegistrySession
    from datapkg.remote.time_limits import CommandDeadline, RateLimit


class Home:
    """What one user has on this machine: the settings, and all that is opened by them, each on its first use."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.settings = UserSettings(environ)
        self.data, self.config, self.cache = self.settings.data, self.settings.config, self.settings.cache
        self._begun_at: float | None = None
        self._kinds: dict[str, bool] = {}

    def begin_command(self) -> None:
        """Begin the time in which one command may use registries; without this call it has no limit."""
        self._begun_at = time.monotonic()

    @cached_property
    def _rate(self) -> RateLimit:
        from datapkg.remote.time_limits import RateLimit

        return RateLimit(self.settings.get("bwlimit").value)

    @cached_property
    def index(self) -> Index:
        """Return the index in the cache folder, which remembers what was verified and computed."""
        return Index(self.cache / "index.db")

    @cached_property
    def store(self) -> Store:
        """The store that is written to; one on read-only media has its links in the cache folder."""
        folder = self.data / "store"
        is_read_only = not os.access(folder, os.W_OK) and folder.exists()
        return Store(folder, self.index, self.cache / "links" if is_read_only else None, self._shared)

    @cached_property
    def _shared(self) -> list[Path]:
        folders = [Path(each).expanduser().absolute() for each in self.settings.get("path").value]
        return [each for each in folders if each.is_dir()]

    @cached_property
    def stores(self) -> list[Store]:
        """The stores in the order in which they are searched."""
        return [self.store, *(Store(each, self.index, self.cache / "links") for each in self._shared)]

    @cached_property
    def credentials(self) -> Credentials:
        """Return the tokens of this user."""
        from datapkg.remote.credentials import Credentials

        return Credentials(self.config / "credentials.json")

    def registry_url(self, named: str | None = None) -> str:
        """Return the address of a registry: one named in the settings, an address, or (None) the one of the settings.

        Raise `InvalidInput`, with the command to type, if there is none.
        """
        from datapkg.remote.addresses import check_address, is_folder
        from datapkg.remote.credentials import with_scheme

        if named is not None and ("://" in named or is_folder(named)):
            return check_address(named)
        if named is not None:
            known = self.settings.get("registries").value
            if named not in known:
                names = ", ".join(sorted(known)) or "none"
                message = f"there is no registry named {named!r} in the settings; there are: {names}"
                if meant := with_scheme(named):
                    raise InvalidInput(message + did_you_mean([meant]), meant=[named, meant])
                raise InvalidInput(message, hint=f"datapkg config registries.{named} https://data.example.org")
            return check_address(known[named])
        if not self.settings.get("registry").value:
            raise InvalidInput(
                "no registry is set", hint="datapkg config registry https://data.example.org (or set DATAPKG_REGISTRY)"
            )
        return check_address(self.settings.get("registry").value)

    def is_known(self, url: str) -> bool:
        """Return whether the settings name this registry; others are asked only if the user agrees."""
        from datapkg.remote.addresses import check_address

        known = [self.settings.get("registry").value, *self.settings.get("registries").value.values()]
        return url in {check_address(each) for each in known if each}

    def credential(self, url: str) -> Credential:
        """Return the token for a registry: `DATAPKG_TOKEN` for `DATAPKG_REGISTRY` alone, else what `login` kept.

        Without a token the source is the reason why `DATAPKG_TOKEN` is not it.
        """
        from datapkg.remote.addresses import check_address
        from datapkg.remote.credentials import Credential, check_token

        environ = self.settings.environ
        given, registry = environ.get("DATAPKG_TOKEN"), environ.get("DATAPKG_REGISTRY")
        login = f"datapkg login --registry {url}"
        if given and registry and check_address(registry) == url:
            hint = "set DATAPKG_TOKEN to a valid token, or unset it to use the one of `datapkg login`"
            return Credential(check_token(given), "DATAPKG_TOKEN", hint)
        if token := self.credentials.token(url):
            return Credential(token, "`datapkg login`", login)
        if given:
            where = f"is {check_address(registry)}" if registry else "is not set"
            why = f"DATAPKG_TOKEN is only sent to the registry in DATAPKG_REGISTRY, which {where}"
            return Credential(None, why, f"export DATAPKG_REGISTRY={url}")
        return Credential(None, "", login)

    def client(self, named: str | None = None, token: str | None = None, *, wait_s: float | None = None) -> Client:
        """Return a client of a registry (see `registry_url`), with the token kept for it.

        With `wait_s`, it tries each request once, for at most so long.
        """
        from datapkg.remote.addresses import is_server

        url = self.registry_url(named)
        if not is_server(url) or (token is None and self._is_web_site(url)):
            return self._static_client(url, wait_s)
        from datapkg.remote.http_client import HttpClient

        return HttpClient(self._session(url, token, wait_s))

    def _is_web_site(self, url: str) -> bool:
        """Return whether an address without a path has the files of a registry instead of a server; asked once.

        Where there is a token, it is a server's.
        """
        if url not in self._kinds and self.credential(url).token is None:
            from datapkg.remote.static.web import is_static

            self._kinds[url] = is_static(self._session(url, None, _PROBE_S))
        return self._kinds.get(url, False)

    def _session(self, url: str, token: str | None, wait_s: float | None) -> RegistrySession:
        from datapkg.remote.credentials import Credential
        from datapkg.remote.session import RegistrySession

        setting = self.settings.get
        credential = Credential(token, "", f"datapkg login --registry {url}") if token else self.credential(url)
        limits = {"read_timeout_s": setting("timeout_s").value, "jobs": setting("jobs").value, "rate": self._rate}
        if wait_s is not None:
            limits |= {"read_timeout_s": wait_s, "tries": 1}
        return RegistrySession(url, credential, command=self._deadline, **limits)

    def _static_client(self, url: str, wait_s: float | None) -> Client:
        from datapkg.remote.addresses import is_web
        from datapkg.remote.static.client import StaticClient
        from datapkg.remote.static.counted import CountedBlobs
        from datapkg.remote.static.opening import open_blobs
        from datapkg.remote.static.seen import SeenLogs

        blobs = open_blobs(url, self._session(url, None, wait_s) if is_web(url) else None)
        counted = CountedBlobs(blobs, self._rate, self._deadline, self.settings.get("jobs").value)
        return StaticClient(counted, SeenLogs(self.data / "registries", url), self._author)

    @property
    def _author(self) -> str:
        """The name of the user at this machine; a registry without a server knows no other."""
        import pwd

        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container runs as a number that has no name
            return ""

    @property
    def _deadline(self) -> CommandDeadline:
        from datapkg.remote.time_limits import CommandDeadline

        max_time_s = self.settings.get("max_time_s").value
        return CommandDeadline() if self._begun_at is None else CommandDeadline(max_time_s, self._begun_at)

    def users(self) -> list[str]:
        """Return the users that have a package on this machine or in a wheel of this environment, in order."""
        pinned = {package.partition("/")[0] for package in pinned_packages()}
        return sorted({user for store in self.stores for user in store.refs.users()} | pinned)

    def packages(self, user: str) -> list[str]:
        """Return the names of a user's packages on this machine and in wheels of this environment, in order."""
        pinned = {package.partition("/")[2] for package in pinned_packages() if package.startswith(f"{user}/")}
        return sorted({ref.name for store in self.stores for ref in store.refs.packages(user)} | pinned)

    def has_user(self, user: str) -> bool:
        """Return whether a user has a package on this machine."""
        return any(store.refs.has_user(user) for store in self.stores)
