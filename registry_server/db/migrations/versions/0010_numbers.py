"""States have numbers, and deleted packages leave their last number and their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("states", sa.Column("number", sa.BigInteger(), nullable=False, server_default="0"))
    _number_states(op.get_bind())
    op.create_index("ix_states_package_id_number", "states", ["package_id", "number"], unique=True)
    name = sa.String(length=64)
    op.create_table(
        "tombstones",
        sa.Column("user_name", name, nullable=False),
        sa.Column("name", name, nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_name", "name", name="pk_tombstones"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "retired_versions",
        sa.Column("user_name", name, nullable=False),
        sa.Column("name", name, nullable=False),
        sa.Column("key", name, nullable=False),
        sa.Column("version", name, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("user_name", "name", "key", name="pk_retired_versions"),
        sqlite_with_rowid=False,
    )


def _number_states(connection: sa.Connection) -> None:
    """Number the states of each package in the order of their first pushes."""
    known = set(
        map(tuple, connection.execute(sa.text("SELECT package_id, hash FROM states ORDER BY package_id, hash")))
    )
    pushed = map(tuple, connection.execute(sa.text("SELECT package_id, hash FROM log ORDER BY id")))
    last: dict[int, int] = {}
    rows = []
    for package_id, hash in dict.fromkeys([*(each for each in pushed if each in known), *sorted(known)]):
        last[package_id] = last.get(package_id, 0) + 1
        rows.append({"id": package_id, "hash": hash, "number": last[package_id]})
    change = sa.text("UPDATE states SET number = :number WHERE package_id = :id AND hash = :hash")
    if rows:
        connection.execute(change, rows)
