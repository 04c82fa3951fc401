"""The objects of pushes are found by their hash."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_push_objects_hash", "push_objects", ["hash"])
