"""The roll-up makes the summaries by which it finds the newest events.

PostgreSQL makes them on request, of which it remembers 256 a minute: at more than some 8,000 rows
a second it falls behind, and says so in its log for each request that it forgets.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The range that is being filled and the one before are left: their summaries would change
    # with each row. From the newest backwards, until one is met that has its summary. While a
    # vacuum runs, which summarises everything at its end, the lock is not to be had. On a cluster
    # the pages are elsewhere, and requests are what there is.
    op.execute(
        """
        CREATE FUNCTION paygo_summarise(months date[]) RETURNS integer
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = public, pg_temp SET lock_timeout = '100ms' AS $$
        DECLARE
            found record;
            pages integer;
            first bigint;
            made integer := 0;
        BEGIN
            IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN RETURN 0; END IF;
            FOR found IN
                SELECT i.indexrelid AS index, i.indrelid AS heap, c.reloptions
                FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                    JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'
                WHERE i.indrelid IN (
                    SELECT to_regclass('usage_events_' || to_char(month, 'YYYY_MM'))
                    FROM unnest(months) AS given (month)
                )
            LOOP
                IF 'autosummarize=on' = ANY (found.reloptions) THEN
                    EXECUTE format(
                        'ALTER INDEX %s SET (autosummarize = off)', found.index::regclass
                    );
                END IF;
                SELECT coalesce(max(option_value::integer), 128) INTO pages
                FROM pg_options_to_table(found.reloptions) WHERE option_name = 'pages_per_range';
                first := pg_relation_size(found.heap) / current_setting('block_size')::integer;
                first := (first / pages - 2) * pages;
                WHILE first >= 0 AND made < 2000 AND brin_summarize_range(found.index, first) > 0
                LOOP
                    made := made + 1;
                    first := first - pages;
                END LOOP;
            END LOOP;
            RETURN made;
        EXCEPTION WHEN lock_not_available THEN
            RETURN made;
        END $$
        """
    )
    op.execute("REVOKE EXECUTE ON FUNCTION paygo_summarise(date[]) FROM PUBLIC")


def downgrade() -> None:
    op.execute(
        """
        DO $$ DECLARE found record; BEGIN
            FOR found IN
                SELECT i.indexrelid AS index
                FROM pg_inherits h JOIN pg_index i ON i.indrelid = h.inhrelid
                    JOIN pg_class c ON c.oid = i.indexrelid
                WHERE h.inhparent = 'usage_events'::regclass
                    AND 'autosummarize=off' = ANY (c.reloptions)
            LOOP
                EXECUTE format('ALTER INDEX %s SET (autosummarize = on)', found.index::regclass);
            END LOOP;
        END $$
        """
    )
    op.execute("DROP FUNCTION paygo_summarise(date[])")
