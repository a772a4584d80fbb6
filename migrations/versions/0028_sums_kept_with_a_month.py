"""What a month's charges come to is kept with its rating."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "month_ratings",
        sa.Column("amount", sa.Numeric(18, 2), nullable=False, server_default="0.00"),
    )
    connection = op.get_bind()
    # Read before it is written: a cluster joins no local table to a distributed one here.
    for month, amount in connection.execute(
        sa.text("SELECT month, sum(amount) FROM charges GROUP BY month")
    ).all():
        connection.execute(
            sa.text("UPDATE month_ratings SET amount = :amount WHERE month = :month"),
            {"month": month, "amount": amount},
        )


def downgrade() -> None:
    op.drop_column("month_ratings", "amount")
