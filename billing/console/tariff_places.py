"""Where a fault is in a tariff file: its line, and its place in words. Pure."""

from dataclasses import dataclass

import yaml

from metering.kit.errors import FieldError

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_LISTS = {"prices": "price", "tiers": "tier"}


@dataclass(frozen=True)
class Problem:
    """One fault as a page shows it.

    Attributes:
        line: of the file, from 1; None where the text cannot be read that far.
        place: in words, `second price, first tier, unit_price`.
    """

    line: int | None
    place: str
    detail: str


def problems(text: str, faults: tuple[FieldError, ...]) -> tuple[Problem, ...]:
    """Return faults with their places in `text`, in the order of lines."""
    root = _compose(text)
    found = [
        Problem(_line(root, fault.pointer), place_of(fault.pointer), fault.detail)
        for fault in faults
    ]
    return tuple(sorted(found, key=lambda item: (item.line is None, item.line or 0)))


def place_of(pointer: str) -> str:
    """Return a JSON pointer in words.

    >>> place_of("/prices/1/tiers/0/unit_price")
    'second price, first tier, unit_price'
    """
    words: list[str] = []
    within = ""
    for step in _steps(pointer):
        if within in _LISTS and step.isdigit():
            number = int(step)
            ordinal = _ORDINALS[number] if number < len(_ORDINALS) else f"number {number + 1}"
            words[-1] = f"{ordinal} {_LISTS[within]}"
        else:
            words.append(step)
        within = step
    return ", ".join(words) or "the whole file"


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _compose(text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return node


def _line(root: yaml.Node | None, pointer: str) -> int | None:
    """Return the line of a place, or of the nearest thing around it that is there."""
    if root is None:
        return None
    node, line = root, root.start_mark.line + 1
    for step in _steps(pointer):
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == step), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
            line = node.start_mark.line + 1
        else:
            break
    return line
