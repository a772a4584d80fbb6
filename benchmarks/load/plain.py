"""The plain application that ingest is measured against: Flask, marshmallow, an ORM.

It is what one writes first: a key looked up in its table, a schema for the body, a mapped
class with a unique constraint, one query for what is there already, `add_all`, commit.
"""

import hashlib
from datetime import datetime
from decimal import Decimal

from flask import Flask, request
from marshmallow import EXCLUDE, Schema, fields
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import DateTime, Numeric

from metering.kit.db import sqlalchemy_url


class PlainBase(DeclarativeBase):
    """Its own tables, apart from the product's."""


class PlainKey(PlainBase):
    """A key, by its digest, and the source that it belongs to."""

    __tablename__ = "plain_keys"

    digest: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]


class PlainEvent(PlainBase):
    """One event, as sent."""

    __tablename__ = "plain_events"

    source: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    quantity: Mapped[Decimal] = mapped_column(Numeric(38, 9))
    dimensions: Mapped[dict[str, str]] = mapped_column(JSONB)


class MeasuredSchema(Schema):
    """The event's data."""

    studies = fields.Decimal(required=True)
    modality = fields.String(required=True)


class EventSchema(Schema):
    """The envelope."""

    class Meta:
        unknown = EXCLUDE

    specversion = fields.String(required=True)
    id = fields.String(required=True)
    source = fields.String(required=True)
    type = fields.String(required=True)
    subject = fields.String(required=True)
    time = fields.AwareDateTime(required=True)
    data = fields.Nested(MeasuredSchema, required=True)


def prepare(engine: Engine, *, key: str, source: str) -> None:
    """Make the tables and let a key in."""
    PlainBase.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(PlainKey(digest=_digest(key), source=source))
        session.commit()


def create_app(url: str) -> Flask:
    """Return the application."""
    app = Flask("plain")
    engine = create_engine(sqlalchemy_url(url), pool_size=32, max_overflow=5)
    schema = EventSchema(many=True)

    @app.post("/api/v1/events")
    def post_events() -> tuple[dict[str, int | str], int]:
        sent = schema.load(request.get_json(force=True))
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        with Session(engine) as session:
            key = session.get(PlainKey, _digest(bearer))
            if key is None or any(event["source"] != key.source for event in sent):
                return {"error": "This key may not post that."}, 401
            known = set(
                session.scalars(
                    select(PlainEvent.id).where(
                        PlainEvent.source == key.source,
                        PlainEvent.id.in_([event["id"] for event in sent]),
                    )
                )
            )
            new = [event for event in sent if event["id"] not in known]
            session.add_all(
                PlainEvent(
                    source=event["source"],
                    id=event["id"],
                    type=event["type"],
                    subject=event["subject"],
                    time=event["time"],
                    quantity=event["data"]["studies"],
                    dimensions={"modality": event["data"]["modality"]},
                )
                for event in new
            )
            session.commit()
        return {"accepted": len(new), "duplicate": len(sent) - len(new)}, 200

    return app


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
