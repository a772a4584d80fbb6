"""Databases that tests hand on to each other, emptied in between.

Cloning the template costs several times what emptying does, and there are over
a thousand tests that commit. A database goes back into the pool only when its
schema is what it was; a test that changed it (or left it broken) costs a new
clone. Emptying needs a superuser, since history is append-only to all others;
without one every test has a clone of its own.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from tests import databases

# A database's indexes grow with what was emptied; a new clone now and then keeps it quick.
USES_MAX = 150

# Everything whose change emptying could not undo, except on-demand month partitions.
_SCHEMA = """
SELECT md5(string_agg(fact, ';' ORDER BY fact)) FROM (
    SELECT c.relname || c.relkind::text || c.relrowsecurity::text
        || coalesce(c.relacl::text, '') AS fact FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
    UNION ALL SELECT conname::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        AND conrelid NOT IN (SELECT oid FROM pg_class WHERE relispartition)
    UNION ALL SELECT t.tgname || t.tgenabled::text || c.relname FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT c.relispartition AND NOT t.tgisinternal
    UNION ALL SELECT proname || md5(prosrc) || coalesce(proacl::text, '') FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT polname || polrelid::text FROM pg_policy
    UNION ALL SELECT 'columns ' || count(*) FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
    UNION ALL SELECT 'partition ' || relname FROM pg_class
        WHERE relispartition AND relkind = 'r' AND relnamespace = 'public'::regnamespace
    UNION ALL SELECT version_num FROM alembic_version
) facts
"""
_EXTRA_PARTITIONS = """
SELECT relname FROM pg_class
WHERE relispartition AND relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
_KEEP = """
DO $$ DECLARE one text; filled boolean; BEGIN
    CREATE SCHEMA kept_for_tests;
    FOR one IN SELECT relname FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM public.%I)', one) INTO filled;
        IF filled THEN
            EXECUTE format('CREATE TABLE kept_for_tests.%I AS TABLE public.%I', one, one);
        END IF;
    END LOOP;
END $$
"""
_EMPTY = """
DO $$ DECLARE one text; filled boolean; BEGIN
    FOR one IN SELECT relname FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM public.%I)', one) INTO filled;
        IF filled THEN EXECUTE format('DELETE FROM public.%I', one); END IF;
    END LOOP;
    FOR one IN SELECT relname FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'kept_for_tests'::regnamespace
    LOOP
        EXECUTE format('INSERT INTO public.%I SELECT * FROM kept_for_tests.%I', one, one);
    END LOOP;
    FOR one IN SELECT relname FROM pg_class
        WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER SEQUENCE public.%I RESTART', one);
    END LOOP;
END $$
"""
_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass
class _Clone:
    """A database that is lent, and the connection by which it is emptied.

    The connection stays open: a new one would first read the catalogue of all tables again,
    which costs twice what emptying does.
    """

    name: str
    url: str
    schema: str
    partitions: frozenset[str]
    connection: psycopg.Connection[tuple[object, ...]]
    uses: int = 0


@dataclass
class Lender:
    """Lends migrated, empty databases, one borrower each.

    Attributes:
        server_url: where they are made.
        template: the migrated database they are clones of.
        admin_url: the server as superuser, None where there is none.
    """

    server_url: str
    template: str
    admin_url: str | None
    _idle: list[_Clone] = field(default_factory=list)

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Yield the URL of a database that is as if just migrated."""
        if self.admin_url is None:
            with databases.cloned_database(self.server_url, self.template) as url:
                yield url
            return
        clone = self._idle.pop() if self._idle else self._clone()
        try:
            yield clone.url
        finally:
            clone.uses += 1
            if clone.uses < USES_MAX and self._empty(clone):
                self._idle.append(clone)
            else:
                self._drop(clone)

    def close(self) -> None:
        """Drop what is idle."""
        while self._idle:
            self._drop(self._idle.pop())

    def _drop(self, clone: _Clone) -> None:
        # A superuser may not be ended by the owner who drops the database.
        clone.connection.close()
        databases.drop(self.server_url, clone.name)

    def _clone(self) -> _Clone:
        name = databases.clone_name(self.template)
        databases.create(self.server_url, name, template=self.template)
        connection = self._superuser(name)
        connection.execute(_KEEP)
        url = databases.url_of(self.server_url, name)
        return _Clone(name, url, *self._facts_of(connection), connection)

    def _superuser(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        assert self.admin_url is not None
        return psycopg.connect(
            databases.url_of(self.admin_url, name),
            autocommit=True,
            # No trigger fires: neither the guards of history nor foreign keys.
            options="-c session_replication_role=replica",
        )

    @staticmethod
    def _facts_of(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[str, frozenset[str]]:
        row = connection.execute(_SCHEMA).fetchone()
        assert row is not None
        partitions = connection.execute(_EXTRA_PARTITIONS).fetchall()
        return str(row[0]), frozenset(str(found[0]) for found in partitions)

    def _empty(self, clone: _Clone) -> bool:
        """Empty a database; return whether it is then as it was at first."""
        connection = clone.connection
        try:
            # Its own waiting form looks again only every tenth of a second.
            for _ in range(2_000):
                if not connection.execute(_END_OTHERS).fetchall():
                    break
                time.sleep(0.002)
            for row in connection.execute(_EXTRA_PARTITIONS).fetchall():
                if row[0] not in clone.partitions:
                    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(str(row[0]))))
            connection.execute(_EMPTY)
            return self._facts_of(connection) == (clone.schema, clone.partitions)
        except psycopg.Error:
            return False
