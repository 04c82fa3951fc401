"""Find the registry of a package: the one to ask, the one that a state came from, and the one that has its data."""

from __future__ import annotations

import re
from functools import partial

from datapkg.errors import InvalidInput, Refused
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.wheel_pins import wheel_pin

# How many earlier states are searched for the packages whose nodes a state contains.
_PARENTS = 100

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.objects.base import Readable


def allowed_registry(home: Home, ref: Ref, given: str | None, hint: str = "") -> str:
    """Return the address of the registry to ask for a ref; `given` is the one that the user named for this call.

    Raise `Refused` (with `detail["registry"]` and this `hint`) for one that is neither in the settings nor named by the
    user.
    """
    if ref.registry is None:
        return home.registry_url(given)
    url = home.registry_url(ref.registry)
    if given is not None and home.registry_url(given) != url:
        raise InvalidInput(f"{ref} names the registry {url}, but --registry says {home.registry_url(given)}")
    if given is None and "://" in ref.registry and not home.is_known(url):
        raise Refused(
            f"the registry {url} is not in your settings; it was not asked for {ref.package}",
            hint=hint or f"if you trust it, add: --registry {url}",
            registry=url,
        )
    return url


def pinned_registry(home: Home, wanted: Ref, given: str | None) -> str:
    """Return the registry to ask for a state that a wheel pins; `wanted` has the registry that the wheel names.

    If the settings do not name that one, it is their own, which may be the same under another address: the state is
    known by its hash. Raise `Refused` where they have none.
    """
    assert wanted.registry is not None
    own = home.settings.get("registry").value
    if given is None and own and not home.is_known(home.registry_url(wanted.registry)):
        return home.registry_url()
    return allowed_registry(home, wanted, given, consent_line(home, wanted.registry))


def consent_line(home: Home, url: str) -> str:
    """Return the command that adds a registry to the settings, so that it may be asked from then on."""
    from urllib.parse import urlsplit

    if not home.settings.get("registry").value:
        return f"datapkg config registry {url}"
    host = re.sub(r"[^A-Za-z0-9]+", "_", urlsplit(url).netloc).strip("_")
    name = host if host[:1].isalpha() else f"registry_{host}".rstrip("_")
    return f"datapkg config registries.{name} {url}"


def registry_of(home: Home, ref: Ref, given: str | None = None) -> str:
    """Return the address of the registry that has the data of an exact ref.

    It is the given one, else the one that the state came from, else the one of the wheel that pins the state, of the
    ref or of the settings.

    Raise `InvalidInput` where none is set, `Refused` as `allowed_registry` does.
    """
    if given is not None or ref.registry is not None:
        return allowed_registry(home, ref, given)
    assert ref.state is not None
    if origin := origin_of(home, ref, ref.state.value):
        return origin
    pinned = wheel_pin(ref.package)
    if pinned is None or pinned[1].hash != ref.state.value:
        return allowed_registry(home, ref, None)
    return pinned_registry(home, Ref(ref.user, ref.name, registry=pinned[1].registry), None)


def objects_of(home: Home, ref: Ref, given: str | None = None) -> Readable:
    """Return the objects of an exact ref that are not on this machine, from the registry that has them.

    Those of a state that was made here of other packages, and not pushed, are read from these packages.
    """
    from datapkg.objects.combined import CombinedObjects

    assert ref.state is not None

    def own() -> Readable:
        return home.client(registry_of(home, ref, given)).objects(ref)

    if origin_of(home, ref, ref.state.value) is not None:
        return own()
    homes = []
    for pin in _pins(home, ref, ref.state.value):
        if pin.state and home.store.holds(pin.state.value):
            held = home.store.manifest(pin.state.value).objects()
            homes.append((held, partial(_objects_of_pin, home, pin)))
    return CombinedObjects(homes, own) if homes else own()


def _objects_of_pin(home: Home, exact: Ref) -> Readable:
    return home.client(registry_of(home, exact)).objects(exact)


def _pins(home: Home, ref: Ref, hash: str) -> list[Ref]:
    """Return the states whose nodes a state built here contains, by its record and those of the states before."""
    found: dict[str, Ref] = {}
    for _ in range(_PARENTS):
        record = home.store.record(ref, hash) or {}
        for pin in record.get("packages", ()):
            package = Ref.parse(str(pin["package"]))
            found[str(pin["hash"])] = Ref(package.user, package.name, state=State("hash", str(pin["hash"])))
        if "parent" not in record:
            break
        hash = str(record["parent"])
    return list(found.values())


def origin_of(home: Home, ref: Ref, hash: str) -> str | None:
    """Return the registry that a state on this machine came from, if it came from one."""
    refs = home.store.refs
    current = refs.current(ref)
    if current and current.hash == hash and current.origin != "local":
        return current.origin
    return next((each.origin for each in refs.log(ref, "push", "install", hash=hash) if each.origin != "local"), None)
