"""Find the events of batches at what these events cost, however large their month is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

OF_BATCHES = """(
    batch_id BETWEEN :first_batch AND :last_batch AND (batch_id = ANY(:batches)) IS TRUE
)"""
"""A condition on `usage_events`, see `these`.

Ids of batches rise with time, so the events of some lie together, and one search of the BRIN
index finds the span. By a list alone it would be searched once for each batch, and each time from
end to end; `IS TRUE` keeps the list from it.
"""


def these(batch_ids: Sequence[UUID]) -> dict[str, Any]:
    """Return what `OF_BATCHES` asks for; there is at least one batch."""
    return {
        "batches": list(batch_ids),
        "first_batch": min(batch_ids),
        "last_batch": max(batch_ids),
    }


# Of a month that is new or grows fast the planner knows too little, and would read all of it: by
# the index on subjects, which gives the order of the sums, or from end to end. And a list that is
# known is hashed; that of a plan for any list is gone through for each row.
_BY_BATCH = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off;"
    " SET LOCAL plan_cache_mode = force_custom_plan"
)
_AS_BEFORE = (
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = on;"
    " SET LOCAL plan_cache_mode = auto"
)


@contextmanager
def by_batch(session: Session) -> Iterator[None]:
    """Have events found by the index on their batches, whatever the planner thinks."""
    connection = session.connection()
    connection.exec_driver_sql(_BY_BATCH)
    yield
    connection.exec_driver_sql(_AS_BEFORE)
