"""The spool by itself: what was appended and not settled is always found again."""

import errno
import os
import shutil
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.client import segments, spool
from metering.client.segments import Entry, read_line, write_line
from metering.client.spool import SetAside, Spool, SpoolFull

PLENTY = 1 << 30


def open_spool(root: Path, **wishes: int) -> Spool:
    return Spool(root, name=uuid4().hex, max_bytes=wishes.get("max_bytes", PLENTY))


def take_all(opened: Spool) -> list[Entry]:
    return opened.take(limit=1_000_000, max_bytes=PLENTY)


def payloads(entries: list[Entry]) -> list[bytes]:
    return [entry.payload for entry in entries]


def crash(opened: Spool) -> None:
    """End as `kill -9` does: nothing is written, the kernel closes the descriptors."""
    opened.abandon()


def files(root: Path, pattern: str = "*.events") -> list[Path]:
    return sorted(root.rglob(pattern))


def test_a_disk_that_stays_full_costs_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "RETRY_SECONDS", 0)
    opened = open_spool(tmp_path)
    opened.append(b"before")
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)
        for _ in range(50):
            with pytest.raises(OSError, match="No space"):
                opened.append(b"during")
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert len(files(tmp_path)) == 1
    opened.close()


@given(st.binary(min_size=1, max_size=200).filter(lambda b: b"\n" not in b), st.integers(0, 10**12))
def test_a_line_reads_back_and_any_changed_byte_is_noticed(payload: bytes, ordinal: int) -> None:
    ordinal %= 10**12
    line = write_line(ordinal, payload)[:-1]
    assert read_line(line) == (ordinal, payload)
    for place in range(len(line)):
        changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        assert read_line(changed) is None


def test_events_come_in_order_and_only_once(tmp_path: Path) -> None:
    opened = open_spool(tmp_path)
    for number in range(10):
        opened.append(b"%d" % number)
    assert payloads(opened.take(limit=3, max_bytes=PLENTY)) == [b"0", b"1", b"2"]
    assert payloads(opened.take(limit=9, max_bytes=2)) == [b"3", b"4"]
    assert len(take_all(opened)) == 5
    assert take_all(opened) == []
    opened.append(b"later")
    assert payloads(take_all(opened)) == [b"later"]
    opened.close()


def test_closing_with_everything_settled_leaves_nothing(tmp_path: Path) -> None:
    opened = open_spool(tmp_path)
    for number in range(10):
        opened.append(b"%d" % number)
    opened.settle(take_all(opened))
    opened.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_adopted_once_and_removed_when_settled(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    for number in range(10):
        first.append(b"%d" % number)
    first.settle(first.take(limit=3, max_bytes=PLENTY))
    first.settle(first.take(limit=1, max_bytes=PLENTY))
    crash(first)
    second, third = open_spool(tmp_path), open_spool(tmp_path)
    assert second.adopt() == 6
    assert (second.adopt(), third.adopt()) == (0, 0)
    taken = take_all(second)
    assert payloads(taken) == [b"%d" % number for number in range(4, 10)]
    second.settle(taken)
    assert list(tmp_path.iterdir()) == []
    second.close()
    third.close()


def test_a_living_process_is_not_robbed(tmp_path: Path) -> None:
    living, other = open_spool(tmp_path), open_spool(tmp_path)
    living.append(b"mine")
    assert other.adopt() == 0
    living.close()
    assert other.adopt() == 1
    other.close()


def test_segments_rotate_and_each_is_removed_when_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 100)
    opened = open_spool(tmp_path)
    for number in range(40):
        opened.append(b"number %d" % number)
    before = len(files(tmp_path))
    assert before > 5
    taken = take_all(opened)
    opened.settle(taken[:20])
    assert before // 3 < len(files(tmp_path)) < before * 2 // 3
    opened.settle(taken[20:])
    assert len(files(tmp_path)) <= 1
    opened.close()


def test_a_quiet_service_does_not_keep_a_growing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "RENEW_BYTES", 100)
    opened = open_spool(tmp_path)
    for _ in range(100):
        opened.append(b"now and then")
        opened.settle(take_all(opened))
        assert sum(path.stat().st_size for path in files(tmp_path)) < 200
    opened.close()


def test_the_bound_is_kept_and_settling_makes_room(tmp_path: Path) -> None:
    opened = open_spool(tmp_path, max_bytes=100)
    opened.append(b"x" * 60)
    with pytest.raises(SpoolFull):
        opened.append(b"x" * 60)
    opened.settle(take_all(opened))
    opened.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_spool(tmp_path)
    opened.append(b"before")
    write = os.write

    def half_a_write(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half_a_write)
    with pytest.raises(OSError, match="No space") as caught:
        opened.append(b"during")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        opened.append(b"too soon after")
    monkeypatch.setattr(time, "monotonic", lambda: opened._retry_at)
    opened.append(b"after")
    crash(opened)
    again = open_spool(tmp_path)
    assert again.adopt() == 2
    assert payloads(take_all(again)) == [b"before", b"after"]
    again.close()


def test_a_damaged_line_costs_itself_only_and_its_file_is_kept(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    for number in range(5):
        first.append(b"event %d" % number)
    crash(first)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"event 2", b"event 7"))
    second = open_spool(tmp_path)
    assert second.adopt() == 4
    assert (second.damage_found(), second.damage_found()) == ([path], [])
    taken = take_all(second)
    assert payloads(taken) == [b"event 0", b"event 1", b"event 3", b"event 4"]
    second.settle(taken)
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("damaged-")
    second.close()


def test_a_file_that_cannot_be_read_is_set_aside_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 1)
    opened = open_spool(tmp_path)
    for number in range(3):
        opened.append(b"%d" % number)
    first = files(tmp_path)[0]
    hidden = first.rename(tmp_path / "hidden")
    with pytest.raises(SetAside) as caught:
        take_all(opened)
    assert caught.value.count == 1
    hidden.rename(first)
    opened.settle(take_all(opened))
    opened.close()
    again = open_spool(tmp_path)
    assert again.adopt() == 1
    assert payloads(take_all(again)) == [b"0"]
    again.close()


def test_files_are_for_the_service_alone(tmp_path: Path) -> None:
    opened = open_spool(tmp_path / "spool")
    opened.append(b"x")
    opened.settle(opened.take(limit=1, max_bytes=1))
    for path in [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    opened.close()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30)),
        st.tuples(st.just("take"), st.integers(1, 40)),
        st.tuples(st.just("settle"), st.integers(1, 40)),
        st.tuples(st.just("sync"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
        st.tuples(st.just("torn"), st.integers(1, 60)),
        st.tuples(st.just("forget-done"), st.integers(1, 60)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=ACTIONS, segment_bytes=st.sampled_from([1, 90, 400, 100_000]))
def test_nothing_appended_is_lost_and_nothing_unknown_appears(
    actions: list[tuple[str, int]], segment_bytes: int
) -> None:
    """Whatever order of appends, receipts, crashes and torn ends: unsettled events return.

    `torn` is a crash inside a write whose `append` therefore never returned;
    `forget-done` is a power cut that took notes of receipts, which may only repeat events.
    """
    folder = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "SEGMENT_BYTES", segment_bytes)
        patch.setattr(spool, "RENEW_BYTES", segment_bytes // 2)
        patch.setattr(segments, "_CHUNK", 256)
        opened = open_spool(folder)
        appended: set[bytes] = set()
        settled: set[bytes] = set()
        taken: list[Entry] = []
        repeats_allowed = False

        def check_new(entries: list[Entry]) -> None:
            for payload in payloads(entries):
                assert payload in appended
                assert repeats_allowed or payload not in settled
            assert len(set(payloads(entries + taken))) == len(entries) + len(taken)

        for action, number in actions:
            if action == "append":
                for _ in range(number):
                    payload = b"event %d %s" % (len(appended), b"." * (len(appended) % 50))
                    opened.append(payload)
                    appended.add(payload)
            elif action == "take":
                new = opened.take(limit=number, max_bytes=500)
                check_new(new)
                taken += new
            elif action == "settle":
                opened.settle(taken[:number])
                settled |= set(payloads(taken[:number]))
                del taken[:number]
            elif action == "sync":
                opened.sync()
            else:
                opened.close() if action == "close" else crash(opened)
                taken = []
                if action == "torn":
                    for path in files(folder)[-1:]:
                        with path.open("ab") as file:
                            file.write(write_line(999, b"x" * 60)[:number])
                elif action == "forget-done":
                    repeats_allowed = True
                    for path in files(folder, "*.done"):
                        os.truncate(path, max(path.stat().st_size - number, 0))
                opened = open_spool(folder)
                opened.adopt()
        crash(opened)
        last = open_spool(folder)
        last.adopt()
        found = take_all(last)
        taken = []
        check_new(found)
        assert appended - settled <= set(payloads(found))
        last.settle(found)
        last.close()
        assert list(folder.iterdir()) == []
    shutil.rmtree(folder)
