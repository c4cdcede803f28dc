"""What the library needs of names that others keep to themselves, as the installed versions do it.

A test that fails here after an update names the one module that has to follow.
"""

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from httpx import ASGITransport, AsyncClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError
from pydantic_core import PydanticUndefined
from sqlalchemy import Integer, bindparam, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet
from sqlmodel import Field
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.main import FieldInfoMetadata, default_registry
from starlette._utils import get_route_path
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from songbook.auth.throttle import LoginAttempts
from songbook.config import Settings
from songbook.crud.idempotency_table import StoredKey
from songbook.db.statements import DIALECT
from songbook.http.compat import TELEMETRY, select_route
from songbook.http.state import ServiceState
from songbook.http.telemetry import telemetry_config
from songbook.models import mapped_classes
from tests.samples.resources.books import Book, BookCreate
from tests.samples.resources.towns import Town


@pytest.mark.parametrize(
    ("root_path", "path", "expected"),
    [
        ("", "/books", "/books"),
        ("", "/", "/"),
        ("", "/books/", "/books/"),
        ("/music", "/music/books", "/books"),
        ("/music", "/music/", "/"),
        ("/music", "/music", ""),
        ("/music", "/musical", "/musical"),
        ("/music", "/books", "/books"),
    ],
)
def test_starlette_matches_routes_with_the_path_below_the_prefix_of_the_service(
    root_path: str, path: str, expected: str
) -> None:
    assert get_route_path({"type": "http", "root_path": root_path, "path": path}) == expected
    assert get_route_path({"type": "http", "path": path}) == path


def test_fastapi_gives_the_paths_and_methods_of_included_routers_too() -> None:
    inner, outer, app = APIRouter(), APIRouter(), FastAPI(openapi_url=None)

    async def answer() -> None:
        """Answer."""

    inner.get("/{id}")(answer)
    outer.include_router(inner, prefix="/books")
    app.post("/plain")(answer)
    app.include_router(outer, prefix="/api")

    found = [
        (context.path, context.methods)
        for route in app.routes
        for context in iter_route_contexts([route])
    ]

    assert found == [("/plain", {"POST"}), ("/api/books/{id}", {"GET"})]


@pytest.mark.parametrize("is_traced", [True, False])
async def test_fastapi_names_a_span_by_the_route_that_it_is_told(is_traced: bool) -> None:  # noqa: FBT001
    """Its own router does that where it finds a route; a scope that is not traced says so."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    service = ServiceState(Settings(), tracer_provider=provider if is_traced else None)
    app = FastAPI(telemetry=telemetry_config(service))
    found = []

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope.get(TELEMETRY) is not None)
        select_route(scope={**scope}, path="/books/{id}")
        await JSONResponse(1)(scope, receive, send)

    app.middleware_stack = respond
    async with AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client:
        await client.get("/api/books/1?name=a")
        await client.get("/metrics/")

    spans = [(span.name, {**(span.attributes or {})}) for span in exporter.get_finished_spans()]
    assert found == [is_traced, False]
    assert [name for name, _ in spans] == ["GET /books/{id}"] * is_traced
    assert [attributes["http.route"] for _, attributes in spans] == ["/books/{id}"] * is_traced


def test_sqlalchemy_keeps_what_it_applies_to_bound_values_by_the_names_of_the_parameters() -> None:
    statement = select(bindparam("document", type_=JSONB), bindparam("number", type_=Integer))
    compiled = statement.compile(dialect=DIALECT)

    assert isinstance(compiled, SQLCompiler)
    assert compiled.positiontup == ["document", "number"]
    processors = compiled._bind_processors  # noqa: SLF001 - this is what it is about
    assert processors.keys() == {"document"}
    process: Any = processors["document"]
    assert process({"a": [1, None]}) == '{"a": [1, null]}'


async def test_sqlalchemy_waits_for_a_coroutine_inside_of_a_session() -> None:
    async def later(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async with AsyncSession() as session:
        assert await session.run_sync(lambda _: await_only(later(1)) + await_only(later(2))) == 3


async def test_sqlalchemy_tells_whether_a_coroutine_can_be_waited_for() -> None:
    async with AsyncSession() as session:
        assert await session.run_sync(lambda _: in_greenlet())
    assert not in_greenlet()
    with pytest.raises(MissingGreenlet):
        await_only(asyncio.sleep(0))


def test_sqlmodel_registers_each_class_with_a_table_and_no_other() -> None:
    found = [mapper.class_ for mapper in default_registry.mappers]

    assert {Book, Town, LoginAttempts, StoredKey} <= {*found}
    assert BookCreate not in found
    assert {*mapped_classes()} == {*found}
    assert all(hasattr(model, "__table__") for model in found)


def test_sqlmodel_keeps_the_options_of_a_column_in_the_metadata_of_a_field() -> None:
    field = Field(index=True, foreign_key="song.id", max_length=3)

    [options] = [each for each in field.metadata if isinstance(each, FieldInfoMetadata)]
    assert (options.index, options.foreign_key) == (True, "song.id")
    assert options.sa_type is options.sa_column is options.nullable is PydanticUndefined


def test_a_field_of_sqlmodel_has_its_regular_expression_among_what_was_set() -> None:
    field = Field(regex="^a$")

    assert field._attributes_set["regex"] == "^a$"  # noqa: SLF001
    assert not hasattr(field, "pattern")


def test_pydantic_validates_with_a_validator_that_a_class_of_sqlmodel_has() -> None:
    validator = BookCreate.__pydantic_validator__

    assert validator.validate_python({"name": "a", "author": "b"}) == BookCreate(
        name="a", author="b"
    )
    with pytest.raises(ValidationError, match="extra_forbidden"):
        validator.validate_python({"name": "a", "author": "b", "c": "d"})


class Written(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.data = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.data += data

    def close(self) -> None:
        """Be closed."""
        self.is_closed = True

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        return self.is_closed

    def resume_reading(self) -> None:
        """Do nothing."""


class Watched(HttpToolsProtocol):
    """A protocol of uvicorn that keeps what it was asked to do."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls: list[Any] = []

    def on_message_begin(self) -> None:
        """Keep that a head begins."""
        self.calls.append("begin")
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Keep the head."""
        self.calls.append((self.url, self.headers))
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Keep that it is refused."""
        self.calls.append("refused")
        super().send_400_response(msg)


async def say_hello(_: Any, receive: Any, send: Any) -> None:
    """Answer when the body is there."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
async def served() -> tuple[Watched, Written]:
    """Give a protocol, and the transport of its connection."""
    config = Config(say_hello, lifespan="off", log_config=None)
    protocol, transport = Watched(config, ServerState(), {}), Written()
    protocol.connection_made(transport)
    return protocol, transport


async def test_uvicorn_tells_its_protocol_of_a_head_before_the_service_is_called(
    served: tuple[Watched, Written],
) -> None:
    protocol, transport = served
    assert not protocol.cycle
    assert protocol.loop is asyncio.get_running_loop()

    for data in (b"POST /books?a=b HTTP/1.1\r\nHo", b"st: x\r\nContent-Length: 2\r\n\r\n", b"ab"):
        protocol.data_received(data)
    head = [(b"host", b"x"), (b"content-length", b"2")]
    assert protocol.calls == ["begin", (b"/books?a=b", head)]
    cycle = protocol.cycle
    assert (cycle.more_body, cycle.response_complete, cycle.keep_alive) == (False, False, True)
    await asyncio.gather(*protocol.tasks)
    assert cycle.response_complete

    assert transport.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"hello" in transport.data
    assert not transport.is_closed
    protocol.connection_lost(None)


async def test_uvicorn_closes_a_connection_behind_an_answer_that_is_not_to_be_kept_alive(
    served: tuple[Watched, Written],
) -> None:
    protocol, transport = served
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    protocol.cycle.keep_alive = False
    await asyncio.gather(*protocol.tasks)

    assert transport.is_closed
    protocol.connection_lost(None)


async def test_uvicorn_lets_its_protocol_refuse_what_cannot_be_read(
    served: tuple[Watched, Written],
) -> None:
    protocol, transport = served
    protocol.data_received(b"no HTTP\r\n\r\n")

    assert protocol.calls[-1] == "refused"
    assert not protocol.cycle
    assert transport.data.startswith(b"HTTP/1.1 400 ")
    assert transport.is_closed


async def test_uvicorn_refuses_a_head_that_its_protocol_does_not_accept() -> None:
    class Refusing(Watched):
        def on_headers_complete(self) -> None:
            raise ValueError

    config = Config(say_hello, lifespan="off", log_config=None)
    protocol, transport = Refusing(config, ServerState(), {}), Written()
    protocol.connection_made(transport)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert protocol.calls == ["begin", "refused"]
    assert not protocol.cycle
    assert transport.is_closed
