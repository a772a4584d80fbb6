"""Every SQL text in the sources keeps to what Citus can do; statements of SQLAlchemy are simpler.

What is known of a cluster is in docs/scale.md. A text is judged by the tables that it names, of
which the models say where each lives.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.schema import metadata
from metering.kit.citus import DISTRIBUTED, placement

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for package in ("billing", "metering")
    for path in sorted((ROOT / package).rglob("*.py"))
    # The demonstration recomputes in a temporary table on one machine.
    if "demo" not in path.parts
]
SQL = re.compile(r"^\s*(?:WITH|SELECT|INSERT INTO|UPDATE|DELETE FROM|MERGE INTO)\b")
TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?([a-z_]+)")
SPREAD = {
    name
    for name, table in metadata.tables.items()
    if (place := placement(table)) is not None and place.kind == DISTRIBUTED
}


def texts(source: str) -> Iterator[str]:
    """Yield the SQL texts of a module; parts that are put in are written `x`."""
    tree = ast.parse(source)
    parts = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if node in parts:
            continue
        if isinstance(node, ast.JoinedStr):
            said = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            said = node.value
        else:
            continue
        if SQL.match(said):
            yield said


def breaches(sql: str) -> Iterator[str]:
    """Yield what of a text a cluster refuses or does wrongly."""
    spread = sorted(set(TABLE.findall(sql)) & SPREAD)
    if re.match(r"\s*MERGE INTO", sql):
        yield "MERGE"
    if re.search(r"\bINSERT INTO\b.*\bSELECT\b", sql, re.S) and not re.search(
        r"\bON CONFLICT\b|\bRETURNING\b", sql
    ):
        target = re.search(r"INSERT INTO\s+([a-z_]+)", sql)
        # One shard's rows from arrays that are sent along go straight to it.
        if target and target[1] in SPREAD and "unnest(" not in sql:
            yield f"INSERT … SELECT into {target[1]} without ON CONFLICT or RETURNING"
    if re.search(
        r"\b(?:DO UPDATE|UPDATE)\b.*\bSET\b[^;]*\b(?:now|clock_timestamp|random)\(", sql, re.S
    ):
        yield "a volatile function in SET"
    if spread and re.search(r"\bWITH RECURSIVE\b", sql):
        yield f"recursion over {spread[0]}"
    lateral = re.search(r"\bLATERAL\s*\((.*)", sql, re.S)
    if lateral:
        yield from (f"LATERAL over {name}" for name in TABLE.findall(lateral[1]) if name in SPREAD)
    if spread and re.search(r"\b(?:ROLLUP|CUBE|GROUPING SETS)\b", sql):
        yield f"grouping sets over {spread[0]}"
    if spread and re.search(r"\bpg_(?:try_)?advisory_(?:xact_)?lock\b", sql):
        yield f"an advisory lock in a query on {spread[0]}"
    if spread and re.search(r"\bNOT EXISTS\b", sql):
        yield f"NOT EXISTS in a query on {spread[0]}"
    if re.search(r"\bset_config\s*\(", sql):
        yield "set_config, which does not reach the workers"


def test_every_sql_text_keeps_to_what_a_cluster_can_do() -> None:
    found, read = set(), 0
    for path in SOURCES:
        for sql in texts(path.read_text(encoding="utf-8")):
            read += 1
            found |= {(what, str(path.relative_to(ROOT))) for what in breaches(sql)}
    assert read > 60
    assert found == set()


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("MERGE INTO charges USING readings ON true", "MERGE"),
        ("INSERT INTO charges SELECT * FROM ratings", "INSERT … SELECT into charges without"),
        ("UPDATE invoices SET issued_at = now()", "a volatile function"),
        ("INSERT INTO readings VALUES (1) ON CONFLICT DO UPDATE SET a = now()", "a volatile"),
        ("WITH RECURSIVE a AS (SELECT 1 FROM readings) SELECT 1", "recursion over readings"),
        ("SELECT 1 FROM meters, LATERAL (SELECT 1 FROM readings) AS r", "LATERAL over readings"),
        ("SELECT 1 FROM charges GROUP BY ROLLUP (month)", "grouping sets over charges"),
        ("SELECT pg_advisory_xact_lock(1) FROM charges", "an advisory lock"),
        ("DELETE FROM readings WHERE NOT EXISTS (SELECT 1 FROM due)", "NOT EXISTS in a query"),
        ("SELECT set_config('a.b', 'c', true)", "set_config"),
    ],
)
def test_what_a_cluster_cannot_do_is_found(sql: str, what: str) -> None:
    (found,) = breaches(sql)
    assert found.startswith(what)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO charges SELECT * FROM ratings ON CONFLICT DO NOTHING",
        "INSERT INTO job_runs SELECT * FROM job_runs",
        "WITH RECURSIVE a AS (SELECT 1 FROM job_runs) SELECT 1",
        "SELECT pg_advisory_xact_lock(1)",
        "UPDATE readings SET updated_at = :now",
    ],
)
def test_what_it_can_is_left_alone(sql: str) -> None:
    assert list(breaches(sql)) == []
