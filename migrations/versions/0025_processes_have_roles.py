"""Month partitions are made by a function of the owner's, so that no process need own a table."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Attaching takes a weaker lock on the parent than CREATE … PARTITION OF, which would
    # wait for every reader and let every writer wait behind it.
    op.execute(
        """
        CREATE FUNCTION paygo_make_partition(month date) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE
            name text := 'usage_events_' || to_char(month, 'YYYY_MM');
        BEGIN
            IF extract(day FROM month) <> 1 THEN
                RAISE EXCEPTION '% is not the first day of a month', month
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            PERFORM pg_advisory_xact_lock(7201951);
            IF to_regclass(name) IS NOT NULL THEN RETURN false; END IF;
            EXECUTE format(
                'CREATE TABLE %I (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name
            );
            EXECUTE format(
                'ALTER TABLE usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                name, month, month + interval '1 month'
            );
            RETURN true;
        END $$
        """
    )
    op.execute("REVOKE EXECUTE ON FUNCTION paygo_make_partition(date) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION paygo_make_partition(date)")
