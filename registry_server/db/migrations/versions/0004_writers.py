"""Grants say whether their user may write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("may_write", sa.Boolean(), nullable=False, server_default=sa.false()))
