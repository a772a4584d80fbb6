"""A Meter against a strict API over real HTTP."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from metering.client import ManifestRefused, Meter, Options
from tests.metering.client.conftest import Reports
from tests.metering.client.fake_api import KEY, SOURCE, FakeApi, Fault, problem

Make = Callable[..., Meter]


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@pytest.fixture(params=["spool", "memory"])
def meter(request: pytest.FixtureRequest, make_meter: Make, tmp_path: Path) -> Meter:
    return make_meter(spool_dir=tmp_path if request.param == "spool" else None)


def test_an_event_arrives_as_it_was_recorded(meter: Meter, api: FakeApi) -> None:
    at = datetime(2026, 4, 3, 11, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    event_id = meter.record("study.archived", "RRK", Decimal("1.50"), {"modality": "CT"}, at)
    assert meter.flush(5)
    assert api.kept == {
        event_id: {
            "specversion": "1.0",
            "id": event_id,
            "source": SOURCE,
            "type": "study.archived",
            "subject": "RRK",
            "time": "2026-04-03T10:00:00.123456Z",
            "data": {"quantity": "1.50", "modality": "CT"},
        }
    }
    assert meter.statistics.accepted == 1
    assert meter.statistics.waiting == 0


def test_ids_are_version_7_of_the_moment_of_recording(make_meter: Make) -> None:
    now = datetime(2026, 4, 3, 10, tzinfo=UTC)
    event_id = UUID(make_meter(clock=lambda: now).record("a", "RRK"))
    assert event_id.version == 7
    assert event_id.int >> 80 == int(now.timestamp() * 1000)


def test_events_are_delivered_without_a_flush_in_batches(make_meter: Make, api: FakeApi) -> None:
    meter = make_meter(batch_events=10, batch_seconds=0.05)
    ids = [meter.record("a", "RRK", number) for number in range(95)]
    eventually(lambda: meter.statistics.accepted == 95)
    assert api.order == ids
    assert 10 <= len(api.requests) <= 20


def test_a_batch_stays_under_its_bytes(make_meter: Make, api: FakeApi) -> None:
    meter = make_meter(batch_bytes=64 * 1024, batch_seconds=0.05)
    for _ in range(10):
        meter.record("a", "RRK", 1, {"note": "x" * 20_000})
    assert meter.flush(5)
    assert len(api.kept) == 10
    assert max(request["bytes"] for request in api.requests) <= 64 * 1024 + 10


def test_large_bodies_are_compressed_and_small_ones_are_not(make_meter: Make, api: FakeApi) -> None:
    meter = make_meter()
    meter.record("a", "RRK", 1)
    assert meter.flush(5)
    for _ in range(100):
        meter.record("a", "RRK", 1)
    assert meter.flush(5)
    assert api.requests[0]["encoding"] == "identity"
    assert api.requests[-1]["encoding"] == "gzip"


def test_an_api_without_gzip_gets_plain_bodies(make_meter: Make, api: FakeApi) -> None:
    api.gzip_allowed = False
    meter = make_meter()
    for _ in range(100):
        meter.record("a", "RRK", 1)
    assert meter.flush(5)
    assert len(api.kept) == 100


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(503, headers={"Retry-After": "0"}),
        Fault(502, body=b"<html>bad gateway</html>"),
        Fault(429, headers={"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT"}),
        Fault(drop=True),
        Fault(drop=True, keep=True),
        Fault(delay=0.5),
        Fault(302, headers={"Location": "http://127.0.0.1:9/"}),
        Fault(204),
        Fault(204, keep=True),
        Fault(404, body=b"no such page"),
        Fault(400, body=b"<html>a proxy does not like this</html>"),
        Fault(200, body=b"<html>please sign in</html>"),
        Fault(200, body=b'{"received": 7, "accepted": 7, "events": []}'),
        Fault(200, body=b'{"received": 7, "accepted": 1, "events": []}'),
        Fault(200, body=b'{"received": 1, "accepted": 0, "rejected": 1, "events": []}'),
        Fault(413, body=b"proxy says too large"),
    ],
    ids=lambda fault: f"{fault.status}-{fault.drop}-{fault.keep}-{fault.delay}-{fault.body[:20]!r}",
)
def test_a_fault_in_between_costs_nothing(
    fault: Fault, make_meter: Make, api: FakeApi, reports: Reports, tmp_path: Path
) -> None:
    api.faults.append(fault)
    meter = make_meter(spool_dir=tmp_path, timeout_seconds=0.25)
    event_id = meter.record("a", "RRK", 1)
    assert meter.flush(5)
    assert api.order == [event_id]
    assert not reports.refused
    assert len(reports.troubles) == 1
    assert meter.statistics.accepted + meter.statistics.duplicate == 1


def test_a_reply_lost_after_keeping_counts_as_duplicate(make_meter: Make, api: FakeApi) -> None:
    api.faults.append(Fault(drop=True, keep=True))
    meter = make_meter()
    meter.record("a", "RRK", 1)
    assert meter.flush(5)
    assert meter.statistics.duplicate == 1
    assert api.order == list(api.kept)


def test_retry_after_is_honoured_even_by_a_flush(make_meter: Make, api: FakeApi) -> None:
    api.faults.append(Fault(429, headers={"Retry-After": "1"}))
    meter = make_meter()
    meter.record("a", "RRK", 1)
    assert meter.flush(5)
    first, second = (request["at"] for request in api.requests)
    assert second - first >= 1


def test_recording_goes_on_while_the_api_hangs(make_meter: Make, api: FakeApi) -> None:
    api.faults.append(Fault(delay=0.6))
    meter = make_meter()
    meter.record("a", "RRK", 1)
    eventually(lambda: api.requests)
    started = time.monotonic()
    for _ in range(500):
        meter.record("a", "RRK", 1)
    assert time.monotonic() - started < 0.3
    assert meter.statistics.accepted == 0
    assert meter.flush(5)
    assert meter.statistics.accepted == 501


def test_a_wrong_key_keeps_everything_until_it_is_mended(
    make_meter: Make, api: FakeApi, reports: Reports, tmp_path: Path
) -> None:
    key = "an-old-key"
    meter = make_meter(key=lambda: key, spool_dir=tmp_path)
    meter.record("a", "RRK", 1)
    eventually(lambda: len(api.requests) >= 3)
    assert reports.codes == ["key-unknown"]
    assert meter.statistics.waiting == 1
    key = KEY
    assert meter.flush(5)
    assert len(api.kept) == 1


def test_refusals_and_conflicts_are_reported_with_the_apis_reason(
    meter: Meter, api: FakeApi, reports: Reports
) -> None:
    api.refuse["ZZZ"] = "unknown-subject"
    good = meter.record("a", "RRK", 1)
    bad = meter.record("a", "ZZZ", 1)
    meter.record("a", "RRK", 2, event_id=good)
    assert meter.flush(5)
    rejected, conflict = reports.refused
    assert (rejected.event["id"], rejected.fate) == (bad, "rejected")
    assert (rejected.code, rejected.pointer) == ("unknown-subject", "/1/subject")
    assert (conflict.fate, conflict.event["data"]) == ("conflict", {"quantity": "2"})
    assert api.kept[good]["data"] == {"quantity": "1"}
    statistics = meter.statistics
    assert (statistics.accepted, statistics.rejected, statistics.conflict) == (1, 1, 1)
    assert statistics.waiting == 0


def test_one_unreadable_event_does_not_cost_the_others(
    make_meter: Make, api: FakeApi, reports: Reports
) -> None:
    meter = make_meter(batch_seconds=0.1)
    for number in range(50):
        meter.record("a", "RRK", 1, {"note": "unreadable" if number == 31 else "fine"})
    assert meter.flush(5)
    assert len(api.kept) == 49
    (refused,) = reports.refused
    assert refused.event["data"]["note"] == "unreadable"
    assert (refused.code, refused.detail) == ("malformed", "The body cannot be read.")


def test_a_batch_that_is_too_large_is_divided(make_meter: Make, api: FakeApi) -> None:
    api.max_events = 7
    meter = make_meter(batch_seconds=0.1)
    ids = [meter.record("a", "RRK", 1) for _ in range(40)]
    assert meter.flush(5)
    assert api.order == ids
    before = len(api.requests)
    for _ in range(10):
        meter.record("a", "RRK", 1)
    assert meter.flush(5)
    # The lesson was kept: two requests and none refused.
    assert len(api.requests) == before + 2


def test_withdrawal_and_replacement_name_the_original(meter: Meter, api: FakeApi) -> None:
    at = datetime(2026, 4, 3, 10, tzinfo=UTC)
    wrong = meter.record("study.archived", "RRK", 10, at=at)
    withdrawal = meter.withdraw(wrong, "RRK", "counted twice")
    replacement = meter.replace(wrong, "study.archived", "RRK", "1.0", {"modality": "MR"}, at)
    assert meter.flush(5)
    assert api.kept[withdrawal]["withdraws"] == wrong
    assert api.kept[withdrawal]["type"] == "uk.paygo.withdrawal"
    assert api.kept[withdrawal]["data"] == {"event": wrong, "reason": "counted twice"}
    assert api.kept[replacement]["replaces"] == wrong
    assert api.kept[replacement]["data"] == {"quantity": "1.0", "modality": "MR"}


def test_a_manifest_is_posted_and_answered(make_meter: Make, api: FakeApi) -> None:
    meter = make_meter()
    assert meter.manifest("2026-04", "studies-archived", 3, Decimal("4.5")) == {"agrees": True}
    assert api.manifests == [
        {
            "source": SOURCE,
            "period": "2026-04",
            "meter": "studies-archived",
            "count": 3,
            "sum": "4.5",
        }
    ]
    api.faults.append(problem(422, "manifest-differs", "We have 4."))
    with pytest.raises(ManifestRefused, match="We have 4"):
        meter.manifest("2026-04", "studies-archived", 3, Decimal("4.5"))
    with pytest.raises(ValueError, match="month"):
        meter.manifest("April", "studies-archived", 3, 4)


def test_programming_errors_raise_at_once(make_meter: Make) -> None:
    meter = make_meter()
    with pytest.raises(TypeError, match="not float"):
        meter.record("a", "RRK", 1.5)  # type: ignore[arg-type]  # the very thing that is refused
    with pytest.raises(ValueError, match="time zone"):
        meter.record("a", "RRK", 1, at=datetime(2026, 4, 3))  # noqa: DTZ001 - likewise
    assert meter.statistics.recorded == 0


def test_without_strict_programming_errors_are_reported(
    make_meter: Make, api: FakeApi, reports: Reports
) -> None:
    meter = make_meter(strict=False)
    event_id = meter.record("a", "RRK", "many")
    meter.record("a", "RRK", 1)
    assert meter.flush(5)
    (refused,) = reports.refused
    assert (refused.event, refused.fate) == ({"id": event_id}, "invalid")
    assert len(api.kept) == 1
    assert meter.statistics.rejected == 1


def test_a_callback_that_raises_harms_nobody(api: FakeApi) -> None:
    def broken(report: object) -> None:
        raise RuntimeError(report)

    api.refuse["ZZZ"] = "unknown-subject"
    api.faults.append(Fault(500))
    options = Options(batch_seconds=0.01, backoff_seconds=0.01)
    with Meter(api.url, KEY, SOURCE, on_rejected=broken, on_error=broken, options=options) as meter:
        meter.record("a", "ZZZ", 1)
        meter.record("a", "RRK", 1)
        assert meter.flush(5)
    assert len(api.kept) == 1


def test_a_clock_that_differs_from_the_apis_is_told_once(
    make_meter: Make, api: FakeApi, reports: Reports
) -> None:
    api.date_offset = -3600.0
    meter = make_meter()
    for _ in range(2):
        meter.record("a", "RRK", 1)
        assert meter.flush(5)
    (trouble,) = reports.troubles
    assert trouble.code == "clock-skew"
    assert re.search(r"360[0-2] s ahead", trouble.detail)


def test_a_clock_set_back_neither_stops_delivery_nor_repeats_ids(
    make_meter: Make, api: FakeApi
) -> None:
    instants = [datetime.now(UTC) + timedelta(seconds=s) for s in (0, 7200, -7200)]
    present = [instants[0]]
    meter = make_meter(clock=lambda: present[0])
    ids = []
    for instant in instants:
        present[0] = instant
        ids.append(meter.record("a", "RRK", 1))
        assert meter.flush(5)
    assert len(set(ids)) == 3
    times = [datetime.fromisoformat(api.kept[event_id]["time"]) for event_id in ids]
    assert times == instants


def test_memory_is_bounded_and_the_loss_is_told(
    make_meter: Make, api: FakeApi, reports: Reports
) -> None:
    api.always = Fault(503)
    meter = make_meter(memory_events=3)
    ids = [meter.record("a", "RRK", number) for number in range(5)]
    lost = [trouble.event["id"] for trouble in reports.troubles if trouble.event]
    assert lost == ids[3:]
    api.always = None
    assert meter.flush(5)
    assert list(api.kept) == ids[:3]
    assert (meter.statistics.lost, meter.statistics.accepted) == (2, 3)


def test_leaving_the_context_delivers(api: FakeApi) -> None:
    with Meter(api.url, KEY, SOURCE, options=Options(batch_seconds=60)) as meter:
        meter.record("a", "RRK", 1)
    assert len(api.kept) == 1
    assert meter.close()


def test_recording_after_close_is_told_and_raises_nothing(
    make_meter: Make, reports: Reports
) -> None:
    meter = make_meter()
    meter.close()
    meter.record("a", "RRK", 1)
    assert reports.codes == ["lost"]


def test_closing_is_bounded_while_the_api_is_down(make_meter: Make, api: FakeApi) -> None:
    api.always = Fault(503)
    meter = make_meter()
    meter.record("a", "RRK", 1)
    started = time.monotonic()
    assert not meter.close(0.2)
    assert time.monotonic() - started < 1


def test_an_unusable_key_is_never_printed(make_meter: Make, api: FakeApi, reports: Reports) -> None:
    with pytest.raises(ValueError, match="no plain word") as caught:
        make_meter(key="secret\n")
    assert "secret" not in str(caught.value)
    meter = make_meter(key=lambda: "secret\n")
    meter.record("a", "RRK", 1)
    eventually(lambda: reports.troubles)
    assert "secret" not in str(reports)
    assert api.requests == []


def test_a_netrc_entry_does_not_replace_the_key(
    make_meter: Make, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    meter = make_meter()
    meter.record("a", "RRK", 1)
    assert meter.flush(5)
    assert len(api.kept) == 1


def test_an_address_that_is_none_is_refused() -> None:
    for url in ("metering.example.nhs.uk", "ftp://x/", "http://"):
        with pytest.raises(ValueError, match="not an http"):
            Meter(url, KEY, SOURCE)


def test_the_sdk_needs_nothing_of_the_server() -> None:
    script = (
        "import sys, metering.client\n"
        "heavy = {'flask', 'sqlalchemy', 'psycopg', 'msgspec', 'structlog', 'billing'}\n"
        "ours = {m for m in sys.modules if m.startswith('metering.')}\n"
        "print(sorted(heavy & {m.split('.')[0] for m in sys.modules}),\n"
        "      sorted(m for m in ours if not m.startswith('metering.client')))\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    kit = "['metering.kit', 'metering.kit.clock', 'metering.kit.ids', 'metering.periods']"
    assert found.stdout == f"[] {kit}\n", found.stderr
