"""Logs: one line an event, to standard error, as text for people or JSON for machines.

Everything, libraries included, passes through the same chain, so every line
of a request carries its id and no line carries a secret.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog

LogForm = Literal["text", "json"]

_SECRET_NAME = re.compile(
    r"authorization|cookie|password|passwd|secret|token|api[-_]?key|private[-_]?key|signature", re.I
)
_SECRET_TEXT = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}"
    r"|(?P<url>\w+://[^\s:/@]+:)[^\s@/]+(?=@)"
    r"|(?P<stripe>\b(?:sk|rk|whsec)_)[A-Za-z0-9_]{8,}",
    re.I,
)
_HIDDEN = "[hidden]"
_ANSWERED = "paygo_answered"


def _hide_in_text(text: str) -> str:
    def hide(match: re.Match[str]) -> str:
        kept = match["scheme"] or match["url"] or match["stripe"] or ""
        return f"{kept}{_HIDDEN}"

    return _SECRET_TEXT.sub(hide, text)


def _hide(value: Any) -> Any:
    if isinstance(value, str):
        return _hide_in_text(value)
    if isinstance(value, dict):
        return {
            key: _HIDDEN if _SECRET_NAME.search(str(key)) else _hide(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_hide(inner) for inner in value]
    return value


def hide_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace what must never be logged: by the name it has, and by how it looks.

    >>> dict(hide_secrets(None, "info", {"event": "Bearer abcdef123", "password": "x"}))
    {'event': 'Bearer [hidden]', 'password': '[hidden]'}
    """
    for key, value in event.items():
        event[key] = _HIDDEN if _SECRET_NAME.search(key) else _hide(value)
    return event


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Knows one line by heart: a request that was answered, which there are most of."""

    def __init__(self, *, form: LogForm, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        answered = record.__dict__.get(_ANSWERED)
        if answered is None:
            return super().format(record)
        method, path, status, milliseconds, request_id = answered
        at = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        # Exactly as the chain above writes it; a test compares the two.
        if self._form == "json":
            return (
                f'{{"event": "request", "level": "info", "logger": "{record.name}",'
                f' "method": "{method}", "milliseconds": {milliseconds}, "path": "{path}",'
                f' "request_id": "{request_id}", "status": {status}, "timestamp": "{at}"}}'
            )
        return (
            f"{at} [info     ] request [{record.name}] method={method}"
            f" milliseconds={milliseconds} path={path} request_id={request_id} status={status}"
        )


def log_answered(
    name: str, *, method: str, path: str, status: int, milliseconds: int, request_id: str
) -> None:
    """Write the line of a request that was answered, at a tenth of what `get_logger` costs.

    Args:
        name: the logger's.
        method, path: ours, not the caller's: they are written as they are.
        request_id: a sane one.
    """
    logger = logging.getLogger(name)
    if logger.isEnabledFor(logging.INFO):
        record = logging.LogRecord(name, logging.INFO, "", 0, "request", None, None)
        shown = _hide_in_text(request_id)
        record.__dict__[_ANSWERED] = (method, path, status, milliseconds, shown)
        logger.handle(record)


def configure_logs(
    *, level: str = "INFO", form: LogForm = "text", stream: TextIO | None = None
) -> None:
    """Send every log line, ours and the libraries', through one chain.

    Args:
        level: least severity that is written, for example `"INFO"`.
        form: `"text"` for a terminal, `"json"` for one JSON object a line.
        stream: where lines go; standard error when None.

    Raises:
        ValueError: `level` is not a level.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    # A traceback becomes text before secrets are hidden, since it may quote one.
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        _Formatter(form=form, foreign_pre_chain=shared, processors=[*last, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The server's own access lines would repeat our one line a request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; `get_logger(__name__).info("usage accepted", accepted=12)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
