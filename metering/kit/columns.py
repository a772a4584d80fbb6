"""Column types and the declarative base that every table shares.

The types refuse a value rather than repair it: a naive datetime, a float, or
a decimal with more places than its role allows never reaches the database.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, MetaData, Numeric, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant; stored as `timestamptz`, read back in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored; give it a time zone")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else value.astimezone(UTC)


class _ExactDecimal(TypeDecorator[Decimal]):
    """A decimal with at most `places` places; more is refused, never rounded."""

    impl = Numeric
    cache_ok = True
    places: int
    digits: int

    def __init__(self) -> None:
        super().__init__(self.digits, self.places)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        if not isinstance(value, Decimal):
            raise TypeError(f"expected a Decimal, not {type(value).__name__}")
        if not value.is_finite():
            raise ValueError(f"{value} is not a finite number")
        exponent = value.normalize().as_tuple().exponent
        if isinstance(exponent, int) and -exponent > self.places:
            raise ValueError(f"{value} has more than {self.places} decimal places")
        return value


class Quantity(_ExactDecimal):
    """What was used: at most 9 decimal places, 38 digits in all."""

    cache_ok = True
    digits, places = 38, 9


class UnitPrice(_ExactDecimal):
    """Pounds a unit: at most 12 decimal places."""

    cache_ok = True
    digits, places = 30, 12


class Pounds(_ExactDecimal):
    """Pounds and pence: exactly 2 decimal places."""

    cache_ok = True
    digits, places = 18, 2


class ExactPounds(TypeDecorator[Decimal]):
    """An unrounded amount of pounds, kept with every digit it has."""

    impl = Numeric
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is not None and not isinstance(value, Decimal):
            raise TypeError(f"expected a Decimal, not {type(value).__name__}")
        return value


class Base(DeclarativeBase):
    """Base of every table. Plain annotations map to these database types."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this class attribute
        str: Text(),
        int: BigInteger(),
        datetime: UtcDateTime(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }
