"""The log has all states that a pushed one was made from, as JSON; null for the pushes of before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("log", sa.Column("parents", sa.Text(), nullable=True))
