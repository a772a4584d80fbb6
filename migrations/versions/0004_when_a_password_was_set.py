"""When a password was set; tries to sign in by network address.

Whether somebody is locked out follows from their tries, so it is no column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("password_changed_at", sa.DateTime(timezone=True)))
    op.drop_column("users", "locked_until")
    op.create_index(
        "ix_sign_in_attempts_remote_address_at", "sign_in_attempts", ["remote_address", "at"]
    )


def downgrade() -> None:
    op.drop_index("ix_sign_in_attempts_remote_address_at", table_name="sign_in_attempts")
    op.add_column("users", sa.Column("locked_until", sa.DateTime(timezone=True)))
    op.drop_column("users", "password_changed_at")
