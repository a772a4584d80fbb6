"""`/metrics` for Prometheus: guarded by a token, or open to this machine alone."""

import hmac
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from billing.monitoring.queries import METRICS, Sample, samples
from metering.kit.errors import NotFound
from metering.kit.guards import Guard, guard_blueprint
from metering.kit.jobruns import Job
from metering.kit.web import edge

_STATE = "paygo_monitoring"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


class NoSuchMetrics(NotFound):
    """The metrics are not for whoever asks: the token is missing or wrong, or, where none is
    set, the request is from another machine."""

    code = "metrics-not-found"
    title = "No such page"


class _Collected:
    """Gauges made from samples that were read already."""

    def __init__(self, found: Sequence[Sample]) -> None:
        self._found = found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        by_metric: dict[str, list[Sample]] = defaultdict(list)
        for sample in self._found:
            by_metric[sample.metric.name].append(sample)
        for metric in METRICS:
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for sample in by_metric[metric.name]:
                family.add_metric(sample.labels, sample.value)
            yield family


def _from_here() -> bool:
    # A proxy on this machine asks for others: what it forwards is not from here.
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _check(token: str | None) -> Callable[[], None]:
    def check() -> None:
        if token is None:
            allowed = _from_here()
        else:
            offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
            allowed = hmac.compare_digest(offered.encode(), token.encode())
        if not allowed:
            raise NoSuchMetrics("There is no such page.")

    return check


def _metrics() -> Response:
    """Give every metric as it is now."""
    jobs: Sequence[Job] = current_app.extensions[_STATE]
    with edge().database.snapshot() as session:
        found = list(samples(session, now=edge().clock(), jobs=jobs))
    registry = CollectorRegistry()
    registry.register(_Collected(found))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def register(app: Flask, *, token: str | None, jobs: Sequence[Job]) -> None:
    """Add `/metrics` to `app`.

    Args:
        token: what `Authorization: Bearer` must carry; None lets this machine ask alone.
        jobs: the jobs table, which says how often each is meant to run.
    """
    app.extensions[_STATE] = tuple(jobs)
    blueprint = Blueprint("monitoring", __name__)
    guard_blueprint(
        blueprint,
        Guard("metrics token" if token else "this machine", _check(token), csrf=False),
    )
    blueprint.add_url_rule("/metrics", "metrics", _metrics)
    app.register_blueprint(blueprint)
