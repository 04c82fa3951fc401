"""The contents of a bundle: which states of which packages are in the file, as `bundle.json`, its first member.

A version never moves, so a bundle has all versions that name its states. A tag moves, so it has one only if the state
was named by it when the bundle was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from datapkg.errors import UPGRADE_HINT, CorruptObject, DatapkgError, NewerFormat
from datapkg.format import canonical
from datapkg.format.names import Ref, check_node_path, check_tag, check_version

SUFFIX = ".dpkg"
FORMAT = 1
MAX_CONTENTS_BYTES = 16 << 20

_Hash = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class BundledPackage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """One state: of the node at `path` and below the objects are in the bundle, for "" those of the whole package.

    `registry` is the address that the state came from, None if it was built on the machine that wrote the bundle.
    """

    package: str
    hash: _Hash
    path: str = ""
    registry: str | None = None
    tags: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """Return the package and path, without a state."""
        user, _, name = self.package.partition("/")
        return Ref(user, name, self.path)


class _Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bundle: int
    packages: tuple[BundledPackage, ...]


_decoder = msgspec.json.Decoder(_Contents)


def encode_contents(packages: Iterable[BundledPackage]) -> bytes:
    """Return the bytes of `bundle.json`; of two states of a package, the last becomes current where it is installed."""
    return canonical.encode(_Contents(FORMAT, tuple(dict.fromkeys(packages)))) + b"\n"


def decode_contents(data: bytes) -> tuple[BundledPackage, ...]:
    """Return the packages of `bundle.json`; raise `NewerFormat`, and `CorruptObject` for what is not allowed."""
    try:
        value = msgspec.json.decode(data)
        version = value.get("bundle") if isinstance(value, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise NewerFormat(f"bundle format {version} is newer than what this datapkg reads", hint=UPGRADE_HINT)
        contents = _decoder.decode(data)
        if contents.bundle != FORMAT or not contents.packages:
            raise CorruptObject("it has no format version or no packages")
        for each in contents.packages:
            if Ref.parse(each.package).package != each.package:
                raise CorruptObject(f"{each.package!r} is not a package")
            if each.path:
                check_node_path(each.path)
            for tag in each.tags:
                check_tag(tag)
            for name in each.versions:
                check_version(name)
    except NewerFormat:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DatapkgError) as error:
        raise CorruptObject(f"bundle.json is not valid: {error}") from error
    return contents.packages
