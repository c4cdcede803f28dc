"""How a message is written: as a JSON object in a line, or in colours for a terminal."""

import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

from structlog.dev import ConsoleRenderer
from structlog.processors import JSONRenderer
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import EventDict, Processor

from songbook.logs.events import Event
from songbook.logs.exceptions import describe, fields_of_error, format_exception, printable
from songbook.tracing import trace_ids

_ONLY_FIRST_LINE = {"asyncio", "py.warnings"}
"""Loggers that quote objects in the further lines."""

_NOT_LOGGED = {"color_message"}
"""What uvicorn adds to its records for its own formatter."""


def line_formatter(format: str) -> ProcessorFormatter:
    """Return the formatter for LOG_FORMAT: `json`, `console`, or `auto`, by what stderr is."""
    is_terminal = sys.stderr.isatty()
    if format == "json" or (format == "auto" and not is_terminal):
        renderers: list[Processor] = [JSONRenderer()]
    else:
        console = ConsoleRenderer(
            colors=is_terminal and "NO_COLOR" not in os.environ,
            pad_event_to=0,
            pad_level=False,
            sort_keys=False,
        )
        renderers = [_escape, console]
    return ProcessorFormatter(processors=[ExtraAdder(), _name_fields, *renderers])


def _name_fields(_logger: Any, level: str, event: EventDict) -> EventDict:
    """Return the fields of a message in their order."""
    record = event.pop("_record")
    exc_info, stack = event.pop("exc_info", None), event.pop("stack_info", None)
    moment = datetime.fromtimestamp(record.created, UTC)
    fields: dict[str, Any] = {
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "logger": record.name,
        **_message(record.name, event.pop("event")),
    }
    if isinstance(record.msg, Event):
        fields |= {"event": record.msg.text, **record.msg.fields}
    for name, value in event.items():
        if not (name in fields or name in _NOT_LOGGED or name.startswith("_")):
            fields[name] = describe(value) if isinstance(value, BaseException) else value
    fields |= trace_ids()
    if exc_info and exc_info[1]:
        error = exc_info[1]
        fields |= {**fields_of_error(error), "exception": format_exception(error)}
    return fields | ({"stack": stack} if stack else {})


def _message(logger: str, text: str) -> dict[str, str]:
    """Return the message as one line; a traceback that is the message is a field of its own."""
    text = text.strip()
    if text.startswith("Traceback (most recent call last):\n"):  # of a start that failed
        return {"event": text.splitlines()[-1], "exception": text}
    if logger in _ONLY_FIRST_LINE:
        text = text.partition("\n")[0]
    elif logger.startswith("sqlalchemy.engine"):
        text = " ".join(text.split())
    return {"event": text}


def _escape(_logger: Any, _level: str, event: EventDict) -> EventDict:
    """Let nothing but a traceback or a stack begin a line, and nothing control the terminal."""
    shown: EventDict = {}
    for name, value in event.items():
        text = value if isinstance(value, str) else repr(value)
        keep = "\n" if name in {"exception", "stack"} else ""
        shown[printable(name)] = printable(text, keep)
    moment = datetime.fromisoformat(event["timestamp"]).timestamp()
    shown["timestamp"] = time.strftime("%H:%M:%S", time.localtime(moment))
    return shown
