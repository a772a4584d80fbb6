"""`paygo events post`: files of events, posted whole, in parts, and again."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.progress import Progress, TaskID, TextColumn

from billing.cli import events as command
from metering.app import create_app
from metering.client.transport import Again, Outcome, Transport
from metering.kit import clock
from metering.kit.config import Settings
from metering.kit.db import Database
from tests.metering import make
from tests.metering.make import event
from tests.processes import listening

HEAD = "id,source,type,subject,time,studies,modality\n"


@dataclass(frozen=True)
class Api:
    """A real metering API."""

    url: str
    key: str

    def post(self, file: Path, *words: str) -> Result:
        arguments = ["post", str(file), "--url", self.url, "--key", self.key, *words]
        return CliRunner().invoke(command.events, arguments)


@pytest.fixture
def api(database: Database) -> Iterator[Api]:
    make.catalogue(database, now=clock.now())
    app = create_app(Settings.from_environment({"PAYGO_DATA_DIR": "/nowhere"}), database)
    with listening(app) as url:
        yield Api(url, make.key(database, now=clock.now()))


def now() -> str:
    return clock.now().isoformat()


def lines(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


def test_a_csv_file_is_posted_and_what_is_refused_is_written_beside_it(
    api: Api, tmp_path: Path
) -> None:
    file = tmp_path / "events.csv"
    start = f"imaging-archive,study.archived,RRK,{now()}"
    file.write_text(
        HEAD
        + lines(
            f"a,{start},1.5,CT",
            f"b,{start},many,CT",
            f"c,{start},2,",
            f"d,{start.replace('RRK', 'ZZZ')},2,CT",
            f"a,{start},1.5,CT",
        )
    )
    said = api.post(file)
    assert said.exit_code == 1
    assert "5 events: 2 accepted, 1 duplicate, 0 conflict, 2 rejected." in said.output
    with (tmp_path / "events.csv.errors.csv").open() as written:
        refused = list(csv.DictReader(written))
    assert [(row["event"], row["code"]) for row in refused] == [
        ("3", "quantity-not-a-number"),
        ("5", "subject-unknown"),
    ]
    assert not (tmp_path / "events.csv.posted").exists()
    again = api.post(file)
    assert "5 events: 0 accepted, 3 duplicate" in again.output


def test_lines_and_a_list_of_json_are_posted_to_the_last_digit(
    api: Api, tmp_path: Path, database: Database
) -> None:
    many = [event(number, time=now()) for number in range(5)]
    listed, lined = tmp_path / "list.json", tmp_path / "lines.jsonl"
    listed.write_text(json.dumps(many[:2]))
    lined.write_text(lines(*(json.dumps(one) for one in many)))
    assert "2 events: 2 accepted" in api.post(listed).output
    said = api.post(lined, "--batch", "2")
    assert (said.exit_code, said.output.splitlines()[-1]) == (
        0,
        "5 events: 3 accepted, 2 duplicate, 0 conflict, 0 rejected.",
    )


def test_an_interrupted_file_goes_on_where_it_was(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    many = [event(number, time=now()) for number in range(5)]
    many[0]["subject"] = "ZZZ"
    file.write_text(lines(*(json.dumps(one) for one in many)))
    real, sent = Transport.post, []

    def third_fails(self: Transport, payloads: list[bytes]) -> Outcome:
        sent.append(len(payloads))
        return Again("down", "it is down") if len(sent) == 3 else real(self, payloads)

    monkeypatch.setattr(Transport, "post", third_fails)
    first = api.post(file, "--batch", "2")
    assert isinstance(first.exception, command.EventsNotPosted)
    assert "from number 5 on: it is down" in first.exception.detail
    second = api.post(file, "--batch", "2")
    assert "Going on after the first 4 events." in second.output
    assert second.exit_code == 0
    assert sent == [2, 2, 1, 1]
    errors = (tmp_path / "events.jsonl.errors.csv").read_text()
    assert "subject-unknown" in errors, "what was refused before the interruption stays told"


@pytest.mark.parametrize("listed", [False, True])
def test_a_terminal_is_shown_how_far_it_is(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    file = tmp_path / "events.json"
    many = [json.dumps(event(number, time=now())) for number in range(5)]
    file.write_text(f"[{','.join(many)}]" if listed else lines(*many))
    real, shown = Progress.update, []

    def noting(self: Progress, task: TaskID, **changed: int) -> None:
        real(self, task, **changed)
        texts = [column for column in self.columns if isinstance(column, TextColumn)]
        shown.append(" ".join(str(column(self.tasks[0])) for column in texts))

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(Progress, "update", noting)
    assert api.post(file, "--batch", "2").exit_code == 0
    assert [row.split() for row in shown] == [
        ["Posting", *([] if listed else [percent]), count, "events"]
        for percent, count in (("40%", "2"), ("80%", "4"), ("100%", "5"))
    ]


def test_a_changed_file_begins_anew(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(event(1, time=now())))
    command.Place(file, api.url).write(1)
    assert command.Place(file, "https://another.test").read() == 0
    file.write_text(json.dumps(event(2, time=now())))
    assert "1 events: 1 accepted" in api.post(file).output


def test_a_time_without_an_offset_is_on_the_london_clock(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    times = ["2026-07-03 10:00", "2026-12-03T10:00:00", "2026-07-03", "2026-07-03T10:00:00Z", "x"]
    file.write_text(HEAD + lines(*(f"a,s,t,RRK,{time},1,CT" for time in times)))
    read = [json.loads(row.event)["time"] for row in command.read_events(file)]
    assert read == [
        "2026-07-03T10:00:00+01:00",
        "2026-12-03T10:00:00+00:00",
        "2026-07-03T00:00:00+01:00",
        "2026-07-03T10:00:00Z",
        "x",
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"id,source\n1,2\n", "needs the columns"),
        ("a.csv", b"id,id,source,type,subject,time\n", "each once"),
        ("a.csv", HEAD.encode() + b"a,b\n", "another number of cells"),
        ("a.csv", HEAD.encode() + b"a,b,c,d,e,1,\xff\n", "not CSV in UTF-8"),
        ("a.json", b"[{]", "not JSON"),
        ("a.jsonl", b"{}\n7\n", "Line 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(command.EventFileUnreadable, match=told):
        list(command.read_events(file))
