"""History is never rewritten: the database refuses changes.

Triggers stand behind revoked grants, so that even the owner cannot edit history by accident.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("audit_entries", "event_keys", "usage_events", "issued_numbers", "documents")


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION paygo_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION paygo_refuse_change()"
        )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION paygo_refuse_change()"
        )
    # An issued invoice may only become settled; a draft may change until it is issued.
    op.execute(
        """
        CREATE FUNCTION paygo_guard_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' THEN
                IF OLD.status IN ('draft') THEN RETURN OLD; END IF;
            ELSIF OLD.status = 'draft' THEN
                RETURN NEW;
            ELSIF OLD.status IN ('issued', 'settled') AND NEW.status IN ('issued', 'settled')
                AND to_jsonb(NEW) - 'status' = to_jsonb(OLD) - 'status' THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'invoice % is %: % refused', OLD.id, OLD.status, TG_OP
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER issued_is_immutable BEFORE UPDATE OR DELETE ON invoices "
        "FOR EACH ROW EXECUTE FUNCTION paygo_guard_invoice()"
    )
    op.execute(
        """
        CREATE FUNCTION paygo_guard_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            line record;
            parent_status text;
        BEGIN
            IF TG_OP = 'INSERT' THEN line := NEW; ELSE line := OLD; END IF;
            SELECT status INTO parent_status FROM invoices
                WHERE account_id = line.account_id AND id = line.invoice_id;
            IF parent_status = 'draft' THEN
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'lines of invoice % cannot change: it is %', line.invoice_id, parent_status
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER issued_is_immutable BEFORE INSERT OR UPDATE OR DELETE ON invoice_lines "
        "FOR EACH ROW EXECUTE FUNCTION paygo_guard_invoice_line()"
    )
    # What was submitted or approved keeps its contents; only its standing may move on.
    op.execute(
        """
        CREATE FUNCTION paygo_guard_tariff_version() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' THEN
                IF OLD.status IN ('draft', 'withdrawn') THEN RETURN OLD; END IF;
            ELSIF OLD.status = 'draft' THEN
                RETURN NEW;
            ELSIF OLD.status = 'approved' THEN
                IF NEW.status = 'approved'
                    AND to_jsonb(NEW) - 'effective_to' = to_jsonb(OLD) - 'effective_to' THEN
                    RETURN NEW;
                END IF;
            ELSIF NEW.content = OLD.content AND NEW.effective_from = OLD.effective_from
                AND NEW.author = OLD.author AND NEW.version = OLD.version THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'tariff version % is %: its contents cannot change', OLD.id, OLD.status
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER approved_is_immutable BEFORE UPDATE OR DELETE ON tariff_versions "
        "FOR EACH ROW EXECUTE FUNCTION paygo_guard_tariff_version()"
    )


def downgrade() -> None:
    for trigger, table in (
        ("approved_is_immutable", "tariff_versions"),
        ("issued_is_immutable", "invoice_lines"),
        ("issued_is_immutable", "invoices"),
        *(("append_only_truncate", table) for table in APPEND_ONLY),
        *(("append_only", table) for table in APPEND_ONLY),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in (
        "paygo_guard_tariff_version",
        "paygo_guard_invoice_line",
        "paygo_guard_invoice",
        "paygo_refuse_change",
    ):
        op.execute(f"DROP FUNCTION {function}()")
