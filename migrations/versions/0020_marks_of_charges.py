"""Ratings remember a mark of each charge, so that only the charges that differ are written."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("ratings", "result_fingerprint")
    # Not known for what is there already: its charges are replaced when it is next rated.
    op.add_column("ratings", sa.Column("charge_marks", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("ratings", "charge_marks")
    op.add_column("ratings", sa.Column("result_fingerprint", sa.Text(), nullable=True))
    op.execute("UPDATE ratings SET result_fingerprint = ''")
    op.alter_column("ratings", "result_fingerprint", nullable=False)
