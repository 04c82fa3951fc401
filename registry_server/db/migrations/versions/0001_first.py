"""The first form of the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.BigInteger()
SHORT = sa.String(length=64)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("action", SHORT, nullable=False),
        sa.Column("actor", SHORT, nullable=False),
        sa.Column("subject", sa.String(length=160), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_action", "events", ["action"])
    op.create_index("ix_events_subject", "events", ["subject"])

    op.create_table(
        "objects",
        sa.Column("hash", SHORT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_objects"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "damaged_objects",
        sa.Column("hash", SHORT, nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["objects.hash"], name="fk_damaged_objects_hash"),
        sa.PrimaryKeyConstraint("hash", name="pk_damaged_objects"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "users",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", SHORT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "packages",
        sa.Column("id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("user_name", SHORT, nullable=False),
        sa.Column("name", SHORT, nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("pushed_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_packages_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_packages"),
        sa.UniqueConstraint("user_name", "name", name="uq_packages_user_name_name"),
    )
    op.create_index("ix_packages_pushed_at", "packages", ["pushed_at"])

    op.create_table(
        "pushes",
        sa.Column("id", SHORT, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("package", sa.String(length=128), nullable=False),
        sa.Column("manifest", SHORT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_pushes_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_pushes"),
    )
    op.create_index("ix_pushes_expires_at", "pushes", ["expires_at"])
    op.create_index("ix_pushes_user_id", "pushes", ["user_id"])

    op.create_table(
        "tokens",
        sa.Column("id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("hash", SHORT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tokens_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_index("ix_tokens_user_id", "tokens", ["user_id"])

    op.create_table(
        "grants",
        sa.Column("package_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_grants_package_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_grants_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("package_id", "user_id", name="pk_grants"),
    )
    op.create_index("ix_grants_user_id", "grants", ["user_id"])

    op.create_table(
        "log",
        sa.Column("id", KEY, nullable=False),
        sa.Column("package_id", KEY, nullable=False),
        sa.Column("hash", SHORT, nullable=False),
        sa.Column("parent", SHORT, nullable=True),
        sa.Column("author", SHORT, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("pushed_at", MOMENT, nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_log_package_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_log"),
    )
    op.create_index("ix_log_package_id_id", "log", ["package_id", "id"])

    op.create_table(
        "package_objects",
        sa.Column("package_id", KEY, nullable=False),
        sa.Column("hash", SHORT, nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["objects.hash"], name="fk_package_objects_hash"),
        sa.ForeignKeyConstraint(
            ["package_id"], ["packages.id"], name="fk_package_objects_package_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("package_id", "hash", name="pk_package_objects"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_package_objects_hash", "package_objects", ["hash"])

    op.create_table(
        "push_objects",
        sa.Column("push_id", SHORT, nullable=False),
        sa.Column("hash", SHORT, nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["objects.hash"], name="fk_push_objects_hash"),
        sa.ForeignKeyConstraint(["push_id"], ["pushes.id"], name="fk_push_objects_push_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("push_id", "hash", name="pk_push_objects"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "search",
        sa.Column("package_id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("nodes", sa.Text(), nullable=False),
        sa.Column("readme", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_search_package_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("package_id", name="pk_search"),
    )
    op.create_table(
        "states",
        sa.Column("package_id", KEY, nullable=False),
        sa.Column("hash", SHORT, nullable=False),
        sa.Column("manifest_size", sa.BigInteger(), nullable=False),
        sa.Column("bytes_logical", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("previews", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_states_package_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("package_id", "hash", name="pk_states"),
    )
    op.create_table(
        "tags",
        sa.Column("package_id", KEY, nullable=False),
        sa.Column("name", SHORT, nullable=False),
        sa.Column("hash", SHORT, nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_tags_package_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("package_id", "name", name="pk_tags"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "versions",
        sa.Column("package_id", KEY, nullable=False),
        sa.Column("key", SHORT, nullable=False),
        sa.Column("version", SHORT, nullable=False),
        sa.Column("hash", SHORT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_versions_package_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("package_id", "key", name="pk_versions"),
        sqlite_with_rowid=False,
    )
