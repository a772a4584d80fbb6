"""What the demonstration remembers beside its database: its plan, its keys, how far it came.

`demo.json` in the data folder is readable by its owner only, since it holds the
keys of the six services and the passwords of the people it made.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from billing.demo.usage import Plan
from metering.kit.errors import Conflict
from metering.periods import Month

FILE = "demo.json"


class NotADemonstration(Conflict):
    """The data folder holds something that the demonstration did not make; name another folder."""

    code = "not-a-demonstration"
    title = "The data folder is not the demonstration's"


class OtherPlan(Conflict):
    """The data folder holds a demonstration of another month or size; `--fresh` starts anew."""

    code = "other-plan"
    title = "The data folder holds another demonstration"


@dataclass(frozen=True)
class State:
    """What is in `demo.json`.

    Attributes:
        plan: what decides every event.
        keys: service key by source.
        passwords: password by email address, of the people made.
        posted: sources whose whole month the API has taken.
    """

    plan: Plan
    keys: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    posted: tuple[str, ...] = ()

    def with_posted(self, source: str) -> "State":
        """Return the state after a source's month was taken."""
        return replace(self, posted=(*self.posted, source))


def read(folder: Path) -> State | None:
    """Return the state kept in a data folder, None where no demonstration began.

    Raises:
        NotADemonstration: the folder holds something else.
    """
    file = folder / FILE
    if not file.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise NotADemonstration(
                f"{folder} holds something that the demonstration did not make;"
                " set PAYGO_DATA_DIR to an empty folder."
            )
        return None
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    plan = kept["plan"]
    return State(
        plan=Plan(
            month=Month.parse(plan["month"]),
            trust_count=plan["trust_count"],
            event_count=plan["event_count"],
            seed=plan["seed"],
        ),
        keys=kept["keys"],
        passwords=kept["passwords"],
        posted=tuple(kept["posted"]),
    )


def write(folder: Path, state: State) -> None:
    """Keep the state, whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = asdict(state) | {"plan": asdict(state.plan) | {"month": str(state.plan.month)}}
    beside = folder / f".{FILE}.{os.getpid()}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / FILE)


def remove(folder: Path) -> None:
    """Remove a demonstration's data folder, and nothing else.

    Raises:
        NotADemonstration: the folder is not empty and has no `demo.json` of ours.
    """
    if read(folder) is not None:
        shutil.rmtree(folder)


def agreed_plan(
    kept: State | None,
    *,
    month: Month | None,
    trust_count: int | None,
    event_count: int | None,
    seed: int | None,
    default: Plan,
) -> Plan:
    """Return the plan to go on with: the kept one, which what is asked for must not contradict.

    Raises:
        OtherPlan: it does.
    """
    asked = {
        name: value
        for name, value in {
            "month": month,
            "trust_count": trust_count,
            "event_count": event_count,
            "seed": seed,
        }.items()
        if value is not None
    }
    if kept is None:
        return replace(default, **asked)  # type: ignore[arg-type]  # names and types are Plan's
    if replace(kept.plan, **asked) != kept.plan:  # type: ignore[arg-type]  # as above
        raise OtherPlan(
            f"The data folder holds a demonstration of {kept.plan.month.name} with"
            f" {kept.plan.event_count:,} events of {kept.plan.trust_count} trusts;"
            " add --fresh to start again."
        )
    return kept.plan
