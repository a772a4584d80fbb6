"""Rules of the design that import contracts cannot say, read from the syntax tree."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Table

from billing import schema

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path for package in ("billing", "metering") for path in (ROOT / package).rglob("*.py")
)
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in SOURCES
}

# Where a penny or a quantity may stand. Seconds and pixels elsewhere may be floats.
EXACT = (
    "billing/accounts/",
    "billing/accruals/",
    "billing/budgets/",
    "billing/charges/",
    "billing/forecasts/",
    "billing/invoices/",
    "billing/ledger/",
    "billing/money.py",
    "billing/payments/",
    "billing/rating/",
    "billing/runs/",
    "billing/simulations/",
    "billing/tariffs/",
    "metering/events/",
    "metering/readings/",
)

# The edges: where work becomes true. Everything below takes a session.
EDGES = (
    "billing/access/",
    "billing/api/line_views.py",
    "billing/api/views.py",
    "billing/app.py",
    "billing/bundles/work.py",
    "billing/cli/",
    "billing/console/",
    "billing/demo/",
    "billing/jobs.py",
    "billing/monitoring/views.py",
    "billing/notifications/jobs.py",
    "billing/payments/",
    "billing/portal/",
    "billing/runs/work.py",
    "billing/simulations/work.py",
    "billing/scheduler.py",
    "billing/server.py",
    "metering/app.py",
    "metering/events/archive.py",
    "metering/events/catalogue.py",
    "metering/events/ingest.py",
    "metering/events/partitions.py",
    "metering/events/replay.py",
    "metering/reports/views.py",
    "metering/events/views.py",
    "metering/jobs.py",
    "metering/kit/",
    "metering/readings/views.py",
    "metering/sources/guards.py",
)

_SQL_WRITE = re.compile(r"(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+([a-z_]+)")
OWNERS = {
    table.name: module.__name__
    for module in schema.TABLE_MODULES
    for value in vars(module).values()
    if isinstance(table := getattr(value, "__table__", value), Table)
    and getattr(value, "__module__", module.__name__) in {module.__name__, Table.__module__}
}
assert OWNERS.keys() == schema.metadata.tables.keys()

CLOCK_READS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
}


def calls(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield (object, attribute, line) of every call like `a.b(…)`, also `x.a.b(…)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = (
                owner.id
                if isinstance(owner, ast.Name)
                else owner.attr
                if isinstance(owner, ast.Attribute)
                else ""
            )
            yield name, node.func.attr, node.lineno


def breaches(
    find: Callable[[str, ast.AST], Iterator[int]], *, allowed: tuple[str, ...]
) -> list[str]:
    return [
        f"{name}:{line}"
        for name, tree in TREES.items()
        if not name.startswith(allowed)
        for line in find(name, tree)
    ]


def commits(_name: str, tree: ast.AST) -> Iterator[int]:
    return (line for _, attribute, line in calls(tree) if attribute == "commit")


def clock_reads(_name: str, tree: ast.AST) -> Iterator[int]:
    return (line for owner, attribute, line in calls(tree) if (owner, attribute) in CLOCK_READS)


def transactions(_name: str, tree: ast.AST) -> Iterator[int]:
    return (
        line
        for owner, attribute, line in calls(tree)
        if attribute in {"transaction", "snapshot"} and "database" in owner
    )


def floats(_name: str, tree: ast.AST) -> Iterator[int]:
    # `isinstance(value, float)` is how a float is refused.
    refused = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        for name in ast.walk(node.args[1])
    }
    for node in ast.walk(tree):
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        named = isinstance(node, ast.Name) and node.id == "float" and node not in refused
        if isinstance(node, ast.Constant | ast.Name) and (literal or named):
            yield node.lineno


def foreign_writes(name: str, tree: ast.AST) -> Iterator[int]:
    """Yield where a feature inserts, updates or deletes rows of another's tables.

    Reading them in a join is fine: that is what a foreign key is for.
    """
    own = name.rpartition("/")[0].replace("/", ".") + ".tables"
    foreign = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").endswith(".tables")
        and node.module not in {own, "metering.kit.tables"}
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            written = node.args[0] if node.func.id in {"insert", "update", "delete"} else None
            target = written if written is not None else node.func
            if isinstance(target, ast.Name) and target.id in foreign:
                yield node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for table in _SQL_WRITE.findall(node.value):
                if OWNERS.get(table, own) not in {own, "metering.kit.tables"}:
                    yield node.lineno


def test_only_the_database_module_commits() -> None:
    assert breaches(commits, allowed=("metering/kit/db.py",)) == []


def test_only_the_clock_module_reads_the_wall_clock() -> None:
    assert breaches(clock_reads, allowed=("metering/kit/clock.py",)) == []


def test_only_edges_open_transactions() -> None:
    assert breaches(transactions, allowed=EDGES) == []


def test_no_float_comes_near_money_or_quantities() -> None:
    found = [
        f"{name}:{line}"
        for name, tree in TREES.items()
        if name.startswith(EXACT)
        for line in floats(name, tree)
    ]
    assert found == []


def test_a_feature_writes_only_its_own_tables() -> None:
    # The roll-up marks the batches that it claims; that claim is the hand-over itself.
    assert breaches(foreign_writes, allowed=("metering/readings/operations.py",)) == []


@pytest.mark.parametrize(
    ("find", "code"),
    [
        (commits, "session.commit()"),
        (clock_reads, "datetime.datetime.now(UTC)"),
        (transactions, "self._database.transaction()"),
        (floats, "price = 0.5"),
        (floats, "price = float('1')"),
        (foreign_writes, "from billing.invoices.tables import InvoiceRow as I; insert(I)"),
        (foreign_writes, "from billing.invoices.tables import InvoiceRow; InvoiceRow(id=1)"),
        (foreign_writes, "text('DELETE FROM invoices WHERE id = 1')"),
    ],
)
def test_each_rule_sees_a_breach(find: Callable[[str, ast.AST], Iterator[int]], code: str) -> None:
    assert list(find("billing/runs/operations.py", ast.parse(code))) == [1]


def test_no_two_purposes_share_an_advisory_lock() -> None:
    """Or somebody waits for ever: the scheduler keeps the lock of its lead for days."""
    numbers: dict[str, list[str]] = {}
    migrations = sorted((ROOT / "migrations").rglob("*.py"))
    for path in [*SOURCES, *migrations]:
        for number in re.findall(r"\b7_?201_?\d{3}\b", path.read_text(encoding="utf-8")):
            numbers.setdefault(number.replace("_", ""), []).append(
                path.relative_to(ROOT).as_posix()
            )
    assert len(numbers) > 10
    assert {number: places for number, places in numbers.items() if len(places) > 1} == {}
