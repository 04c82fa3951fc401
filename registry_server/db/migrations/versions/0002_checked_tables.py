"""Which tables hold the content that their manifests state, and which of a state were not checked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checked_tables",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_checked_tables"),
        sqlite_with_rowid=False,
    )
    op.add_column("states", sa.Column("unchecked", sa.Text(), nullable=True))
