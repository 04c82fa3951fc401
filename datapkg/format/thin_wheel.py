"""Thin wheels: a state of a package as a distribution for pip, uv and poetry, which pins it and has no data.

A wheel holds three files in the package tree of datapkg. `NAME.pin.json` names the state and its registry.
`NAME.py` has the same bytes in every wheel, so that nothing of a publisher is ever executed. `NAME.pyi` is for type
checkers. Equal manifests give equal bytes, in every version of datapkg that has the same text of stubs; the registry
builds a wheel once and keeps it.

A wheel requires no other distribution: `datapkg` on the public index is another project, and uv does not take what a
package requires from an explicit index.
"""

from __future__ import annotations

import re

from datapkg.errors import InvalidName
from datapkg.format import canonical
from datapkg.format.frozen import dataclass
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import check_package, check_user, check_version
from datapkg.format.stubs import module_stub
from datapkg.format.texts import visible
from datapkg.format.wheel_archive import wheel_archive, wheel_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.format.manifest.parsed import Manifest

FORMAT = 1
PREFIX = "datapkg-"
HASH_DIGITS = 16
# The stub has as much detail as this allows.
MAX_BYTES = 10_000
_SIZE_DIGITS = 4  # of the stub's size in RECORD, where that of an empty one has one
MAX_SUMMARY = 200
REQUIRES_PYTHON = ">=3.11"

# It takes the line that installs the client from the file beside it, since it cannot differ between wheels.
MODULE = b"""\
try: from datapkg.reading.importer import become_package as __become__
except ImportError as error: raise ImportError(f"{__name__} needs the client of datapkg; type: {__import__('json').loads(__loader__.get_data(__file__[:-2] + 'pin.json'))['client']}") from error
__become__(__name__, __file__)
"""  # noqa: E501

_WEB = ("http://", "https://")
_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class ThinWheel:
    """A thin wheel: its file name, its bytes, its core metadata (PEP 658), and the sha256 of both."""

    file_name: str
    data: bytes
    sha256: str
    metadata: bytes
    metadata_sha256: str


def distribution_name(package: str) -> str:
    """Return the name of a package's distribution, normalized (PEP 503): `datapkg-uciml-iris` for `uciml/iris`."""
    return PREFIX + package.replace("/", "-").replace("_", "-")


def package_of(distribution: str) -> str | None:
    """Return the package of a distribution, whose name may have any form that pip accepts; None for another name.

    Names of users have no separators, so each distribution is of one package.
    """
    name = _SEPARATORS.sub("-", distribution).lower()
    user, _, rest = name.removeprefix(PREFIX).partition("-")
    if not name.startswith(PREFIX):
        return None
    try:
        return f"{check_user(user)}/{check_package(rest.replace('-', '_'))}"
    except InvalidName:
        return None


def wheel_version(version: str | None, number: int, hash: str) -> str:
    """Return the version of a state's wheel in normal form (PEP 440): `1.2.0+h…`, or `0.dev7+h…` without a version.

    `number` counts the states of the package, and `hash` is the state's.
    """
    public = check_version(version) if version is not None else f"0.dev{number}"
    return f"{public}+h{hash[:HASH_DIGITS]}"


def thin_wheel(manifest: Manifest, package: str, registry_url: str, version: str) -> ThinWheel:
    """Return the wheel of a state of `package`, under the version that `wheel_version` gave."""
    stem = f"{distribution_name(package).replace('-', '_')}-{version}"
    module, info = f"datapkg/data/{package}", f"{stem}.dist-info"
    metadata = _metadata(manifest, package, registry_url, version)
    members = {
        f"{module}.pin.json": pin_file(package, registry_url, manifest.hash),
        f"{module}.py": MODULE,
        f"{module}.pyi": b"",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": wheel_metadata("datapkg"),
    }
    # Made with an empty stub first, to find out how much room is left for it.
    room = MAX_BYTES - len(wheel_archive(members, info)) - _SIZE_DIGITS
    members[f"{module}.pyi"] = module_stub(package, manifest, room).encode()
    data = wheel_archive(members, info)
    return ThinWheel(f"{stem}-py3-none-any.whl", data, hash_bytes(data), metadata, hash_bytes(metadata))


def pin_file(package: str, registry_url: str, hash: str) -> bytes:
    """Return the bytes of a wheel's `NAME.pin.json`."""
    pin = {
        "client": client_line(registry_url),
        "format": FORMAT,
        "hash": hash,
        "package": package,
        "registry": registry_url,
    }
    return canonical.encode(pin) + b"\n"


def client_line(registry_url: str) -> str:
    """Return the command that installs the client, which a registry serves in its own version.

    It has neither version nor hash, because a wheel outlives the version of the registry that built it. A registry in
    a folder or bucket serves no client.
    """
    if registry_url.startswith(_WEB):
        return f"pip install -r {registry_url}/client/requirements.txt"
    return f"pip install FILE (a wheel of datapkg, from whoever keeps {registry_url})"


def _metadata(manifest: Manifest, package: str, registry_url: str, version: str) -> bytes:
    title = manifest.meta.get("title")
    about = f": {visible(' '.join(title.split()), MAX_SUMMARY)}" if isinstance(title, str) and title.strip() else ""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {distribution_name(package)}",
        f"Version: {version}",
        f"Summary: The data package {package}{about}",
        *([f"Project-URL: Data, {registry_url}/{package}"] if registry_url.startswith(_WEB) else []),
        f"Requires-Python: {REQUIRES_PYTHON}",
    ]
    return "\n".join([*lines, ""]).encode()
