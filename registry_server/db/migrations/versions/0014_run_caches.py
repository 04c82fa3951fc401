"""Run caches of packages: results of stages, and their objects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    hash, key = sa.String(length=64), sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "stage_results",
        sa.Column("id", key, nullable=False),
        sa.Column("package_id", key, nullable=False),
        sa.Column("key", hash, nullable=False),
        sa.Column("code_key", hash, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("manifest", hash, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("filled_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stage_results"),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name="fk_stage_results_package_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_stage_results_expires_at", "stage_results", ["expires_at"])
    columns = ["package_id", "key", "code_key"]
    op.create_index("ix_stage_results_package_id_key_code_key", "stage_results", columns, unique=True)
    op.create_table(
        "stage_objects",
        sa.Column("result_id", key, nullable=False),
        sa.Column("hash", hash, nullable=False),
        sa.PrimaryKeyConstraint("result_id", "hash", name="pk_stage_objects"),
        sa.ForeignKeyConstraint(
            ["result_id"], ["stage_results.id"], name="fk_stage_objects_result_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["hash"], ["objects.hash"], name="fk_stage_objects_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_stage_objects_hash", "stage_objects", ["hash"])
