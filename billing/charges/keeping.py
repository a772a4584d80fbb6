"""Keeping charges: those are written that differ from what was written before, and no others.

An account's rating remembers, for each charge that it wrote, the charge's key and a mark made
of its whole row. So a pass that moves the pool's price writes the charges that are shared and
leaves the others, and nothing has to be read back to find that out.
"""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from typing import NamedTuple, Self

from psycopg import Connection
from sqlalchemy import bindparam, delete, func
from sqlalchemy.orm import Session

from billing.charges.copying import CHARGE_COLUMNS, CopyLines, charge_id
from billing.charges.inputs import MonthInputs
from billing.charges.model import ID_BYTES
from billing.charges.tables import ChargeRow
from billing.rating.model import Charge

_MARK_BYTES = 8
_RECORD_BYTES = ID_BYTES + _MARK_BYTES
# Neither a call a line, nor a nation's lines in memory.
_LINES_AT_ONCE = 2_000


class Writing(NamedTuple):
    """Lines for COPY, and the ids of charges that they replace, by account id."""

    lines: list[str]
    gone: dict[str, list[str]]


class ChargeKeeper:
    """Writes the charges of the accounts of one pass, a few accounts at a time.

    PostgreSQL takes as long to write charges as Python to price them. So `begin` writes in the
    background, on the session's own connection: until `wait` has returned nothing else may use
    the session. It is one transaction all the same.

    Args:
        before: by account id, the marks of the charges that were last written; None where
            that is not known, so that all of them are replaced.
    """

    def __init__(
        self, session: Session, *, inputs: MonthInputs, before: Mapping[str, bytes | None]
    ) -> None:
        self._session = session
        self._before = before
        self._lines = CopyLines(
            month=inputs.month, account_ids=inputs.account_ids, version_ids=inputs.version_ids
        )
        self._now: dict[str, bytearray] = {}
        self._known: tuple[str, dict[bytes, bytes]] = ("", {})
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="charges")
        self._begun: Future[None] | None = None
        self.changed: set[str] = set()
        unknown = [account_id for account_id, marks in before.items() if marks is None]
        if unknown:
            session.execute(
                delete(ChargeRow).where(
                    ChargeRow.month == inputs.month.first_day, ChargeRow.account_id.in_(unknown)
                )
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Whatever happened, the connection must be nobody's before it is used or closed.
        self._threads.shutdown(wait=True)

    def compare(self, charges: Iterable[Charge]) -> Writing:
        """Return what has to be written; the charges of an account come one after another."""
        writing = Writing([], {})
        for account_id, key, line in self._lines.lines(charges):
            mark = blake2b(line.encode(), digest_size=_MARK_BYTES).digest()
            marks = self._now.get(account_id)
            if marks is None:
                marks = self._now[account_id] = bytearray()
            marks += key
            marks += mark
            before = self._marks_before(account_id).get(key)
            if before == mark:
                continue
            self.changed.add(account_id)
            if before is not None:
                writing.gone.setdefault(account_id, []).append(charge_id(key))
            writing.lines.append(line)
        return writing

    def begin(self, writing: Writing) -> None:
        """Begin to write; see `wait`."""
        self.wait()
        if writing.lines or writing.gone:
            self._begun = self._threads.submit(self._write, writing)

    def wait(self) -> None:
        """Return when what was begun is written; raise what went wrong in it."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.result()

    def close(self, account_ids: Collection[str]) -> dict[str, bytes]:
        """Remove what is no longer said of these accounts; return their marks by account id.

        Args:
            account_ids: every account of the pass, also those without a charge.
        """
        gone: dict[str, list[str]] = {}
        for account_id in account_ids:
            now = _read(bytes(self._now.get(account_id, b"")))
            left = self._marks_before(account_id).keys() - now.keys()
            if left:
                gone[account_id] = [charge_id(key) for key in sorted(left)]
        self.changed |= gone.keys()
        self.begin(Writing([], gone))
        self.wait()
        return {account_id: bytes(self._now.get(account_id, b"")) for account_id in account_ids}

    def _write(self, writing: Writing) -> None:
        self._delete(writing.gone)
        self._copy(writing.lines)

    def _marks_before(self, account_id: str) -> dict[bytes, bytes]:
        if self._known[0] != account_id:
            self._known = (account_id, _read(self._before.get(account_id) or b""))
        return self._known[1]

    def _delete(self, gone: Mapping[str, list[str]]) -> None:
        if gone:
            # One account a statement: a cluster sends each to the one place where its rows are.
            self._session.connection().execute(
                delete(ChargeRow).where(
                    ChargeRow.account_id == bindparam("of_account"),
                    ChargeRow.id == func.any(bindparam("ids")),
                ),
                [{"of_account": account_id, "ids": ids} for account_id, ids in gone.items()],
            )

    def _copy(self, lines: list[str]) -> None:
        if not lines:
            return
        connection = self._session.connection().connection.driver_connection
        assert isinstance(connection, Connection)
        columns = ", ".join(CHARGE_COLUMNS)
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY charges ({columns}) FROM STDIN") as copy,
        ):
            for first in range(0, len(lines), _LINES_AT_ONCE):
                copy.write("".join(lines[first : first + _LINES_AT_ONCE]))


def _read(marks: bytes) -> dict[bytes, bytes]:
    """Return mark by key."""
    return {
        marks[at : at + ID_BYTES]: marks[at + ID_BYTES : at + _RECORD_BYTES]
        for at in range(0, len(marks), _RECORD_BYTES)
    }
