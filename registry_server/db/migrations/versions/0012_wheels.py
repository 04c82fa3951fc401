"""Thin wheels of states and versions; those of states from before are built when the registry starts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name, hash = sa.String(length=64), sa.String(length=64)
    op.create_table(
        "wheels",
        sa.Column("user_name", name, nullable=False),
        sa.Column("name", name, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("state", hash, nullable=False),
        sa.Column("object", hash, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("metadata", hash, nullable=False),
        sa.Column("requires_python", name, nullable=False),
        sa.Column("built_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_name", "name", "version", name="pk_wheels"),
        sa.ForeignKeyConstraint(["object"], ["objects.hash"], name="fk_wheels_object_objects"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_wheels_object", "wheels", ["object"])
