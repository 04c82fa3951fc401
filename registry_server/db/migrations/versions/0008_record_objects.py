"""Long lists of build records are objects."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # As SQL: Alembic would rewrite the whole table on SQLite to add a foreign key.
    op.execute("ALTER TABLE log ADD COLUMN record_object VARCHAR(64) REFERENCES objects (hash)")
    op.create_index("ix_log_record_object", "log", ["record_object"])
