"""Metrics and readiness; dashboard and alerts name only what there is."""

import json
import re
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from billing.monitoring.queries import METRICS
from metering.events.tables import IngestBatchRow, QuarantinedEventRow
from metering.kit.db import Database
from metering.kit.ids import uuid7
from metering.kit.tables import JobRunRow
from tests import make, web
from tests.trusts import Shown

ROOT = Path(__file__).resolve().parents[3]
LABELS = {metric.name: metric.labels for metric in METRICS}
NAMES = set(LABELS)
# Prometheus makes these itself.
OTHERS = {"up"}
TOKEN = "-".join(("a", "token", "of", "tests"))
NOW = web.START

Values = dict[tuple[str, ...], float]


def scraped(client: FlaskClient) -> Values:
    """Return every sample of `/metrics` by name and label values, in the order of the labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *(sample.labels[label] for label in LABELS[sample.name])): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def batch(at: datetime, *, claimed: bool = True, **counts: int) -> IngestBatchRow:
    fates = dict.fromkeys(("received", "accepted", "duplicate", "conflict", "rejected"), 0)
    return IngestBatchRow(
        id=uuid7(now=at),
        source_id=1,
        received_at=at,
        claimed_at=at if claimed else None,
        **(fates | counts),
    )


def quarantined(at: datetime, code: str, *, status: str = "open") -> QuarantinedEventRow:
    return QuarantinedEventRow(
        id=uuid7(now=at),
        source_id=1,
        batch_id=uuid7(now=at),
        received_at=at,
        fate="rejected",
        code=code,
        pointer="",
        detail="",
        body={},
        status=status,
    )


def job_run(name: str, at: datetime, outcome: str, **counts: int) -> JobRunRow:
    return JobRunRow(
        id=f"jrn_{name}_{at:%d%H%M}",
        job=name,
        started_at=at,
        finished_at=at,
        outcome=outcome,
        counts=counts,
        started_by="test",
    )


def ago(**by: float) -> datetime:
    return NOW - timedelta(**by)


def test_events_are_told_by_source_fate_and_reason(client: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        code = make.source(session)
        session.add_all(
            [
                batch(ago(minutes=90), accepted=7_000),
                batch(ago(minutes=50), accepted=40, duplicate=3),
                batch(ago(minutes=2), accepted=2, rejected=5, claimed=False),
                quarantined(ago(minutes=2), "unknown-subject"),
                quarantined(ago(minutes=2), "unknown-subject", status="dismissed"),
                quarantined(ago(hours=20), "unknown-type"),
            ]
        )
    values = scraped(client)
    assert values["paygo_events_last_hour", code, "accepted"] == 42
    assert values["paygo_events_last_hour", code, "duplicate"] == 3
    assert values["paygo_events_last_hour", code, "rejected"] == 5
    assert values["paygo_events_last_hour", code, "conflict"] == 0
    assert values["paygo_events_refused_last_hour", code, "unknown-subject"] == 2
    assert ("paygo_events_refused_last_hour", code, "unknown-type") not in values
    assert values["paygo_quarantine_open", code] == 2
    assert values["paygo_readings_lag_seconds",] == 120


def test_jobs_are_told_by_age_and_outcome(database: Database, tmp_path: Path) -> None:
    app = web.make_app(database, tmp_path, web.Clock())
    with database.transaction() as session:
        session.add_all(
            [
                job_run("reconcile", ago(hours=30), "succeeded", differences=0, faults=0),
                job_run("reconcile", ago(hours=6), "succeeded", differences=2, faults=1),
                job_run("roll-up", ago(minutes=9), "succeeded"),
                job_run("roll-up", ago(minutes=1), "failed"),
            ]
        )
    values = scraped(app.test_client())
    assert values["paygo_job_age_seconds", "reconcile"] == 6 * 3600
    assert values["paygo_job_age_seconds", "roll-up"] == 540
    assert values["paygo_job_failed", "roll-up"] == 1
    assert values["paygo_job_failed", "reconcile"] == 0
    assert values["paygo_job_interval_seconds", "reconcile"] == 24 * 3600
    assert values["paygo_reconciliation_differences",] == 2
    assert values["paygo_document_faults",] == 1


def test_a_job_that_never_succeeded_grows_old_and_is_told(
    database: Database, tmp_path: Path
) -> None:
    clock = web.Clock()
    app = web.make_app(database, tmp_path, clock)
    with database.transaction() as session:
        session.add_all(
            [
                job_run("roll-up", ago(minutes=5), "succeeded"),
                job_run("reconcile", ago(minutes=10), "failed"),
            ]
        )
    assert late(scraped(app.test_client())) == set()
    clock.move(days=4)
    with database.transaction() as session:
        session.add(job_run("roll-up", clock.now, "succeeded"))
    found = late(scraped(app.test_client()))
    # One that fails each day, and one that was never even started.
    assert {"reconcile", "forecast"} <= found
    assert "roll-up" not in found


def late(values: Values) -> set[str]:
    """Return the jobs for which the rule `PaygoJobLate` holds, worked out from its own text."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/paygo-rules.yaml").read_text())
    (expression,) = (
        rule["expr"]
        for group in rules["groups"]
        for rule in group["rules"]
        if rule["alert"] == "PaygoJobLate"
    )
    sum_of = expression.replace(" on (job_name)", "")
    assert re.fullmatch(
        r"paygo_job_age_seconds > \(\d \* paygo_job_interval_seconds \+ \d+\)", sum_of
    )
    jobs = {job for name, *labels in values for job in labels if name.startswith("paygo_job_")}
    facts = ("paygo_job_age_seconds", "paygo_job_interval_seconds")
    return {
        job
        for job in jobs
        if all((fact, job) in values for fact in facts)
        and eval(sum_of, {}, {fact: values[fact, job] for fact in facts})
    }


def test_money_is_whole_pence_of_what_was_invoiced(shown: Shown) -> None:
    with shown.app.app_context():
        database = web.edge().database
    with database.snapshot() as session:
        pence = session.scalar(
            text(
                "SELECT sum(CASE kind WHEN 'invoice' THEN net ELSE -net END) * 100 FROM invoices"
                " WHERE status <> 'draft' AND month = '2026-04-01'"
            )
        )
    values = scraped(shown.app.test_client())
    assert pence
    assert values["paygo_invoiced_pence", "2026-04"] == pence
    assert values["paygo_invoiced_pence", "2026-05"] == 0
    assert {name for name, *_ in values} <= NAMES


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
def test_without_a_token_this_machine_alone_may_ask(client: FlaskClient, header: str) -> None:
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 404
    elsewhere = {"REMOTE_ADDR": "203.0.113.9"}
    assert client.get("/metrics", environ_overrides=elsewhere).status_code == 404


def test_with_a_token_whoever_sends_it_may_ask(database: Database, tmp_path: Path) -> None:
    app = web.make_app(database, tmp_path, web.Clock(), PAYGO_METRICS_TOKEN=TOKEN)
    client, elsewhere = app.test_client(), {"REMOTE_ADDR": "203.0.113.9"}
    for wrong in ({}, {"Authorization": "Bearer nearly"}, {"Authorization": f"Bearer {TOKEN}x"}):
        assert client.get("/metrics", headers=wrong).status_code == 404
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/metrics", headers=right, environ_overrides=elsewhere).status_code == 200


def test_ready_while_the_schema_is_the_expected_one(
    client: FlaskClient, database: Database
) -> None:
    assert client.get("/healthz").json == {"status": "alive"}
    assert client.get("/readyz").status_code == 200
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    behind = client.get("/readyz")
    assert (behind.status_code, behind.json["status"]) == (503, "schema-not-current")
    with database.transaction() as session:
        session.execute(text("DROP TABLE alembic_version"))
    assert client.get("/readyz").json["status"] == "schema-missing"


def test_not_ready_while_the_database_is_away(tmp_path: Path) -> None:
    nowhere = Database(f"postgresql://paygo@/paygo?host={tmp_path}")
    client = web.make_app(nowhere, tmp_path, web.Clock()).test_client()
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "database-unreachable")


def test_no_label_is_one_that_prometheus_sets_itself() -> None:
    assert not {"job", "instance"} & {label for labels in LABELS.values() for label in labels}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not here")
@pytest.mark.parametrize("command", [("check", "rules"), ("test", "rules")], ids=" ".join)
def test_prometheus_itself_reads_the_alerts_and_names_the_job(command: tuple[str, str]) -> None:
    file = {"check": "paygo-rules.yaml", "test": "paygo-rules.test.yaml"}[command[0]]
    done = subprocess.run(
        ["promtool", *command, file],
        cwd=ROOT / "deploy/prometheus",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:paygo_[a-z_]+|up)\b(?!=)", expression))


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/paygo-rules.yaml").read_text())
    alerts = [_named(rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    board = json.loads((ROOT / "deploy/grafana/paygo.json").read_text())
    panels = [_named(target["expr"]) for panel in board["panels"] for target in panel["targets"]]
    assert all([*alerts, *panels])
    assert set().union(*alerts, *panels) <= NAMES | OTHERS
    assert set().union(*panels) == NAMES
    written = (ROOT / "docs/monitoring.md").read_text()
    assert set(re.findall(r"^\| `(paygo_\w+)`", written, re.MULTILINE)) == NAMES
