"""Asks an API whatever its description allows, and says where it breaks its promises."""

from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance


def promises_broken(
    described: Any, *, examples: int, least: int, known: Mapping[str, Any] | None = None
) -> list[str]:
    """Return what answers were none that the description promises, by operation.

    Args:
        described: a schema of schemathesis, with what signs its requests in.
        examples: requests of each operation.
        least: operations that are there at least.
        known: parts of paths that name something there is; with these each is asked again.
    """
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= least
    broken: list[str] = []
    for operation in operations:

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            _hold(case)
            if case.path_parameters and known:
                case.path_parameters.update(known)
                _hold(case)

        try:
            ask()
        except (Exception, BaseExceptionGroup) as error:  # all that is broken is told at once
            broken.append(f"{operation.method} {operation.path}: {error}")
    return broken


def _hold(case: Any) -> None:
    # What a description cannot say (a gzip body, a known meter) may still be refused; whether
    # a key is asked for is another test's, since one is always sent.
    case.call_and_validate(excluded_checks=[positive_data_acceptance, ignored_auth])
