"""Logging: structlog with static event names, coloured on a terminal, JSON elsewhere."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

import msgspec
import structlog

from shared.process.settings import Settings

_json = msgspec.json.Encoder(enc_hook=repr).encode


def configure_logging(settings: Settings, *, process: str) -> None:
    """Route structlog and the standard library's loggers to standard error in one format.

    `process` is bound to every line, so that the lines of several processes can share a terminal.
    """
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    known: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _process_name(process),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[structlog.typing.Processor] = (
        [_console_renderer()]
        if console
        else [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json_line),
        ]
    )
    structlog.configure(
        processors=[*known, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level)
        ),
        logger_factory=lambda *_: _Lines(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The standard library's loggers use the same format, through a handler of their own.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=known,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for chatty in ("httpx", "httpcore", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(max(root.level, logging.WARNING))


class _Lines:
    """Writes each event as one line, without the standard library's slow layers.

    Those cost three times as much as the rest of a line. A line that cannot be written, to a full
    disk or a closed terminal, is lost: logging must not fail the operation that it reports.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


def _json_line(event: Mapping[str, Any], **_options: object) -> str:
    """Encode values that JSON lacks by their repr.

    Lone surrogates, as in unusual folder names, are escaped.
    """
    try:
        return _json(event).decode()
    except UnicodeEncodeError:
        return json.dumps(event, default=repr)


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    """Return a renderer of tracebacks without variables, which may hold passwords."""
    return structlog.dev.ConsoleRenderer(
        colors=True, exception_formatter=structlog.dev.plain_traceback
    )


def _process_name(process: str) -> structlog.typing.Processor:
    def add(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    return add
