"""Does paygo stay quick, and its memory flat, for an hour at half of what it can take?

    python -m benchmarks.sustained                   # an hour
    python -m benchmarks.sustained --minutes 5       # shorter
    python -m benchmarks.sustained --rate 2000       # events a second, instead of half the maximum

A whole `paygo serve --with-scheduler` on an embedded PostgreSQL with fsync on. First as many
events as it takes are posted for a while, which is the maximum; then half of that at even
intervals, while people read pages and the scheduler runs its jobs. Each tenth of the time is a
line: median and 99th percentile of posts (from when one was due, so that waiting counts) and
pages, how far readings are behind, and the memory of all processes. At the end come the same for
the whole time, and how each process's memory grew: the slope of a straight line through every
tenth but the first two, in which caches fill.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import requests
from sqlalchemy import text

from billing.demo import catalogue, loading
from billing.demo.usage import Plan, chosen_trusts
from metering.kit.clock import now
from metering.kit.db import Database
from metering.kit.ids import uuid7
from metering.kit.logs import configure_logs
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.periods import Month

PASSWORD = "correct-horse-battery-9"
POSTERS = 4
READERS = {
    "analyst@demo.example": (
        "/console/",
        ("", "month-ends", "quarantine", "reconciliation", "accounts"),
    ),
    "finance@demo.example": ("/portal/", ("", "usage", "prices", "invoices", "statement")),
}
"""Who reads pages meanwhile, where they begin, and which pages below it they read."""
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WIDTH = 72
_SETTLED = 2
"""Tenths after which caches are full and memory is judged."""


@dataclass
class Span:
    """What was measured in one part of the time."""

    posts: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def shown(self) -> str:
        """Return the span as a line's figures: milliseconds, and seconds behind."""
        return " ".join(
            f"{value:>8}"
            for value in (
                len(self.posts),
                *_percentiles(self.posts),
                *_percentiles(self.pages),
                f"{max(self.lags, default=0):.1f}",
                len(self.failed),
            )
        )


def _percentiles(seconds: Sequence[float]) -> tuple[str, str]:
    if len(seconds) < 2:
        return ("-", "-")
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49] * 1000:.0f}", f"{cuts[98] * 1000:.0f}"


class Events:
    """Batches of events as services post them, made as they are needed."""

    def __init__(self, key: str, codes: Sequence[str], *, batch: int) -> None:
        self.service = catalogue.services()[0]
        self.key = key
        self._codes = codes
        self._batch = batch

    def post(self, session: requests.Session, url: str, draw: Random) -> bool:
        """Post one batch; return whether it was taken."""
        at = now()
        events = [self._event(at, draw) for _ in range(self._batch)]
        try:
            answer = session.post(
                f"{url}/api/v1/events",
                data=json.dumps(events).encode(),
                headers={
                    "Authorization": f"Bearer {self.key}",
                    "Content-Type": "application/cloudevents-batch+json",
                    "Prefer": "return=minimal",
                },
                timeout=60,
            )
        except requests.RequestException:
            return False
        # With nothing to say of any event the answer is empty.
        return answer.status_code == 204

    def _event(self, at: datetime, draw: Random) -> dict[str, Any]:
        stream = draw.choice(self.service.streams)
        quantities = {
            meter.quantity_field: "2"
            for meter in self.service.meters
            if meter.event_type == stream.event_type and meter.quantity_field is not None
        }
        return {
            "specversion": "1.0",
            "id": str(uuid7(now=at)),
            "source": self.service.code,
            "type": stream.event_type,
            "subject": draw.choice(self._codes),
            "time": at.isoformat(),
            "data": {**stream.dimensions, **quantities},
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=100, help="events of a post")
    parser.add_argument("--rate", type=int, help="events a second; else half the maximum")
    parser.add_argument("--trusts", type=int, default=200)
    parser.add_argument("--port", type=int, default=8099)
    options = parser.parse_args()
    configure_logs(level="ERROR")
    with tempfile.TemporaryDirectory(prefix="paygo-benchmark-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "postgres") as url:
            upgrade(url)
            database = Database(url)
            events = _load(database, options)
            with _serving(url, options.port) as (process, address):
                measure(database, events, address, process.pid, options)
            database.dispose()


def _load(database: Database, options: argparse.Namespace) -> Events:
    services = catalogue.services()
    plan = Plan(Month.of(now()).previous, trust_count=options.trusts)
    start = plan.month.period.start
    with database.transaction() as session:
        loading.register_bodies(session, now=start)
        for service in services:
            loading.register_service(session, service=service, now=start)
            loading.price_service(session, service=service, month=plan.month, now=start)
        bodies = chosen_trusts(plan)
        for body in bodies:
            loading.open_account(session, body=body, services=services, month=plan.month, now=start)
        key = loading.issue_key(session, service=services[0], now=start)
        for person in loading.people(plan):
            if person.email in READERS:
                loading.make_person(session, person=person, password=PASSWORD, now=start)
    return Events(key, [body.ods_code for body in bodies], batch=options.batch)


@contextmanager
def _serving(url: str, port: int) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "PAYGO_SECRET_KEY": "a-key-for-the-benchmark-of-an-hour-only",
        "PAYGO_REQUESTS_PER_MINUTE": "0",
        "PAYGO_LOG_LEVEL": "error",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "billing.cli", "serve", "--with-scheduler", "--port", str(port)],
        env=environment,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if requests.get(f"{address}/readyz", timeout=5).status_code == 200:
                    break
            except requests.RequestException:
                pass
            time.sleep(0.1)
        yield process, address
    finally:
        process.terminate()
        process.wait(60)


def measure(
    database: Database, events: Events, url: str, root: int, options: argparse.Namespace
) -> None:
    """Find the maximum, then post half of it for the time asked for, and print each tenth."""
    rate = options.rate
    if rate is None:
        seconds = min(30.0, options.minutes * 6)
        fastest = _maximum(events, url, seconds) * options.batch
        rate = max(options.batch, round(fastest / 2))
        print(f"maximum {fastest:,.0f} events/s for {seconds:.0f} s", flush=True)
        _drain(database)
    print(f"posting {rate:,} events/s in batches of {options.batch}", flush=True)
    print(
        "minute  "
        + " ".join(
            f"{name:>8}"
            for name in ("posts", "p50 ms", "p99 ms", "pages50", "pages99", "behind s", "failed")
        )
        + "  MB"
    )
    spans = [Span() for _ in range(10)]
    stop = threading.Event()
    begun = time.monotonic()
    length = options.minutes * 60 / len(spans)

    def span() -> Span:
        return spans[min(len(spans) - 1, int((time.monotonic() - begun) / length))]

    threads = [
        threading.Thread(target=_post, args=(events, url, options.batch / rate, place, span, stop))
        for place in range(POSTERS)
    ]
    threads += [threading.Thread(target=_read, args=(url, email, span, stop)) for email in READERS]
    threads.append(threading.Thread(target=_look, args=(database, span, stop)))
    for thread in threads:
        thread.start()
    memory = [_memory(root)]
    try:
        for number, one in enumerate(spans, start=1):
            time.sleep(max(0.0, begun + number * length - time.monotonic()))
            memory.append(_memory(root))
            print(
                f"{number * length / 60:>6.1f}  {one.shown()}  {sum(memory[-1].values()) // 1024}",
                flush=True,
            )
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    _drain(database)
    whole = Span(
        [took for one in spans for took in one.posts],
        [took for one in spans for took in one.pages],
        [lag for one in spans for lag in one.lags],
        [what for one in spans for what in one.failed],
    )
    print(f" whole  {whole.shown()}")
    if whole.failed:
        print(f"failed: {dict(Counter(whole.failed))}")
    _report_memory(memory, minutes=length / 60)
    with database.snapshot() as session:
        stored = session.scalar(text("SELECT count(*) FROM event_keys"))
        counted = session.scalar(text("SELECT sum(event_count) FROM readings"))
        rows = session.scalar(text("SELECT count(*) FROM usage_events"))
        failed = session.scalar(
            text("SELECT count(*) FROM job_runs WHERE outcome NOT IN ('running', 'succeeded')")
        )
    print(
        f"{stored:,} events, {rows:,} rows, {counted:,} counted in readings, {failed} jobs failed"
    )


def _report_memory(memory: Sequence[dict[str, int]], *, minutes: float) -> None:
    """Print each process's memory after the first tenth, in the middle and at the end, and how
    it grew.

    Args:
        memory: kilobytes by process, at the start and after each tenth.
        minutes: of a tenth.
    """
    print("memory in MB after a tenth, in the middle, at the end, and MB an hour:")
    for name in sorted(memory[-1]):
        figures = [memory[at].get(name, 0) // 1024 for at in (1, len(memory) // 2, -1)]
        settled = [
            (number * minutes / 60, part[name] / 1024)
            for number, part in enumerate(memory)
            if number >= _SETTLED and name in part
        ]
        slope = (
            statistics.linear_regression(*zip(*settled, strict=True)).slope
            if len(settled) > 1
            else 0.0
        )
        print(f"  {name:<{_WIDTH}}" + "".join(f"{one:>7}" for one in figures) + f"{slope:>+9.1f}")


def _maximum(events: Events, url: str, seconds: float) -> float:
    """Return how many posts a second are taken when each is followed by the next."""
    done = itertools.count()
    end = time.monotonic() + seconds

    def work(place: int) -> None:
        draw = Random(place)
        with requests.Session() as session:
            while time.monotonic() < end:
                if events.post(session, url, draw):
                    next(done)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(POSTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return next(done) / seconds


def _post(
    events: Events, url: str, each: float, place: int, span: Any, stop: threading.Event
) -> None:
    """Post a share of the batches at even intervals; what waits for its turn has waited."""
    draw = Random(place)
    due = time.monotonic() + each * place
    with requests.Session() as session:
        while not stop.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            taken = events.post(session, url, draw)
            found = span()
            found.posts.append(time.monotonic() - due)
            if not taken:
                found.failed.append("post")
            due += each * POSTERS


def _read(url: str, email: str, span: Any, stop: threading.Event) -> None:
    """Read pages as a person who is signed in, two a second."""
    start, pages = READERS[email]
    with requests.Session() as session:
        token = _TOKEN.search(session.get(f"{url}/sign-in", timeout=60).text)
        assert token is not None
        session.post(
            f"{url}/sign-in",
            data={"email": email, "password": PASSWORD, "csrf_token": token[1]},
            timeout=60,
        )
        # Who works at one trust is sent on to its pages.
        home = session.get(f"{url}{start}", timeout=60).url
        for page in itertools.cycle(pages):
            if stop.wait(0.5):
                return
            asked = time.monotonic()
            try:
                answer = session.get(home + page, timeout=60)
                # Whoever is no longer signed in is sent elsewhere, and that page is no measure.
                read = answer.status_code == 200 and answer.url == home + page
            except requests.RequestException:
                read = False
            found = span()
            found.pages.append(time.monotonic() - asked)
            if not read:
                found.failed.append(f"{start}{page}")


def _lag(database: Database) -> float:
    with database.snapshot() as session:
        oldest = session.scalar(
            text("SELECT min(received_at) FROM ingest_batches WHERE claimed_at IS NULL")
        )
    return 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()


def _look(database: Database, span: Any, stop: threading.Event) -> None:
    """Look each second how far readings are behind."""
    while not stop.wait(1):
        span().lags.append(_lag(database))


def _drain(database: Database) -> None:
    """Wait until everything is in the readings.

    Raises:
        TimeoutError: the roll-up has stopped.
    """
    end = time.monotonic() + 300
    while _lag(database) > 0:
        if time.monotonic() > end:
            raise TimeoutError("five minutes after the last post not everything is in the readings")
        time.sleep(0.5)


def _memory(root: int) -> dict[str, int]:
    """Return the kilobytes of every process of paygo and its database, shared pages by share."""
    found: dict[str, int] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(stat[1])

    def is_below(pid: int) -> bool:
        while pid and pid not in {root, os.getpid()}:
            pid = parents.get(pid, 0)
        return bool(pid)

    for pid in parents:
        if pid == os.getpid() or not is_below(pid):
            continue
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        share = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        name = _name(words.strip(), pid)
        found[name] = found.get(name, 0) + (int(share[1]) if share else 0)
    return found


def _name(words: str, pid: int) -> str:
    if "billing.cli" in words:
        return f"paygo {words.partition('billing.cli ')[2].split(' ')[0]} {pid}"
    return "PostgreSQL, all of it" if "postgres" in words else f"{words[:40]} {pid}"


if __name__ == "__main__":
    main()
