"""A line of the log: its fields, and that nothing can forge one."""

import io
import json
import logging
import os
import pty
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span
from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from songbook.logs import Event
from songbook.logs.formatter import line_formatter
from songbook.logs.handler import ThrottledHandler
from songbook.metrics.instruments import INSTRUMENTS
from tests.support.leaks import CANARY

HOSTILE = '\n{"level": "critical"}\r\x1b[2J\x85\u2028\u202e\x00'


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> logging.Logger:
    """Return a logger that writes lines of JSON to the stream."""
    return logger_to(stream, "json")


def logger_to(stream: io.StringIO, format: str) -> logging.Logger:
    handler = ThrottledHandler(stream)
    handler.setFormatter(line_formatter(format))
    log = logging.Logger("app.books")  # noqa: LOG001 - in no hierarchy
    log.addHandler(handler)
    return log


def told(log: logging.Logger, stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines, with what is held back."""
    log.handlers[0].close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def failed(work: Callable[[], object]) -> Exception:
    """Return what fails in the work."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - all kinds
        work()
    return raised.value


def test_a_line_has_when_how_grave_where_what_and_the_named_values(
    log: logging.Logger, stream: io.StringIO
) -> None:
    log.info("sold %d", 3, extra={"song": 7, "color_message": "of uvicorn"})
    log.warning(Event("Worker died", pid=1, error=ConnectionRefusedError(111, "Refused")))

    sold, died = told(log, stream)
    assert sold.pop("timestamp")[-5] == died.pop("timestamp")[-5] == "."
    assert sold == {"level": "info", "logger": "app.books", "event": "sold 3", "song": 7}
    assert list(died.items()) == [
        ("level", "warning"),
        ("logger", "app.books"),
        ("event", "Worker died"),
        ("pid", 1),
        ("error", "ConnectionRefusedError: [Errno 111] Refused"),
    ]


def test_a_line_has_the_ids_of_the_current_span(log: logging.Logger, stream: io.StringIO) -> None:
    with use_span(NonRecordingSpan(SpanContext(10, 11, is_remote=False))):
        log.info("sold")

    [line] = told(log, stream)
    assert line["trace_id"] == "0000000000000000000000000000000a"
    assert line["span_id"] == "000000000000000b"


def test_an_event_is_one_sentence_for_any_other_formatter() -> None:
    assert str(Event("Worker died", pid=1, error=KeyError(CANARY))) == (
        "Worker died pid=1 error=KeyError"
    )


@pytest.mark.parametrize("format", ["json", "console"])
def test_what_a_client_sends_neither_begins_a_line_nor_controls_the_terminal(
    stream: io.StringIO, format: str
) -> None:
    log = logger_to(stream, format)
    log.info("asked for %s", HOSTILE)
    log.info(Event(f"asked for {HOSTILE}", path=HOSTILE, **{HOSTILE: 1}))
    log.info("asked", extra={"path": HOSTILE, "parts": [HOSTILE]})
    log.error("failed", exc_info=RuntimeError(f"asked for {HOSTILE}"))

    lines = stream.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("{") != (format == "json") for line in lines)
    if format == "json":
        assert [json.loads(line)["level"] for line in lines] == ["info"] * 3 + ["error"]


def test_warnings_and_errors_are_counted_with_those_held_back(
    log: logging.Logger, stream: io.StringIO
) -> None:
    counted = INSTRUMENTS["songbook_log_messages_total"].samples
    before = {level: counted.get((level,), [0])[0] for level in ("warning", "error", "critical")}
    for number in range(5):
        log.warning(Event("Worker died", pid=number))
    log.error("gone")
    log.critical("gone")
    log.info("no matter")

    assert {level: counted[level,][0] - before[level] for level in before} == {
        "warning": 5,
        "error": 1,
        "critical": 1,
    }
    first, *_, last = told(log, stream)
    assert (first["pid"], last["pid"], last["held_back"]) == (0, 4, 3)


def test_a_terminal_gets_colours_and_anything_else_gets_json(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    _, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        logger_to(stream, "auto").info("sold")
        logger_to(stream, "json").info("sold")
    monkeypatch.setattr("sys.stderr", stream)
    logger_to(stream, "auto").info("sold")

    coloured, *others = stream.getvalue().splitlines()
    assert "\x1b[" in coloured
    assert [json.loads(line)["event"] for line in others] == ["sold", "sold"]


def fail_in_a_group() -> None:
    """Raise a group because of an error that has a note."""
    try:
        int(CANARY)
    except ValueError as error:
        error.add_note(CANARY)
        raise ExceptionGroup(CANARY, [KeyError(CANARY), error]) from error


BUGS: dict[str, Callable[[], object]] = {
    "KeyError": lambda: logging.root.__dict__[CANARY],
    "ValueError": lambda: int(CANARY),
    "ValidationError": lambda: TypeAdapter(int).validate_python(CANARY),
    "LookupError": lambda: CANARY.encode(CANARY),
    "ExceptionGroup": fail_in_a_group,
}


@pytest.mark.parametrize("kind", BUGS)
@pytest.mark.parametrize("format", ["json", "console"])
def test_a_bug_is_told_with_its_place_but_not_with_what_it_quotes(
    stream: io.StringIO, kind: str, format: str
) -> None:
    error = failed(BUGS[kind])
    assert CANARY in str(error)  # as Python would write it
    logger_to(stream, format).error(Event("Request failed"), exc_info=error)

    line = stream.getvalue()
    assert kind in line
    assert "in <lambda>" in line or "in fail_in_a_group" in line
    assert CANARY not in line


@pytest.mark.parametrize(
    ("statement", "fields"),
    [
        ("SELECT CAST(:value AS text)::int", {"sqlstate": "22P02"}),
        (
            "INSERT INTO towns (name, population) VALUES (:value, 1), (:value, 2)",
            {"sqlstate": "23505", "constraint": "uq_towns_name"},
        ),
        ("SELECT CAST(:value AS text) FROM nowhere", {"sqlstate": "42P01"}),
    ],
)
async def test_an_error_of_postgresql_is_told_without_its_parameters_and_details(
    log: logging.Logger, stream: io.StringIO, migrated_url: URL, statement: str, fields: Any
) -> None:
    engine = create_async_engine(migrated_url)
    async with engine.connect() as connection:
        with pytest.raises(Exception, match=CANARY) as raised:  # what Python would write
            await connection.execute(text(statement), {"value": CANARY})
    await engine.dispose()
    log.error(Event("Request failed"), exc_info=raised.value)

    [line] = told(log, stream)
    assert fields.items() <= line.items()
    assert "asyncpg.exceptions." in line["error"]
    assert "Traceback (most recent call last)" in line["exception"]
    assert CANARY not in str(line)


async def test_what_a_trigger_raises_is_told_by_its_sqlstate_only(
    log: logging.Logger, stream: io.StringIO, migrated_url: URL
) -> None:
    url = migrated_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    raising = f"DO $$ BEGIN RAISE USING MESSAGE = '{CANARY}', ERRCODE = '40001'; END $$"
    with pytest.raises(asyncpg.SerializationError) as raised:
        await connection.execute(raising)
    await connection.close()
    log.warning(Event("Request failed", error=raised.value))

    [line] = told(log, stream)
    assert line["error"] == "asyncpg.exceptions.SerializationError"
    assert line["sqlstate"] == "40001"


def test_a_warning_and_an_error_of_asyncio_are_told_without_the_objects_they_quote(
    stream: io.StringIO,
) -> None:
    handler = ThrottledHandler(stream)
    handler.setFormatter(line_formatter("json"))
    for name in ("py.warnings", "asyncio"):
        record = logging.makeLogRecord({"name": name, "levelno": logging.ERROR})
        record.msg = f"about a field:\n  input_value={CANARY!r}"
        handler.handle(record)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["about a field:"] * 2


def test_a_message_that_cannot_be_formatted_is_told_by_its_place(
    log: logging.Logger, stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    log.warning("%d is bad", CANARY)
    log.error("bad", extra={"value": {(CANARY,): 1}})

    lines = told(log, stream)
    assert [line["event"] for line in lines] == ["Message cannot be formatted"] * 2
    assert all(line["place"].startswith(f"{__file__}:") for line in lines)
    assert lines[0]["level"] == "error"
    assert CANARY not in stream.getvalue() + capsys.readouterr().err
