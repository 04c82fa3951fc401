"""Searched texts as they were written, beside the casefolded ones, to show where a word was found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("search", sa.Column("originals", sa.Text(), nullable=True))
