from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metering.client import Meter, Options, Refused, Trouble
from tests.metering.client.fake_api import KEY, SOURCE, FakeApi

QUICK = {
    "batch_seconds": 0.01,
    "fsync_seconds": 0.02,
    "backoff_seconds": 0.01,
    "longest_backoff_seconds": 0.05,
    "slow_seconds": 0.05,
    "exit_seconds": 0.5,
}


class Reports(list[Any]):
    """Everything the callbacks were told."""

    @property
    def refused(self) -> list[Refused]:
        return [report for report in self if isinstance(report, Refused)]

    @property
    def troubles(self) -> list[Trouble]:
        return [report for report in self if isinstance(report, Trouble)]

    @property
    def codes(self) -> list[str]:
        return [trouble.code for trouble in self.troubles]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    api = FakeApi().start()
    yield api
    api.stop()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def make_meter(api: FakeApi, reports: Reports) -> Iterator[Callable[..., Meter]]:
    """Make Meters with short waits; close them at the end without waiting."""
    made: list[Meter] = []

    def make(*, url: str = "", key: Any = KEY, **wishes: Any) -> Meter:
        names = Options.__dataclass_fields__.keys()
        options = Options(**(QUICK | {n: wishes.pop(n) for n in list(wishes) if n in names}))
        meter = Meter(
            url or api.url,
            key,
            SOURCE,
            on_rejected=reports.append,
            on_error=reports.append,
            options=options,
            **wishes,
        )
        made.append(meter)
        return meter

    yield make
    for meter in made:
        meter.close(0)
