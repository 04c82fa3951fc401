"""No request reads the whole history of a package: tags have the time of their last move, and hashes are indexed."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tags", sa.Column("moved_at", sa.BigInteger(), nullable=True))
    op.drop_index("ix_log_record_object", "log")
    op.create_index("ix_log_record_object_package_id", "log", ["record_object", "package_id"])
    for table in ("log", "tags", "versions"):
        op.create_index(f"ix_{table}_package_id_hash", table, ["package_id", "hash"])
    _fill_moved_at(op.get_bind())


def _fill_moved_at(connection: sa.Connection) -> None:
    moved: dict[tuple[str, str], int] = {}
    told = sa.text("SELECT subject, detail, at FROM events WHERE action = 'package:tag' ORDER BY id")
    for subject, detail, at in connection.execute(told):
        moved[subject, json.loads(detail).get("tag", "")] = at
    rows = connection.execute(
        sa.text(
            "SELECT tags.package_id, tags.name, packages.user_name, packages.name FROM tags "
            "JOIN packages ON packages.id = tags.package_id"
        )
    ).all()
    change = sa.text("UPDATE tags SET moved_at = :at WHERE package_id = :id AND name = :tag")
    for package_id, tag, user, name in rows:
        if at := moved.get((f"{user}/{name}", tag)):
            connection.execute(change, {"at": at, "id": package_id, "tag": tag})
