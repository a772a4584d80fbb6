"""What a process compiles, kept for the next test that needs the same.

Over a thousand tests have an application and a database of their own, so that none sees
another's. Most of what those cost is compiling the same things again: templates, werkzeug's
builders of addresses, SQLAlchemy's statements. All are pure functions of what they are made from,
and one process of paygo compiles each only once too.
"""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from metering.kit import db


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


def share_statements(patch: pytest.MonkeyPatch, server_url: str) -> None:
    """Let all engines on one server use the statements that others compiled, while `patch` lasts.

    What SQLAlchemy keeps is kept by dialect, so that they share theirs; it knows what it asks a
    server when it first connects.
    """
    first = create_engine(db.sqlalchemy_url(server_url), poolclass=NullPool)
    first.connect().close()
    kept: LRUCache[Any, Any] = LRUCache(5_000)

    def sharing(*args: Any, **options: Any) -> Engine:
        engine = create_engine(*args, **options)
        engine.dialect = first.dialect
        engine._compiled_cache = kept
        return engine

    patch.setattr(db, "create_engine", sharing)
