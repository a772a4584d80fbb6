"""Small parts that several pages of the portal show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A large number at the top of a page."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Tag:
    """A state in a word and its colour."""

    text: str
    colour: str


@dataclass(frozen=True)
class Link:
    """Where a click leads; `hidden` says more to a screen reader."""

    text: str
    href: str
    hidden: str = ""
