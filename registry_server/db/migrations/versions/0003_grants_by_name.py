"""Grants name a user instead of referring to one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("grants", "older_grants")
    op.drop_index("ix_grants_user_id", "older_grants")
    if op.get_bind().dialect.name == "postgresql":  # where names of constraints are those of the whole schema
        op.execute("ALTER TABLE older_grants RENAME CONSTRAINT pk_grants TO pk_older_grants")
    op.create_table(
        "grants",
        sa.Column("package_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_name", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_grants_package_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("package_id", "user_name", name="pk_grants"),
    )
    op.create_index("ix_grants_user_name", "grants", ["user_name"])
    op.execute(
        "INSERT INTO grants (package_id, user_name) SELECT older_grants.package_id, users.name "
        "FROM older_grants JOIN users ON users.id = older_grants.user_id"
    )
    op.drop_table("older_grants")
