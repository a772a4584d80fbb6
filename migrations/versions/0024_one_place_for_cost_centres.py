"""Which cost centre bears what is in allocation rules alone."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Every assignment since rules came wrote a rule too; an older one becomes a rule from the
    # month in hand, unless there is one already.
    op.execute(
        """
        INSERT INTO allocation_rules (account_id, id, tariff_code, meter, dimensions, selector,
            starts_on, ends_on, shares, created_at)
        SELECT c.account_id, 'alr_' || md5(c.tariff_code || '/' || c.meter), c.tariff_code,
            nullif(c.meter, ''), '{}'::jsonb, '{}',
            date_trunc('month', now() AT TIME ZONE 'Europe/London')::date, NULL,
            jsonb_build_array(jsonb_build_object('cost_centre', c.cost_centre,
                'subjective_code', NULL, 'percent', '100')),
            now()
        FROM cost_centres c
        WHERE NOT EXISTS (
            SELECT 1 FROM allocation_rules r
            WHERE r.account_id = c.account_id AND r.tariff_code = c.tariff_code
                AND coalesce(r.meter, '') = c.meter AND r.selector = '{}'
                AND (r.ends_on IS NULL
                    OR r.ends_on > date_trunc('month', now() AT TIME ZONE 'Europe/London'))
        )
        """
    )
    op.drop_table("cost_centres")


def downgrade() -> None:
    op.create_table(
        "cost_centres",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("cost_centre", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_cost_centres_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_cost_centres_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("account_id", "tariff_code", "meter", name=op.f("pk_cost_centres")),
    )
    # What the older table can say: one centre that bears all of a service or meter.
    op.execute(
        """
        INSERT INTO cost_centres (account_id, tariff_code, meter, cost_centre)
        SELECT account_id, tariff_code, coalesce(meter, ''), shares -> 0 ->> 'cost_centre'
        FROM allocation_rules
        WHERE tariff_code IS NOT NULL AND selector = '{}' AND ends_on IS NULL
            AND jsonb_array_length(shares) = 1
        """
    )
    op.execute("SELECT paygo_share('cost_centres', 'SELECT, INSERT, UPDATE, DELETE')")
