"""Objects kept as ranges of other objects, which must stay as long as they do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recipe_bases",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("base", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("hash", "base", name="pk_recipe_bases"),
        sa.ForeignKeyConstraint(["hash"], ["objects.hash"], name="fk_recipe_bases_hash_objects"),
        sa.ForeignKeyConstraint(["base"], ["objects.hash"], name="fk_recipe_bases_base_objects"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_recipe_bases_base", "recipe_bases", ["base"])
