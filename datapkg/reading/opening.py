"""Open a state of a package as a `Source`: the one that a ref names, or one that another process had open."""

from __future__ import annotations

from pathlib import Path

from datapkg import __version__
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.origins import allowed_registry
from datapkg.reading.observers import note_opened
from datapkg.reading.source import Remote, Source, open_store
from datapkg.resolve import find_or_fetch, find_to_read
from datapkg.wheel_pins import is_wheel_pin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def open_source(ref: Ref, home: Home, *, lazy: bool = False, registry: str | None = None) -> Source:
    """Return the state that a ref names, to be read from; the arguments and errors are those of `load`.

    Of a ref without a state, the lock of the running code decides before that of the working directory. A state that a
    wheel pins is read lazily.
    """
    found = find_or_fetch(home, ref, registry, of_code=True) if lazy else find_to_read(home, ref, of_code=True)
    note_opened(ref.at(State("hash", found.hash)), ref.state is not None)
    is_lazy = lazy or is_wheel_pin(found.why)
    if not is_lazy or found.store is not home.store:
        # Also of a shared store: it is read only, and nothing may be fetched into it.
        return Source(found.store, ref, found.hash, home=home)
    return Source(found.store, ref, found.hash, Remote(home, _allowed_registry(home, ref, registry)))


def _allowed_registry(home: Home, ref: Ref, registry: str | None) -> str | None:
    """Return the registry that the caller or the ref names; raise `Refused` if it may not be asked."""
    return allowed_registry(home, ref, registry) if registry or ref.registry else None


def dump_source(source: Source) -> dict[str, Any]:
    """Return, as plain values, what another process needs to open a state in the same way; no token is included."""
    store = source.store
    return {
        "datapkg": __version__,
        "ref": str(source.ref),
        "store": str(store.folder),
        "index": str(store.index_path),
        "links": str(store.links_folder),
        "shared": [str(each) for each in store.shared],
        "parts": source.parts,
        "lazy": source.is_lazy,
        "registry": source.remote.registry if source.remote else None,
    }


def load_source(values: dict[str, Any]) -> Source:
    """Return the state that `dump_source` described: in the same store or, if it is gone, in those of this process.

    Raise `PackageNotInstalled` if no store has it and it was not opened lazily, `InvalidInput` if another version of
    datapkg described it: pickles travel between processes, they are not a stored format.
    """
    if (made_by := values.get("datapkg")) != __version__:
        raise InvalidInput(
            f"this pickle was made by datapkg {made_by or 'of an older version'}; this is datapkg {__version__}, which "
            "cannot read it",
            hint=f"datapkg.load({str(values.get('ref', 'USER/NAME'))!r}), or install the same version on both sides",
        )
    ref = Ref.parse(values["ref"])
    assert ref.state is not None
    store = open_store(
        Path(values["store"]), Path(values["index"]), Path(values["links"]), [*map(Path, values["shared"])]
    )
    if not store.holds(ref.state.value):
        source = open_source(ref, Home(), lazy=values["lazy"], registry=values["registry"])
    else:
        remote = Remote(Home(), values["registry"]) if values["lazy"] else None
        source = Source(store, ref, ref.state.value, remote)
    for part in values["parts"]:
        source = source.shard(*part)
    return source
