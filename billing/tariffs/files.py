"""Tariff files: YAML or JSON text to a plain document, with nothing lost on the way.

YAML here is the small part that a tariff needs: mappings, lists, text, whole
numbers, true, false and null. Dates stay text. A fractional number that is not
in quotes is kept as a Decimal, which `parse_tariff` refuses by its place, so
that a file can be read to the end and every fault told at once.
"""

import json
import re
from collections.abc import Hashable
from decimal import Decimal

import yaml

from metering.kit.errors import FieldError, Malformed

MAXIMUM_CHARACTERS = 1_000_000


class TariffUnreadable(Malformed):
    """The text is not YAML or JSON that paygo reads; it says where and why."""

    code = "tariff-unreadable"
    title = "The tariff file could not be read"


class _Loader(yaml.SafeLoader):
    """SafeLoader without floats, dates, aliases or repeated keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, object]]] = {}  # noqa: RUF012 # PyYAML's

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs
            raise _unreadable("an alias (*) is used; write the values out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 # PyYAML's
    ) -> dict[Hashable, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise _unreadable("a field's name is not text", key_node.start_mark)
            if key in seen:
                raise _unreadable(f"'{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_document(text: str) -> object:
    """Return the document in YAML or JSON `text`.

    JSON is recognised by its opening brace or bracket and read as JSON.

    Raises:
        TariffUnreadable: the text breaks the format, repeats a key, or is too long.
    """
    if len(text) > MAXIMUM_CHARACTERS:
        raise TariffUnreadable(f"The file is longer than {MAXIMUM_CHARACTERS} characters.")
    if text.lstrip("\ufeff \t\r\n")[:1] in {"{", "["}:
        return _load_json(text.lstrip("\ufeff"))
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 # a SafeLoader, with less still
    except yaml.MarkedYAMLError as error:
        raise _unreadable(
            error.problem or "it is not YAML", error.problem_mark or error.context_mark
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TariffUnreadable(f"The file is not YAML: {error}") from error


def dump_document(document: object) -> str:
    """Return `document` as YAML text that `load_document` reads back equal."""
    text: str = yaml.dump(
        document, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def _load_json(text: str) -> object:
    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, value in found:
            if key in result:
                raise TariffUnreadable(f"'{key}' is given twice in one object.")
            result[key] = value
        return result

    def constant(name: str) -> object:
        raise TariffUnreadable(f"{name} is not a number.")

    try:
        return json.loads(
            text, object_pairs_hook=pairs, parse_float=Decimal, parse_constant=constant
        )
    except (ValueError, RecursionError) as error:
        raise TariffUnreadable(f"The file is not JSON: {error}") from error


def _unreadable(problem: str, mark: yaml.Mark | None) -> TariffUnreadable:
    if mark is None:
        return TariffUnreadable(f"The file could not be read: {problem}.")
    place = f"line {mark.line + 1}, column {mark.column + 1}"
    detail = f"The file could not be read at {place}: {problem}."
    return TariffUnreadable(detail, errors=(FieldError("", "unreadable", f"{place}: {problem}"),))


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
    value = loader.construct_scalar(node)
    try:
        return Decimal(str(value).replace("_", ""))
    except ArithmeticError:
        return value


# PyYAML matches only the beginning of a value, so each pattern names its end.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), ["t", "f"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"-?(0|[1-9][0-9]*)\Z"), list("-0123456789")
)
_Loader.add_implicit_resolver(
    "!fraction",
    re.compile(
        r"(?:[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+)\Z"
    ),
    list("-+.0123456789"),
)
_Loader.add_constructor("!fraction", _decimal)
