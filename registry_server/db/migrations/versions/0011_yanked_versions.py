"""Versions can be yanked: `yanked` is the reason, "" without one, null where the version was not yanked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("yanked", sa.Text(), nullable=True))
