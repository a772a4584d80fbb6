"""What an application compiles when it is made, kept for the next one of the same process.

Over a thousand tests make an application of their own, so that none sees another's. Two thirds of
what that costs is compiling the same things again: the templates, and werkzeug's builders of
addresses. Both are pure functions of their text, so a process need compile each only once.
"""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule


class _Templates(BytecodeCache):
    """Compiled templates by name and text; jinja2 itself compares the text's checksum."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_templates = _Templates()


def share_templates(app: Flask) -> None:
    """Let an application use the templates that others of this process have compiled."""
    app.jinja_env.bytecode_cache = _templates


def share_builders(patch: pytest.MonkeyPatch) -> None:
    """Compile each address's builder once a process, while `patch` lasts."""
    compiled: dict[tuple[Any, ...], Callable[..., tuple[str, str]]] = {}
    compile_builder = Rule._compile_builder

    def builder(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        if rule.defaults:
            return compile_builder(rule, append_unknown)
        # All that the code is made of; it calls the converters of the rule that it is bound to.
        key = (rule.rule, tuple(rule._trace), append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    patch.setattr(Rule, "_compile_builder", builder)
