"""datapkg: data, installed and imported like code.

>>> import datapkg
>>> datapkg.install("uciml/iris")
>>> from datapkg.data.uciml import iris
>>> iris.measurements()          # a pandas DataFrame
"""

from importlib import import_module as _import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.api.inventory import access, config, gc, lock, log, ls, rm, status, tag, version
    from datapkg.api.metrics import log_metrics
    from datapkg.api.public import (
        bundle,
        copy,
        edit,
        export,
        fetch,
        install,
        install_bundle,
        load,
        login,
        merge,
        open,
        open_hook,
        push,
        search,
        sync,
        verify,
    )
    from datapkg.api.public_build import build, check
    from datapkg.api.tracking import runs, track
    from datapkg.api.urls import urls
    from datapkg.errors import (
        BuildFailed,
        Conflict,
        DatapkgError,
        IntegrityError,
        InvalidInput,
        MissingDependency,
        NotFound,
        PackageNotInstalled,
        Refused,
        Unreachable,
    )
    from datapkg.format.names import Ref
    from datapkg.reading.nodes.base import kind, meta, name, ref, size
    from datapkg.reading.nodes.functions import (
        filter,
        find,
        frames,
        hash,
        items,
        keys,
        plot,
        prefetch,
        shard,
        to_frame,
        values,
        walk,
    )

__version__ = "0.1.0"

_PLACES = {
    "datapkg.api.public": (
        *(
            "bundle",
            "copy",
            "edit",
            "export",
            "fetch",
            "install",
            "install_bundle",
            "load",
            "login",
            "merge",
            "open",
            "open_hook",
        ),
        *("push", "search", "sync", "verify"),
    ),
    "datapkg.api.public_build": ("build", "check"),
    "datapkg.api.inventory": ("access", "config", "gc", "lock", "log", "ls", "rm", "status", "tag", "version"),
    "datapkg.api.metrics": ("log_metrics",),
    "datapkg.api.tracking": ("runs", "track"),
    "datapkg.api.urls": ("urls",),
    "datapkg.reading.nodes.base": ("kind", "meta", "name", "ref", "size"),
    "datapkg.reading.nodes.functions": (
        *(
            "filter",
            "find",
            "frames",
            "hash",
            "items",
            "keys",
            "plot",
            "prefetch",
            "shard",
            "to_frame",
            "values",
            "walk",
        ),
    ),
    "datapkg.format.names": ("Ref",),
    "datapkg.errors": (
        *("BuildFailed", "Conflict", "DatapkgError", "IntegrityError", "InvalidInput", "MissingDependency"),
        *("NotFound", "PackageNotInstalled", "Refused", "Unreachable"),
    ),
    # What `%load_ext datapkg` looks for here: the command line in a notebook, of which nothing else here knows.
    "datapkg.cli.notebook": ("load_ipython_extension", "unload_ipython_extension"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "BuildFailed",
    "Conflict",
    "DatapkgError",
    "IntegrityError",
    "InvalidInput",
    "MissingDependency",
    "NotFound",
    "PackageNotInstalled",
    "Ref",
    "Refused",
    "Unreachable",
    "access",
    "build",
    "bundle",
    "check",
    "config",
    "copy",
    "edit",
    "export",
    "fetch",
    "filter",
    "find",
    "frames",
    "gc",
    "hash",
    "install",
    "install_bundle",
    "items",
    "keys",
    "kind",
    "load",
    "lock",
    "log",
    "log_metrics",
    "login",
    "ls",
    "merge",
    "meta",
    "name",
    "open",
    "open_hook",
    "plot",
    "prefetch",
    "push",
    "ref",
    "rm",
    "runs",
    "search",
    "shard",
    "size",
    "status",
    "sync",
    "tag",
    "to_frame",
    "track",
    "urls",
    "values",
    "verify",
    "version",
    "walk",
]


def __getattr__(name: str) -> object:
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'datapkg' has no attribute {name!r}")
    value = getattr(_import_module(_PLACE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
