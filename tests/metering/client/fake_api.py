"""A strict metering API over real HTTP, with faults on demand.

As a module it lives in the test's process; run as a program it keeps its
events in a file, so that it can be killed and started again:

    python fake_api.py PORT EVENTS_FILE [FAULT ...]
"""

import gzip
import json
import os
import sys
import threading
import time
from collections import deque
from datetime import datetime
from decimal import Decimal
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

KEY = "the-key"
SOURCE = "imaging-archive"
MAX_BYTES = 8 * 1024 * 1024
ENVELOPE = {"specversion", "id", "source", "type", "subject", "time", "data"}


class Fault:
    """What goes wrong with one request; see `Handler.do_POST`."""

    def __init__(
        self,
        status: int = 0,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        keep: bool = False,
        drop: bool = False,
        delay: float = 0.0,
        die: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.body = body
        self.keep = keep
        self.drop = drop
        self.delay = delay
        self.die = die


def problem(status: int, code: str, detail: str) -> Fault:
    body = json.dumps({"type": f"/problems/{code}", "status": status, "detail": detail})
    return Fault(status, headers={"Content-Type": "application/problem+json"}, body=body.encode())


class FakeApi(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int = 0, path: Path | None = None) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.duplicates = 0
        self.requests: list[dict[str, Any]] = []
        self.manifests: list[dict[str, Any]] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.refuse: dict[str, str] = {}
        self.max_events = 10_000
        self.gzip_allowed = True
        self.date_offset = 0.0
        self.lock = threading.Lock()
        self.path = path
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                event = json.loads(line)
                self.kept[event["id"]] = event
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> "FakeApi":
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news here."""

    def keep(self, batch: list[Any]) -> dict[str, Any]:
        """Decide each event's fate and return the receipt; durable before it returns."""
        counts = {"accepted": 0, "duplicate": 0, "conflict": 0, "rejected": 0}
        listed = []
        with self.lock:
            new = []
            for index, event in enumerate(batch):
                fate, pointer, code = self.fate(event)
                counts[fate] += 1
                if fate == "accepted":
                    self.kept[event["id"]] = event
                    self.order.append(event["id"])
                    new.append(event)
                    continue
                self.duplicates += fate == "duplicate"
                listed.append(
                    {
                        "index": index,
                        "id": event.get("id"),
                        "fate": fate,
                        "pointer": f"/{index}{pointer}",
                        "code": code,
                        "detail": f"{code}.",
                    }
                )
            if self.path is not None and new:
                with self.path.open("a") as file:
                    file.writelines(json.dumps(event) + "\n" for event in new)
                    file.flush()
                    os.fsync(file.fileno())
        return {"received": len(batch), **counts, "events": listed}

    def fate(self, event: dict[str, Any]) -> tuple[str, str, str]:
        known = self.kept.get(event["id"])
        if known is not None:
            same = known == event
            return ("duplicate", "", "known-id") if same else ("conflict", "", "other-content")
        if event["subject"] in self.refuse:
            return "rejected", "/subject", self.refuse[event["subject"]]
        return "accepted", "", ""


def check_event(event: Any) -> None:
    """Fail loudly on anything the wire contract does not allow."""
    assert isinstance(event, dict)
    assert event.keys() - {"withdraws", "replaces"} == ENVELOPE, event.keys()
    assert event["specversion"] == "1.0"
    assert event["source"] == SOURCE
    for name in ("id", "type", "subject", "withdraws", "replaces"):
        assert isinstance(event.get(name, "x"), str)
        assert event.get(name, "x")
    if "-" in event["id"]:
        assert UUID(event["id"]).version == 7
    assert event["time"].endswith("Z")
    assert len(event["time"]) == len("2026-04-03T10:00:00.123456Z")
    datetime.fromisoformat(event["time"])
    assert all(isinstance(value, str) for value in event["data"].values())
    if "quantity" in event["data"]:
        assert Decimal(event["data"]["quantity"]) >= 0
    if event["type"] == "uk.paygo.withdrawal":
        assert event["data"].keys() == {"event", "reason"}
        assert event["data"]["event"] == event["withdraws"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeApi

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output quiet."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((timestamp or time.time()) + self.server.date_offset, usegmt=True)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        encoding = self.headers.get("Content-Encoding", "identity")
        assert encoding in {"identity", "gzip"}
        body = gzip.decompress(raw) if encoding == "gzip" else raw
        with self.server.lock:
            fault = self.server.faults.popleft() if self.server.faults else self.server.always
            self.server.requests.append(
                {"encoding": encoding, "bytes": len(body), "at": time.monotonic()}
            )
        if fault is not None:
            time.sleep(fault.delay)
            if fault.keep:
                self.server.keep(json.loads(body))
            if fault.die:
                os.kill(os.getpid(), 9)
            if fault.drop:
                self.close_connection = True
                self.connection.close()
                return
            if fault.status:
                self.answer(fault.status, fault.body, fault.headers)
                return
        if self.headers["Authorization"] != f"Bearer {KEY}":
            refused = problem(401, "key-unknown", "This key is unknown.")
        elif self.path == "/api/v1/manifests":
            self.server.manifests.append(json.loads(body))
            self.answer(201, b'{"agrees": true}', {"Content-Type": "application/json"})
            return
        elif self.path != "/api/v1/events":
            refused = problem(404, "not-found", "No such address.")
        elif self.headers["Content-Type"] != "application/cloudevents-batch+json" or (
            encoding == "gzip" and not self.server.gzip_allowed
        ):
            refused = problem(415, "unsupported-media-type", "Not read here.")
        elif len(body) > MAX_BYTES or body.count(b'"specversion"') > self.server.max_events:
            refused = problem(413, "too-large", "Send fewer.")
        elif b"unreadable" in body:
            refused = problem(400, "malformed", "The body cannot be read.")
        else:
            self.receive(json.loads(body))
            return
        self.answer(refused.status, refused.body, refused.headers)

    def receive(self, batch: list[Any]) -> None:
        for event in batch:
            check_event(event)
        receipt = self.server.keep(batch)
        if self.headers.get("Prefer") == "return=minimal" and receipt["accepted"] == len(batch):
            self.answer(204, b"", {"Preference-Applied": "return=minimal"})
        else:
            self.answer(200, json.dumps(receipt).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


FAULTS = {
    "die-before-keeping": Fault(die=True),
    "die-after-keeping": Fault(die=True, keep=True),
    "well": Fault(),
}

if __name__ == "__main__":
    api = FakeApi(int(sys.argv[1]), Path(sys.argv[2]))
    api.faults.extend(FAULTS[name] for name in sys.argv[3:])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    api.serve_forever()
