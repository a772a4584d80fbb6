"""A strict stand-in for Stripe: a real HTTP server that refuses what Stripe would refuse.

Every parameter is checked against the types that the SDK ships (`stripe.params`), so that a
misspelt or misplaced one fails here and not in production. Idempotency keys are asked for and
held to; invoices add up; it can be slow, down, die before or after the deed, and tell of its
events twice or in any order, signed.
"""

import builtins
import hashlib
import hmac
import itertools
import json
import re
import socket
import threading
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe
import stripe.params
import typing_extensions

SECRET_KEY = "sk_test_fake"
WEBHOOK_SECRET = "whsec_fake"
_PAGE = 3
_OPTIONS = {
    "api_key",
    "stripe_version",
    "stripe_account",
    "stripe_context",
    "max_network_retries",
    "idempotency_key",
    "content_type",
    "headers",
}

Thing = dict[str, Any]


class Refused(Exception):
    """Answered as Stripe answers: a status and an error object."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error"):
        super().__init__(message)
        self.status, self.kind = status, kind


@dataclass
class Fault:
    """What is to go wrong once, at the next call whose `METHOD path` matches.

    `kind`: `drop-before` and `drop-after` the deed cut the line; a number is a status
    answered instead of the deed; `slow` waits for two seconds.
    """

    matching: str
    kind: str


@dataclass
class FakeStripe:
    """Stripe's state, and what a test may do to it."""

    base: str = ""
    customers: dict[str, Thing] = field(default_factory=dict)
    invoices: dict[str, Thing] = field(default_factory=dict)
    payments: dict[str, Thing] = field(default_factory=dict)
    credit_notes: dict[str, Thing] = field(default_factory=dict)
    refunds: dict[str, Thing] = field(default_factory=dict)
    events: list[Thing] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    down: bool = False
    tax_skew: int = 0
    _path: str = ""
    _answers: dict[str, tuple[str, int, Thing]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    # What a test does.

    def fail_next(self, matching: str, kind: str) -> None:
        """Let the next call that matches go wrong."""
        self.faults.append(Fault(matching, kind))

    def pay(self, invoice_id: str, pence: int, *, at: int = 1_779_278_400) -> str:
        """Let a customer pay an invoice (in part); return the payment intent."""
        with self._lock:
            invoice = self.invoices[invoice_id]
            assert invoice["status"] == "open"
            intent = self._new("pi")
            self._paid(invoice, pence, {"type": "payment_intent", "payment_intent": intent}, at)
            return intent

    def finish_refund(self, refund_id: str, status: str) -> None:
        """Let a pending refund succeed or fail."""
        with self._lock:
            refund = self.refunds[refund_id]
            refund["status"] = status
            self._tell("refund.updated" if status != "failed" else "refund.failed", refund)

    def webhooks(self) -> list[tuple[bytes, str]]:
        """Return every event so far as (content, signature)."""
        return [sign(event) for event in self.events]

    def only_invoice(self) -> Thing:
        """Return the one invoice there is."""
        (invoice,) = self.invoices.values()
        return invoice

    # What the API does.

    def answer(self, method: str, path: str, params: Thing, key: str | None) -> tuple[int, Thing]:
        """Answer one call."""
        for pattern, verb, shape, deed in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and verb == method:
                check(params, shape)
                self._path = path
                do = partial(deed, self, params, *match.groups())
                if method == "GET":
                    return 200, do()
                return self._once(method, path, params, key, do)
        raise Refused(f"Unrecognized request URL ({method}: {path})", status=404)

    def _once(
        self, method: str, path: str, params: Thing, key: str | None, deed: Callable[[], Thing]
    ) -> tuple[int, Thing]:
        if not key:
            raise Refused("paygo always sends an idempotency key with a POST")
        said = hashlib.sha256(
            json.dumps([method, path, params], sort_keys=True).encode()
        ).hexdigest()
        known = self._answers.get(key)
        if known is not None:
            if known[0] != said:
                raise Refused(
                    "Keys for idempotent requests can only be used with the same parameters",
                    kind="idempotency_error",
                )
            return known[1], json.loads(json.dumps(known[2]))
        made = deed()
        self._answers[key] = (said, 200, json.loads(json.dumps(made)))
        return 200, made

    def create_customer(self, params: Thing) -> Thing:
        customer = {
            "id": self._new("cus"),
            "object": "customer",
            "name": params.get("name"),
            "email": params.get("email"),
            "metadata": params.get("metadata", {}),
        }
        self.customers[customer["id"]] = customer
        return customer

    def list_customers(self, params: Thing) -> Thing:
        return self._page(
            [one for one in self.customers.values() if one["email"] == params["email"]], params
        )

    def create_invoice(self, params: Thing) -> Thing:
        if params["customer"] not in self.customers:
            raise Refused("No such customer")
        if any(one["number"] == params.get("number") for one in self.invoices.values()):
            raise Refused("The invoice number is already in use")
        if params.get("collection_method") == "send_invoice" and "due_date" not in params:
            raise Refused("send_invoice needs a due date")
        invoice = {
            "id": self._new("in"),
            "object": "invoice",
            "status": "draft",
            "number": params.get("number"),
            "customer": params["customer"],
            "metadata": params.get("metadata", {}),
            "due_date": int(params["due_date"]),
            "total": 0,
            "total_excluding_tax": 0,
            "amount_remaining": 0,
            "amount_paid": 0,
            "hosted_invoice_url": None,
            "payment_settings": params.get("payment_settings"),
            "lines": [],
        }
        self.invoices[invoice["id"]] = invoice
        self._tell("invoice.created", invoice)
        return self._shown(invoice)

    def list_invoices(self, params: Thing) -> Thing:
        mine = [
            self._shown(one)
            for one in self.invoices.values()
            if one["customer"] == params["customer"]
        ]
        return self._page(mine, params)

    def get_invoice(self, _params: Thing, invoice_id: str) -> Thing:
        return self._shown(self._invoice(invoice_id))

    def add_lines(self, params: Thing, invoice_id: str) -> Thing:
        invoice = self._invoice(invoice_id)
        if invoice["status"] != "draft":
            raise Refused("This invoice is no longer editable")
        for line in params["lines"]:
            taxes = line.get("tax_amounts", [])
            for tax in taxes:
                if int(tax["taxable_amount"]) != int(line["amount"]):
                    raise Refused("taxable_amount is not the line's amount")
            invoice["lines"].append(
                {
                    "id": self._new("il"),
                    "object": "line_item",
                    "amount": int(line["amount"]),
                    "description": line.get("description"),
                    "metadata": line.get("metadata", {}),
                    "tax": sum(int(tax["amount"]) for tax in taxes),
                }
            )
        net = sum(line["amount"] for line in invoice["lines"])
        tax = sum(line["tax"] for line in invoice["lines"]) + self.tax_skew
        invoice["total_excluding_tax"], invoice["total"] = net, net + tax
        invoice["amount_remaining"] = max(net + tax, 0)
        return self._shown(invoice)

    def list_lines(self, params: Thing, invoice_id: str) -> Thing:
        return self._page(self._invoice(invoice_id)["lines"], params)

    def finalise(self, _params: Thing, invoice_id: str) -> Thing:
        invoice = self._invoice(invoice_id)
        if invoice["status"] != "draft":
            raise Refused("This invoice is already finalized")
        if not invoice["lines"]:
            raise Refused("Nothing to invoice")
        invoice["status"] = "open"
        invoice["hosted_invoice_url"] = f"https://invoice.example/{invoice_id}"
        self._tell("invoice.finalized", invoice)
        return self._shown(invoice)

    def pay_elsewhere(self, params: Thing, invoice_id: str) -> Thing:
        invoice = self._invoice(invoice_id)
        if params.get("paid_out_of_band") != "true":
            raise Refused("paygo never charges by itself")
        if invoice["status"] != "open":
            raise Refused("Invoice is already paid")
        self._paid(invoice, invoice["amount_remaining"], {"type": "payment_record"}, 1_779_278_400)
        return self._shown(invoice)

    def list_payments(self, params: Thing) -> Thing:
        found = [
            one
            for one in self.payments.values()
            if one["invoice"] == params["invoice"] and one["status"] == params["status"]
        ]
        return self._page(found, params)

    def create_credit_note(self, params: Thing) -> Thing:
        invoice = self._invoice(params["invoice"])
        amount, outside = int(params["amount"]), int(params.get("out_of_band_amount", 0))
        if invoice["status"] not in {"open", "paid"}:
            raise Refused("A credit note needs a finalized invoice")
        if amount - outside > invoice["amount_remaining"]:
            raise Refused("The credit is more than remains to be paid")
        note = {
            "id": self._new("cn"),
            "object": "credit_note",
            "invoice": invoice["id"],
            "amount": amount,
            "metadata": params.get("metadata", {}),
        }
        self.credit_notes[note["id"]] = note
        invoice["amount_remaining"] -= amount - outside
        if invoice["amount_remaining"] == 0:
            invoice["status"] = "paid"
        self._tell("credit_note.created", note)
        self._tell("invoice.updated", invoice)
        return note

    def list_credit_notes(self, params: Thing) -> Thing:
        found = [one for one in self.credit_notes.values() if one["invoice"] == params["invoice"]]
        return self._page(found, params)

    def create_refund(self, params: Thing) -> Thing:
        paid = sum(
            one["amount_paid"]
            for one in self.payments.values()
            if one["payment"].get("payment_intent") == params["payment_intent"]
        )
        given = sum(
            one["amount"]
            for one in self.refunds.values()
            if one["payment_intent"] == params["payment_intent"] and one["status"] != "failed"
        )
        if given + int(params["amount"]) > paid:
            raise Refused("Refund amount is greater than unrefunded amount on charge")
        refund = {
            "id": self._new("re"),
            "object": "refund",
            "payment_intent": params["payment_intent"],
            "amount": int(params["amount"]),
            "status": "pending",
            "metadata": params.get("metadata", {}),
        }
        self.refunds[refund["id"]] = refund
        self._tell("refund.created", refund)
        return refund

    def list_refunds(self, params: Thing) -> Thing:
        found = [
            one
            for one in self.refunds.values()
            if one["payment_intent"] == params["payment_intent"]
        ]
        return self._page(found, params)

    def get_refund(self, _params: Thing, refund_id: str) -> Thing:
        return self.refunds[refund_id]

    def _invoice(self, invoice_id: str) -> Thing:
        if invoice_id not in self.invoices:
            raise Refused(f"No such invoice: '{invoice_id}'", status=404)
        return self.invoices[invoice_id]

    def _paid(self, invoice: Thing, pence: int, how: Thing, at: int) -> None:
        payment = {
            "id": self._new("inpay"),
            "object": "invoice_payment",
            "invoice": invoice["id"],
            "status": "paid",
            "amount_paid": pence,
            "amount_requested": pence,
            "created": at,
            "payment": how,
            "status_transitions": {"paid_at": at, "canceled_at": None},
        }
        self.payments[payment["id"]] = payment
        invoice["amount_paid"] += pence
        invoice["amount_remaining"] = max(invoice["amount_remaining"] - pence, 0)
        self._tell("invoice_payment.paid", payment)
        if invoice["amount_remaining"] == 0:
            invoice["status"] = "paid"
            self._tell("invoice.paid", invoice)

    def _shown(self, invoice: Thing) -> Thing:
        shown = {**invoice, "lines": self._page(invoice["lines"], {})}
        return json.loads(json.dumps(shown))

    def _page(self, things: list[Thing], params: Thing) -> Thing:
        after = params.get("starting_after")
        ids = [thing["id"] for thing in things]
        start = ids.index(after) + 1 if after else 0
        page = things[start : start + _PAGE]
        return {
            "object": "list",
            "data": json.loads(json.dumps(page)),
            "has_more": start + _PAGE < len(things),
            "url": self._path,
        }

    def _tell(self, kind: str, thing: Thing) -> None:
        shown = self._shown(thing) if thing["object"] == "invoice" else thing
        self.events.append(
            {
                "id": self._new("evt"),
                "object": "event",
                "api_version": "2026-10-28.endive",
                "type": kind,
                "created": 1_779_278_400,
                "livemode": False,
                "data": {"object": json.loads(json.dumps(shown))},
            }
        )

    def _new(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids):06d}"


def sign(event: Thing, *, secret: str = WEBHOOK_SECRET, age: int = 0) -> tuple[bytes, str]:
    """Return an event's content and its `Stripe-Signature`, signed `age` seconds ago."""
    content = json.dumps(event).encode()
    at = int(time.time()) - age
    digest = hmac.new(secret.encode(), f"{at}.".encode() + content, hashlib.sha256).hexdigest()
    return content, f"t={at},v1={digest}"


_P = stripe.params
_ROUTES: list[tuple[str, str, str, Callable[..., Thing]]] = [
    (r"/v1/customers", "POST", "CustomerCreateParams", FakeStripe.create_customer),
    (r"/v1/customers", "GET", "CustomerListParams", FakeStripe.list_customers),
    (r"/v1/invoices", "POST", "InvoiceCreateParams", FakeStripe.create_invoice),
    (r"/v1/invoices", "GET", "InvoiceListParams", FakeStripe.list_invoices),
    (r"/v1/invoices/(in_\w+)", "GET", "InvoiceRetrieveParams", FakeStripe.get_invoice),
    (r"/v1/invoices/(in_\w+)/add_lines", "POST", "InvoiceAddLinesParams", FakeStripe.add_lines),
    (r"/v1/invoices/(in_\w+)/lines", "GET", "InvoiceLineItemListParams", FakeStripe.list_lines),
    (
        r"/v1/invoices/(in_\w+)/finalize",
        "POST",
        "InvoiceFinalizeInvoiceParams",
        FakeStripe.finalise,
    ),
    (r"/v1/invoices/(in_\w+)/pay", "POST", "InvoicePayParams", FakeStripe.pay_elsewhere),
    (r"/v1/invoice_payments", "GET", "InvoicePaymentListParams", FakeStripe.list_payments),
    (r"/v1/credit_notes", "POST", "CreditNoteCreateParams", FakeStripe.create_credit_note),
    (r"/v1/credit_notes", "GET", "CreditNoteListParams", FakeStripe.list_credit_notes),
    (r"/v1/refunds", "POST", "RefundCreateParams", FakeStripe.create_refund),
    (r"/v1/refunds", "GET", "RefundListParams", FakeStripe.list_refunds),
    (r"/v1/refunds/(re_\w+)", "GET", "RefundRetrieveParams", FakeStripe.get_refund),
]


class _Names(dict[str, Any]):
    """What the names in the SDK's postponed annotations stand for."""

    def __missing__(self, name: str) -> Any:
        if name == "UntypedStripeObject":
            return dict
        for place in (typing, stripe.params, stripe, builtins):
            if hasattr(place, name):
                return getattr(place, name)
        raise KeyError(name)


def check(params: Thing, shape: str) -> None:
    """Refuse parameters that the SDK's types do not have, lack, or have otherwise."""
    _check(params, getattr(_P, shape), where="")


def _check(value: Any, kind: Any, *, where: str) -> None:
    if isinstance(kind, str | typing.ForwardRef):
        text = kind if isinstance(kind, str) else kind.__forward_arg__
        kind = eval(text, {}, _Names())
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.NotRequired, typing.Required}:
        return _check(value, arguments[0], where=where)
    if typing_extensions.is_typeddict(kind):
        if not isinstance(value, dict):
            raise Refused(f"Invalid object: {where}")
        known = {name: one for name, one in kind.__annotations__.items() if name not in _OPTIONS}
        for name in value:
            if name not in known:
                raise Refused(f"Received unknown parameter: {where}[{name}]")
        for name, one in known.items():
            if name in value:
                _check(value[name], one, where=f"{where}[{name}]")
            elif "NotRequired" not in str(one):
                raise Refused(f"Missing required param: {where}[{name}].")
        return None
    if origin in {list, typing.List}:  # noqa: UP006 - the SDK writes it so
        if not isinstance(value, list):
            raise Refused(f"Invalid array: {where}")
        for place, one in enumerate(value):
            _check(one, arguments[0], where=f"{where}[{place}]")
        return None
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise Refused(f"Invalid hash: {where}")
        return None
    if origin is typing.Literal:
        if value not in arguments:
            raise Refused(f"Invalid {where}: must be one of {arguments}")
        return None
    if arguments:
        # A union: `Literal[…]|str` is open in the types; hold it to the words it lists.
        literal = [
            one
            for one in arguments
            if typing.get_origin(one) is typing.Literal and one != typing.Literal[""]
        ]
        choices = literal or list(arguments)
        problems = []
        for one in choices:
            try:
                return _check(value, one, where=where)
            except Refused as refused:
                problems.append(refused)
        raise problems[-1]
    forms = {int: r"-?\d+", bool: r"true|false", float: r"-?\d+(\.\d+)?", str: r"(?s).*"}
    if kind not in forms or not isinstance(value, str) or not re.fullmatch(forms[kind], value):
        raise Refused(f"Invalid {where}: {value!r} is not {kind}")
    return None


def nested(pairs: list[tuple[str, str]]) -> Thing:
    """Read `a[b][0][c]=v` pairs into nested objects and arrays."""
    root: Thing = {}
    for name, value in pairs:
        path = re.findall(r"[^\[\]]+", name)
        place = root
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value

    def arrays(thing: Any) -> Any:
        if not isinstance(thing, dict):
            return thing
        inner = {name: arrays(one) for name, one in thing.items()}
        if inner and all(name.isdigit() for name in inner):
            return [inner[name] for name in sorted(inner, key=int)]
        return inner

    found = arrays(root)
    assert isinstance(found, dict)
    return found


def _handler(fake: FakeStripe) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            self._serve("GET", parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._serve("POST", parse_qsl(body, keep_blank_values=True))

        def _serve(self, method: str, pairs: list[tuple[str, str]]) -> None:
            path = urlsplit(self.path).path
            fake.calls.append(f"{method} {path}")
            fault = next(
                (one for one in fake.faults if re.search(one.matching, f"{method} {path}")), None
            )
            if fault is not None:
                fake.faults.remove(fault)
            if fake.down or (fault is not None and fault.kind == "drop-before"):
                return self._cut()
            if fault is not None and fault.kind == "slow":
                time.sleep(2)
            if fault is not None and fault.kind.isdigit():
                return self._send(int(fault.kind), _error("Something went wrong", "api_error"))
            try:
                if self.headers.get("Authorization") != f"Bearer {SECRET_KEY}":
                    raise Refused("Invalid API Key provided", status=401)
                with fake._lock:
                    status, made = fake.answer(
                        method, path, nested(pairs), self.headers.get("Idempotency-Key")
                    )
            except Refused as refused:
                return self._send(refused.status, _error(str(refused), refused.kind))
            if fault is not None and fault.kind == "drop-after":
                return self._cut()
            return self._send(status, made)

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def _send(self, status: int, thing: Thing) -> None:
            content = json.dumps(thing).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Request-Id", "req_fake")
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _error(message: str, kind: str) -> Thing:
    return {"error": {"message": message, "type": kind}}


@contextmanager
def fake_stripe() -> Iterator[FakeStripe]:
    """Yield a running fake on a free port of this machine."""
    fake = FakeStripe()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    fake.base = f"http://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
