"""Local agreements: dated terms of an account or group; approved ones never change."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Contents stand from the proposal on; an approved one may only end earlier, by two people.
_GUARD = """
    CREATE FUNCTION paygo_guard_local_agreement() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        ending text[] := ARRAY['ends_on', 'end_proposed_on', 'end_proposed_by', 'end_approved_by'];
        deciding text[] := ARRAY['status', 'decided_by', 'decided_at'];
    BEGIN
        IF TG_OP = 'UPDATE' AND OLD.status = 'proposed'
            AND to_jsonb(NEW) - deciding = to_jsonb(OLD) - deciding THEN
            RETURN NEW;
        ELSIF TG_OP = 'UPDATE' AND OLD.status = 'approved'
            AND to_jsonb(NEW) - ending = to_jsonb(OLD) - ending
            AND (NEW.ends_on IS NOT DISTINCT FROM OLD.ends_on
                OR (NEW.ends_on < coalesce(OLD.ends_on, 'infinity')
                    AND NEW.end_approved_by <> NEW.end_proposed_by)) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'local agreement % is %: its contents cannot change', OLD.id, OLD.status
            USING ERRCODE = 'integrity_constraint_violation';
    END $$
"""


def upgrade() -> None:
    op.create_table(
        "local_agreements",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("group_code", sa.Text(), nullable=True),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("terms", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_proposed_on", sa.Date(), nullable=True),
        sa.Column("end_proposed_by", sa.Text(), nullable=True),
        sa.Column("end_approved_by", sa.Text(), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.text("coalesce(account_id, '')"), "="),
            (sa.text("coalesce(group_code, '')"), "="),
            (sa.column("tariff_code"), "="),
            (sa.text("daterange(starts_on, ends_on)"), "&&"),
            where=sa.text("status = 'approved'"),
            using="gist",
            name="ex_local_agreements_one_at_a_time",
        ),
        sa.CheckConstraint(
            "status <> 'approved' OR (decided_by IS NOT NULL AND decided_by <> proposed_by)",
            name=op.f("ck_local_agreements_four_eyes"),
        ),
        sa.CheckConstraint(
            "status IN ('proposed', 'approved', 'rejected')",
            name=op.f("ck_local_agreements_status"),
        ),
        sa.CheckConstraint(
            "(account_id IS NULL) <> (group_code IS NULL)",
            name=op.f("ck_local_agreements_one_owner"),
        ),
        sa.CheckConstraint(
            "ends_on IS NULL OR ends_on > starts_on",
            name=op.f("ck_local_agreements_ends_after_start"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_local_agreements_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_local_agreements_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_local_agreements")),
    )
    op.execute(_GUARD)
    op.execute(
        "CREATE TRIGGER approved_is_immutable BEFORE UPDATE OR DELETE ON local_agreements "
        "FOR EACH ROW EXECUTE FUNCTION paygo_guard_local_agreement()"
    )
    op.execute(
        "CREATE TRIGGER approved_is_not_truncated BEFORE TRUNCATE ON local_agreements "
        "FOR EACH STATEMENT EXECUTE FUNCTION paygo_refuse_change()"
    )


def downgrade() -> None:

    op.drop_table("local_agreements")
    op.execute("DROP FUNCTION paygo_guard_local_agreement()")
