"""Routes: what handlers may ask for, which of two paths is meant, and how failures are told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Body, Depends, FastAPI, Header, HTTPException, Query, Response
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from songbook.auth.permissions import OPEN, PUBLIC
from songbook.crud.dependencies import Id, record_id
from songbook.crud.preconditions import if_match
from songbook.crud.sessions import SessionDep
from songbook.crud.transactions import TransactionDep
from songbook.http.completion import Opened
from songbook.http.dependencies import dependency, opening_dependency
from songbook.http.requests import StrictRequest
from songbook.http.routing import Route, Router
from tests.samples.main import create_app
from tests.samples.resources.books import Book
from tests.samples.settings import Settings
from tests.support.asserts import assert_headers, assert_problem
from tests.support.routes import add_both_ways, each_way


class Note(BaseModel):
    """The body of the handlers here."""

    text: str
    stars: int = 0


def service(router: Router) -> FastAPI:
    """Return the service with more routes; its database is not open."""
    app = create_app(Settings())
    app.router.routes.extend(router.routes)
    return app


def client_of(app: FastAPI) -> AsyncClient:
    """Return a client of a service."""
    return AsyncClient(transport=ASGITransport(app), base_url="http://songbook")


@pytest.fixture
def router() -> Router:
    """Give an empty router, whose routes are for anyone."""
    return Router(dependencies=[PUBLIC])


entered: list[str] = []


async def resource() -> AsyncIterator[str]:
    """Give what has to be given back."""
    entered.append("opened")
    yield "resource"
    entered.append("closed")


async def test_a_handler_may_ask_for_all_that_fastapi_gives(router: Router) -> None:
    entered.clear()

    @router.post("/remarks/{kind}/{id}")
    async def add_note(
        kind: str,
        id: Id,
        body: Note,
        tasks: BackgroundTasks,
        opened: Annotated[str, Depends(resource)],
        times: Annotated[int, Query(ge=1)],
        x_flag: Annotated[str, Header()] = "no",
    ) -> dict[str, Any]:
        """Answer with all that was given."""
        tasks.add_task(entered.append, "task")
        entered.append("called")
        return {"all": [kind, id, body, opened, times, x_flag]}

    async with client_of(service(router)) as client:
        url, note = "/remarks/blue/7", {"text": "x"}
        answer = await client.post(f"{url}?times=2", json=note, headers={"X-Flag": "yes"})
        bad_query = await client.post(f"{url}?times=0", json=note)
        bad_path = await client.post("/remarks/blue/x?times=1", json=note)

    expected = ["blue", 7, {"text": "x", "stars": 0}, "resource", 2, "yes"]
    assert (answer.status_code, answer.json()) == (200, {"all": expected})
    assert sorted(entered[:4]) == ["called", "closed", "opened", "task"]
    assert_headers(answer)
    [error] = assert_problem(bad_query, 422, "validation")["errors"]
    assert (error["location"], error["pointer"]) == ("query", "/times")
    [error] = assert_problem(bad_path, 422, "validation")["errors"]
    assert (error["location"], error["pointer"]) == ("path", "/id")


@pytest.mark.parametrize("rules", [[], [Depends(resource)], [PUBLIC, OPEN], [OPEN, OPEN]])
def test_a_route_that_does_not_name_one_rule_cannot_be_made(rules: list[Any]) -> None:
    async def answer() -> Response:
        """Answer."""
        return Response()

    with pytest.raises(TypeError, match="/remarks needs one permission"):
        Router(dependencies=rules).get("/remarks")(answer)
    with pytest.raises(TypeError, match="/remarks needs one permission"):
        Router().get("/remarks", dependencies=rules)(answer)


def test_a_route_that_begins_two_transactions_cannot_be_made(router: Router) -> None:
    async def store(db: TransactionDep, session: SessionDep) -> Response:
        """Write by both."""
        raise AssertionError((db, session))

    with pytest.raises(TypeError, match="/remarks depends on more than one transaction"):
        router.post("/remarks")(store)


def test_a_route_has_the_rule_that_it_names_or_its_router_does() -> None:
    async def answer() -> Response:
        """Answer."""
        return Response()

    named, inherited = Router(), Router(dependencies=[OPEN])
    named.get("/remarks", dependencies=[PUBLIC])(answer)
    inherited.get("/remarks")(answer)

    routes = [route for router in (named, inherited) for route in router.routes]
    rules = [route.permission.name for route in routes if isinstance(route, Route)]
    assert rules == ["public", "open"]


def solved(router: Router) -> None:
    """Add a handler that FastAPI solves: it asks for a query parameter beside the body."""

    @router.post("/remarks")
    async def add_note(body: Note, times: int = 1) -> list[Any]:
        """Answer with the body."""
        return [body, times]


def direct(router: Router) -> None:
    """Add a handler that is called directly: it asks for the body alone, and returns a Response."""

    @router.post("/remarks")
    async def add_note(body: Note) -> Response:
        """Answer with the body."""
        return Response(f"[{body.model_dump_json()},1]", media_type="application/json")


def included(router: Router) -> None:
    """Add a handler that would be called directly, by FastAPI's own means."""
    inner = Router(dependencies=[PUBLIC])
    direct(inner)
    router.include_router(inner)


def listed(router: Router) -> None:
    """Add a handler whose body is no model: it takes a list."""

    @router.post("/remarks")
    async def add_note(body: Annotated[Any, Body()]) -> list[Any]:
        """Answer with the body."""
        return [Note.model_validate(body), 1]


BODIES: list[tuple[int, bytes, dict[str, str]]] = [
    (400, b"", {}),
    (400, b"{", {}),
    (400, b"\xff", {}),
    (400, b'{"text": "x", "text": "y"}', {}),
    (400, b'{"text": "x", "stars": NaN}', {}),
    (400, b'{"text": "x", "stars": ' + b"9" * 5000 + b"}", {}),
    (400, b"[" * 30_000, {}),
    (400, '{"text": "x"}'.encode("utf-16"), {}),
    (413, b" " * 65_537, {}),
    (415, b'{"text": "x"}', {"Content-Type": "text/plain"}),
    (415, b'{"text": "x"}', {"Content-Type": "application/json; charset=utf-16"}),
    (415, b'{"text": "x"}', {"Content-Type": "application/vnd.api+json"}),
    (415, b'{"text": "x"}', {"Content-Encoding": "gzip"}),
]


@pytest.mark.parametrize("add", [direct, included, solved, listed])
@pytest.mark.parametrize(("status", "content", "headers"), BODIES)
async def test_a_body_is_read_strictly_whoever_calls_the_handler(
    router: Router,
    add: Callable[[Router], None],
    status: int,
    content: bytes,
    headers: dict[str, str],
) -> None:
    add(router)
    async with client_of(service(router)) as client:
        headers = {"Content-Type": "application/json"} | headers
        answer = await client.post("/remarks", content=content, headers=headers)

    assert_problem(answer, status)
    assert_headers(answer)
    assert answer.headers.get("connection") == ("close" if status == 413 else None)


@pytest.mark.parametrize("add", [direct, included, solved])
async def test_a_body_is_validated_alike_whoever_calls_the_handler(
    router: Router, add: Callable[[Router], None]
) -> None:
    add(router)
    async with client_of(service(router)) as client:
        good = await client.post("/remarks", json={"text": "x", "stars": "3"})
        bad = await client.post("/remarks", json={"stars": "three"})
        no_object = await client.post("/remarks", json=[])

    assert (good.status_code, good.json()) == (200, [{"text": "x", "stars": 3}, 1])
    errors = assert_problem(bad, 422, "validation")["errors"]
    assert [(error["pointer"], error["location"]) for error in errors] == [
        ("/text", "body"),
        ("/stars", "body"),
    ]
    [error] = assert_problem(no_object, 422, "validation")["errors"]
    assert error.get("pointer") == ""


async def test_a_body_may_be_a_member_of_a_larger_one(router: Router) -> None:
    @router.post("/one")
    async def add_one(note: Annotated[Note, Body(embed=True)]) -> Response:
        """Answer with the body's member."""
        return Response(note.text)

    @router.post("/two")
    async def add_two(first: Note, second: Note) -> Response:
        """Answer with both of the body's members."""
        return Response(first.text + second.text)

    async with client_of(service(router)) as client:
        one = await client.post("/one", json={"note": {"text": "x"}})
        two = await client.post("/two", json={"first": {"text": "x"}, "second": {"text": "y"}})
        bare = await client.post("/one", json={"text": "x"})

    assert (one.text, two.text) == ("x", "xy")
    [error] = assert_problem(bare, 422, "validation")["errors"]
    assert error["pointer"] == "/note"


async def test_a_session_of_a_handler_is_closed_and_committed_unless_it_fails(
    app: FastAPI, client: AsyncClient, router: Router
) -> None:
    @router.post("/stored")
    async def store(session: SessionDep, fail: bool) -> int:  # noqa: FBT001 - FastAPI names it
        """Store a book by hand."""
        session.add(Book(name="a", author="b"))
        await session.flush()
        if fail:
            raise HTTPException(418)
        return 1

    other = service(router)
    other.state.service.database = app.state.service.database
    before = app.state.service.database.engine.pool.checkedout()
    async with client_of(other) as more:
        rolled_back = await more.post("/stored?fail=true")
        left = (await client.get("/books")).json()
        committed = await more.post("/stored?fail=false")

    assert (rolled_back.status_code, left, committed.status_code) == (418, [], 200)
    assert len((await client.get("/books")).json()) == 1
    assert app.state.service.database.engine.pool.checkedout() == before


async def test_a_dependency_may_be_overridden(app: FastAPI, client: AsyncClient) -> None:
    book = (await client.post("/books", json={"name": "a", "author": "b"})).json()

    async def first(request: Request) -> int:
        return 1 if request.url.path.endswith("/first") else 404

    async def refuse() -> None:
        raise HTTPException(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})

    app.dependency_overrides = {record_id: first, if_match: refuse}
    try:
        overridden = await client.get("/books/first")
        missing = await client.get("/books/1")
        refused = await client.delete("/books/first")
        listed = await client.get("/books")
    finally:
        app.dependency_overrides = {}

    assert (overridden.status_code, overridden.json()) == (200, book)
    assert_problem(missing, 404)
    assert assert_problem(refused, 401)["detail"] == "Not authenticated"
    assert refused.headers["www-authenticate"] == "Bearer"
    assert listed.json() == [book]
    assert_problem(await client.get("/books/first"), 422)


async def test_what_is_overridden_answers_as_what_is_not(app: FastAPI, client: AsyncClient) -> None:
    async def talk() -> list[tuple[int, str, dict[str, str]]]:
        body = {"name": "a", "author": "b", "year": "2001"}
        json = {"Content-Type": "application/json"}
        answers = [
            await client.put("/books/1", json=body),
            await client.get("/books/1"),
            await client.head("/books/1"),
            await client.get("/books/1", headers={"If-None-Match": "*"}),
            await client.get("/books?limit=1&year_gt=1"),
            await client.patch("/books/1", json={"year": None}, headers={"If-Match": '"x"'}),
            await client.patch("/books/1", json={"x": 1}),
            await client.patch("/books/1", content=b"{", headers=json),
            await client.post("/books", content=b" " * 65_537, headers=json),
            await client.post("/books", content=b"{}"),
            await client.get("/books/x"),
            await client.get("/books?limit=x"),
        ]
        own = {"x-request-id", "etag", "content-length", "server-timing"}
        return [
            (
                answer.status_code,
                "" if answer.status_code >= 400 else answer.text,
                {name: value for name, value in answer.headers.items() if name not in own},
            )
            for answer in answers
        ]

    await client.post("/books", json={"name": "a", "author": "b"})
    expected = await talk()
    app.dependency_overrides = {resource: resource}
    try:
        assert await talk() == expected
    finally:
        app.dependency_overrides = {}


async def test_a_literal_path_hides_the_template_with_all_its_methods(router: Router) -> None:
    @router.put("/places/{id}")
    async def replace_place(id: Id) -> Response:
        """Answer for one."""
        return Response(f"{id}")

    @router.get("/places/biggest")
    async def list_biggest() -> Response:
        """Answer for the literal path."""
        return Response("biggest")

    async with client_of(service(router)) as client:
        assert (await client.get("/places/biggest")).text == "biggest"
        assert (await client.put("/places/7")).text == "7"
        assert_problem(await client.put("/places/biggest1"), 422)
        for path, allow in (
            ("/places/biggest", "GET, HEAD, OPTIONS"),
            ("/places/7", "OPTIONS, PUT"),
        ):
            refused = await client.delete(path)
            assert_problem(refused, 405)
            assert refused.headers["allow"] == allow
            assert (await client.options(path)).headers["allow"] == allow
        assert_problem(await client.put("/places/biggest"), 405)


@pytest.mark.parametrize("prefix", ["", "/music"])
async def test_the_index_is_at_the_prefix_of_the_service_with_and_without_a_slash(
    prefix: str,
) -> None:
    transport = ASGITransport(create_app(Settings()), root_path=prefix)
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        for path in (prefix, f"{prefix}/"):
            answer = await client.get(f"http://songbook{path}")
            assert (answer.status_code, answer.json()["message"]) == (200, "Hello World")
        for path in (f"{prefix}//", f"{prefix}///", f"/{prefix}//"):
            assert_problem(await client.get(f"http://songbook{path}"), 404, "not-found")


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_routes_may_be_added_later_and_included_under_a_prefix(
    router: Router, prefix: str
) -> None:
    app = create_app(Settings())
    async with client_of(app) as client:
        assert_problem(await client.get(f"{prefix}/late/7"), 404)

        @router.get("/late/{id}")
        async def read_late(id: Id) -> Response:
            """Answer."""
            return Response(f"{id}")

        app.include_router(router, prefix=prefix)
        assert (await client.get(f"{prefix}/late/7")).text == "7"
        assert (await client.head(f"{prefix}/late/7")).status_code == 200
        refused = await client.put(f"{prefix}/late/7")
        assert_problem(refused, 405)
        assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


class Stamp:
    """Middleware that counts the answers that pass, and marks them."""

    passed = 0

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, and mark its answer."""

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                Stamp.passed += 1
                message["headers"] = [*message["headers"], (b"x-stamp", b"yes")]
            await send(message)

        await self.app(scope, receive, stamped)


async def test_middleware_sees_every_answer_whoever_calls_the_handler(router: Router) -> None:
    direct(router)

    @router.get("/solved")
    async def solve(number: int) -> int:
        """Answer with the query."""
        return number

    app = service(router)
    app.add_middleware(Stamp)
    Stamp.passed = 0
    async with client_of(app) as client:
        answers = [
            await client.post("/remarks", json={"text": "x"}),
            await client.get("/solved?number=1"),
            await client.post("/remarks", json={}),
            await client.get("/books/x"),
            await client.options("/books"),
            await client.put("/books"),
            await client.get("/nowhere"),
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 422, 422, 204, 405, 404]
    assert [answer.headers["x-stamp"] for answer in answers] == ["yes"] * 7
    assert Stamp.passed == 7


SECRET = "s3cret: SELECT * FROM book -- /srv/app.py"


def failing(router: Router, error: BaseException) -> None:
    """Add handlers that raise: called directly, solved by FastAPI, behind a dependency."""

    @router.get("/direct")
    async def fail_directly() -> Response:
        """Raise."""
        raise error

    @router.get("/solved")
    async def fail(number: int = 0) -> int:
        """Raise."""
        raise error if number == 0 else AssertionError

    @dependency(error_statuses=(500,))
    async def refuse(request: StrictRequest) -> int:
        raise error if request.url.path == "/guarded" else AssertionError

    @router.get("/guarded")
    async def guarded(found: Annotated[int, Depends(refuse)]) -> Response:
        """Return nothing, ever."""
        return Response(f"{found}")

    async def break_off() -> AsyncIterator[int]:
        yield 1
        raise error

    @router.get("/closed")
    async def closed(found: Annotated[int, Depends(break_off, scope="function")]) -> int:
        """Answer, and fail when what was opened is closed."""
        return found


@pytest.mark.parametrize("path", ["/direct", "/solved", "/guarded", "/closed"])
@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), KeyError(SECRET), ValueError(SECRET), AssertionError(SECRET)]
)
async def test_a_bug_is_logged_under_the_request_id_and_tells_the_client_nothing(
    router: Router, caplog: pytest.LogCaptureFixture, path: str, error: Exception
) -> None:
    failing(router, error)
    async with client_of(service(router)) as client:
        answer = await client.get(path, headers={"X-Request-ID": "mine-1"})

    problem = assert_problem(answer, 500, "internal")
    assert_headers(answer)
    assert set(problem) == {"type", "title", "status", "detail", "instance", "request_id"}
    assert problem["request_id"] == "mine-1"
    assert "SELECT" not in answer.text
    assert ".py" not in answer.text
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "mine-1" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is error


@pytest.mark.parametrize("path", ["/direct", "/solved", "/guarded", "/closed"])
@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ConnectionRefusedError(SECRET), 503, "1"),
        (TimeoutError(SECRET), 503, "1"),
        (HTTPException(403, "Not yours"), 403, None),
        (HTTPException(418), 418, None),
        (HTTPException(429, headers={"Retry-After": "7"}), 429, "7"),
        (HTTPException(500), 500, None),
    ],
)
async def test_a_failure_that_has_a_status_is_told_in_the_one_shape(
    router: Router, path: str, error: Exception, status: int, retry: str | None
) -> None:
    failing(router, error)
    async with client_of(service(router)) as client:
        answer = await client.get(path)

    problem = assert_problem(answer, status)
    assert_headers(answer)
    assert "SELECT" not in answer.text
    assert answer.headers.get("retry-after") == retry
    assert status != 403 or problem["detail"] == "Not yours"


async def test_an_answer_that_breaks_off_is_not_continued_with_another(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    from starlette.responses import StreamingResponse

    @router.get("/stream")
    async def stream() -> Response:
        """Begin an answer that fails."""

        async def parts() -> AsyncIterator[bytes]:
            yield b"part"
            raise RuntimeError(SECRET)

        return StreamingResponse(parts())

    @router.get("/late")
    async def late(tasks: BackgroundTasks) -> int:
        """Answer, and fail afterwards."""

        async def fail() -> None:
            raise RuntimeError(SECRET)

        tasks.add_task(fail)
        return 1

    app = service(router)
    for path, sent in (("/stream", b"part"), ("/late", b"1")):
        messages = await ask(app, "GET", path)
        assert [message["type"] for message in messages].count("http.response.start") == 1
        assert messages[0]["status"] == 200
        assert b"".join(message.get("body", b"") for message in messages) == sent
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 2


async def test_a_client_that_leaves_amid_its_body_gets_no_answer_and_is_no_bug(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    direct(router)
    part: list[Message] = [{"type": "http.request", "body": b'{"text"', "more_body": True}]

    messages = await ask(service(router), "POST", "/remarks", [*part, {"type": "http.disconnect"}])

    assert messages == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def ask(
    app: FastAPI, method: str, path: str, received: list[Message] | None = None
) -> list[Message]:
    """Return the messages that a service sends for one request."""
    incoming = iter(received or [{"type": "http.request", "body": b""}])
    sent: list[Message] = []

    async def receive() -> Message:
        found = next(incoming, None)
        if found is None:
            await asyncio.Event().wait()
            raise AssertionError
        return found

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "http_version": "1.1",
        "root_path": "",
        "scheme": "http",
    }
    await app(scope, receive, send)
    return sent


async def test_a_body_arrives_in_any_number_of_parts(router: Router) -> None:
    direct(router)
    content = b'{"text": "caf\xc3\xa9"}'
    parts: list[Message] = [
        {"type": "http.request", "body": content[at : at + 1], "more_body": True}
        for at in range(len(content))
    ]

    messages = await ask(service(router), "POST", "/remarks", [*parts, {"type": "http.request"}])

    assert messages[0]["status"] == 200
    assert "café".encode() in messages[1]["body"]


@pytest.mark.parametrize("given", ["a", "0", "A-b_c.9", "." * 64, "-", "..", "0123456789abcdef"])
async def test_a_harmless_request_id_is_taken_over(client: AsyncClient, given: str) -> None:
    for path in ("/ping", "/books", "/books/1", "/books/x", "/nowhere", "/docs"):
        answer = await client.get(path, headers={"X-Request-ID": given})
        assert answer.headers.get_list("x-request-id") == [given]
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == given


@pytest.mark.parametrize(
    "given",
    [b"", b" ", b"a b", b"." * 65, b"a;b", b"\xc3\xa9", b"a\tb", b"a,b", b"<a>", b"{}", b"a/b"],
)
async def test_any_other_request_id_is_replaced(client: AsyncClient, given: bytes) -> None:
    ids = set()
    for _ in range(3):
        answer = await client.get("/books/x", headers=[(b"X-Request-ID", given)])
        ids.add(assert_problem(answer, 422)["request_id"])
        assert_headers(answer)

    assert len(ids) == 3
    assert given.decode("latin-1") not in ids


async def test_one_of_several_request_ids_is_taken_over(client: AsyncClient) -> None:
    lines = [(b"X-Request-ID", b"a b"), (b"X-Request-ID", b"mine"), (b"X-Request-ID", b"other")]

    answer = await client.get("/ping", headers=lines)

    assert answer.headers.get_list("x-request-id") == ["mine"]


async def test_requests_at_once_keep_their_ids(client: AsyncClient) -> None:
    async def get(number: int) -> bool:
        answer = await client.get("/books/1", headers={"X-Request-ID": f"n-{number}"})
        found: str = answer.json()["request_id"]
        return found == answer.headers["x-request-id"] == f"n-{number}"

    assert all(await asyncio.gather(*(get(number) for number in range(50))))


@each_way
async def test_what_a_dependency_begins_is_ended_whatever_fails_after_it(way: str) -> None:
    begun: list[str] = []

    class Recorded:
        """Counts what it ends."""

        async def commit(self, response: Response) -> Response:
            begun.pop()
            return response

        async def rollback(
            self,
            error: BaseException,
            *,
            is_called: bool = True,  # noqa: ARG002
        ) -> Response:
            begun.pop()
            raise error

    @opening_dependency()
    async def begin(_request: StrictRequest) -> Opened:
        begun.append("one")
        return Opened(None, Recorded())

    async def handle(begun_: Annotated[None, Depends(begin)], note: Note, number: int) -> Response:
        return Response(f"{begun_} {note.text} {number}")

    router = Router(dependencies=[PUBLIC])
    add_both_ways(router, "/x", handle)
    async with client_of(service(router)) as client:
        for query, body, status in (
            ("1", {}, 422),
            ("a", {"text": "a"}, 422),
            ("1", {"text": "a"}, 200),
        ):
            answer = await client.post(f"{way}/x", params={"number": query}, json=body)
            assert (answer.status_code, begun) == (status, [])
