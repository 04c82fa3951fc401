"""The tables of the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """A moment as microseconds since 1970 in UTC, equal and sorted alike on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else round(value.timestamp() * 1_000_000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value / 1_000_000, UTC)


Hash = String(64)
Name = String(64)
# SQLite counts up by itself only in a column that is called INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")


def _package_key(**options: Any) -> Column[int]:
    return Column("package_id", Key, ForeignKey("packages.id", ondelete="CASCADE"), **options)


users = Table(
    "users",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("hash", Hash, nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
)

packages = Table(
    "packages",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, ForeignKey("users.id"), nullable=False),
    Column("user_name", Name, nullable=False),
    Column("name", Name, nullable=False),
    Column("public", Boolean(create_constraint=False), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("pushed_at", UtcTime, nullable=False, index=True),
    UniqueConstraint("user_name", "name"),
)

# A state of a package: one manifest. `title`, `description` and the figures are derived from it; `number` is that of
# its first push (`db/numbers.py`).
states = Table(
    "states",
    metadata,
    _package_key(primary_key=True),
    Column("hash", Hash, primary_key=True),
    Column("manifest_size", BigInteger, nullable=False),
    Column("bytes_logical", BigInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("previews", Text, nullable=False),
    # Paths of the tables whose content was not checked, as JSON; null where the state was published before that began.
    Column("unchecked", Text),
    Column("number", BigInteger, nullable=False, server_default="0"),
    Index(None, "package_id", "number", unique=True),
)

# Tables whose content was found to be that of their objects, by `tables/content_claims.claim_key`.
checked_tables = Table(
    "checked_tables",
    metadata,
    Column("key", Hash, primary_key=True),
    Column("checked_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

# The log: one line a push, also where the same state is pushed again later.
log = Table(
    "log",
    metadata,
    Column("id", Key, primary_key=True),
    _package_key(nullable=False),
    Column("hash", Hash, nullable=False),
    Column("parent", Hash),
    Column("author", Name, nullable=False),
    Column("message", Text, nullable=False),
    Column("pushed_at", UtcTime, nullable=False),
    Column("record", Text, nullable=False),
    # The object with the long lists of the record. No reader of the package may read it: its hash is in no reply.
    Column("record_object", Hash, ForeignKey("objects.hash")),
    # The states that this one was made from, as JSON; `parent` is the one that was the latest before.
    Column("parents", Text),
    Index(None, "package_id", "id"),
    Index(None, "package_id", "hash"),
    Index(None, "record_object", "package_id"),
)

tags = Table(
    "tags",
    metadata,
    _package_key(primary_key=True),
    Column("name", Name, primary_key=True),
    Column("hash", Hash, nullable=False),
    Column("moved_at", UtcTime),
    Index(None, "package_id", "hash"),
    sqlite_with_rowid=False,
)

# `key` is equal for versions that PEP 440 calls equal (1.0 and 1.0.0); `yanked` is the reason of a yanked one, or null.
versions = Table(
    "versions",
    metadata,
    _package_key(primary_key=True),
    Column("key", Name, primary_key=True),
    Column("version", Name, nullable=False),
    Column("hash", Hash, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("yanked", Text),
    Index(None, "package_id", "hash"),
    sqlite_with_rowid=False,
)

# What is left of deleted packages: the last number of a state, and the versions, which never name other states.
tombstones = Table(
    "tombstones",
    metadata,
    Column("user_name", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("last_number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
retired_versions = Table(
    "retired_versions",
    metadata,
    Column("user_name", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("version", Name, nullable=False),
    Column("hash", Hash, nullable=False),
    sqlite_with_rowid=False,
)

# Thin wheels, by the package's name, since they outlive it; `state` is the manifest that one pins.
wheels = Table(
    "wheels",
    metadata,
    Column("user_name", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("version", String(100), primary_key=True),
    Column("state", Hash, nullable=False),
    Column("object", Hash, ForeignKey("objects.hash"), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("metadata", Hash, nullable=False),
    Column("requires_python", Name, nullable=False),
    Column("built_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

# By name, whether or not such a user exists, so that adding a reader does not reveal which users exist.
grants = Table(
    "grants",
    metadata,
    _package_key(primary_key=True),
    Column("user_name", Name, primary_key=True, index=True),
    Column("may_write", Boolean(create_constraint=False), nullable=False, server_default=false()),
)

# Every object whose bytes this registry has.
objects = Table(
    "objects",
    metadata,
    Column("hash", Hash, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

# Objects whose bytes were found to be wrong or lost: a push that relies on one has to send it again.
damaged_objects = Table(
    "damaged_objects",
    metadata,
    Column("hash", Hash, ForeignKey("objects.hash"), primary_key=True),
    Column("found_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

# Which package holds an object, in any of its states; through it alone may the object be read.
package_objects = Table(
    "package_objects",
    metadata,
    _package_key(primary_key=True),
    Column("hash", Hash, ForeignKey("objects.hash"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

# Objects that are kept as ranges of others, and these: they have to stay as long. No object is in both columns.
recipe_bases = Table(
    "recipe_bases",
    metadata,
    Column("hash", Hash, ForeignKey("objects.hash"), primary_key=True),
    Column("base", Hash, ForeignKey("objects.hash"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

# The run cache of a package: results of stages by their key, and by the code that the run imported (`code_key`); `code`
# is that, path to hash, as JSON. `size` is that of all its objects. What is not used until `expires_at` is deleted.
stage_results = Table(
    "stage_results",
    metadata,
    Column("id", Key, primary_key=True),
    _package_key(nullable=False),
    Column("key", Hash, nullable=False),
    Column("code_key", Hash, nullable=False),
    Column("code", Text, nullable=False),
    Column("manifest", Hash, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("author", Name, nullable=False),
    Column("filled_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False, index=True),
    Index(None, "package_id", "key", "code_key", unique=True),
)

# The objects of these results, their manifests included.
stage_objects = Table(
    "stage_objects",
    metadata,
    Column("result_id", Key, ForeignKey("stage_results.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", Hash, ForeignKey("objects.hash"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

pushes = Table(
    "pushes",
    metadata,
    Column("id", Name, primary_key=True),
    Column("user_id", Key, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("package", String(128), nullable=False),
    Column("manifest", Hash, nullable=False),
    Column("expires_at", UtcTime, nullable=False, index=True),
)

push_objects = Table(
    "push_objects",
    metadata,
    Column("push_id", Name, ForeignKey("pushes.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", Hash, ForeignKey("objects.hash"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

# What a search looks in: texts of the latest state, casefolded; `originals` has those of keywords, nodes and README as
# they were written, as JSON, to show where a word was found (null where the state was indexed before that began).
search = Table(
    "search",
    metadata,
    _package_key(primary_key=True),
    Column("name", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("nodes", Text, nullable=False),
    Column("readme", Text, nullable=False),
    Column("originals", Text),
)

# The audit: never changed, and kept when its subject is gone.
events = Table(
    "events",
    metadata,
    Column("id", Key, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("action", Name, nullable=False, index=True),
    Column("actor", Name, nullable=False),
    Column("subject", String(160), nullable=False, index=True),
    Column("detail", Text, nullable=False),
)
