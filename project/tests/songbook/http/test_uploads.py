"""Uploads: multipart bodies, within bounds, with keys and dry runs, and what is refused."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from httpx import ASGITransport, AsyncClient
from sqlalchemy.engine import URL

from songbook.application import create_app
from songbook.auth import PUBLIC
from songbook.crud import TransactionDep
from songbook.http import Router
from songbook.models import TextType
from tests.samples.resources.books import books
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.databases import spelled
from tests.support.openapi import parameters_of

BYTES = 300_000
ODES = ("odes.txt", b"Exegi monumentum\r\n--aere perennius", "text/plain")

router = Router(prefix="/covers", dependencies=[PUBLIC])
Title = Annotated[str, TextType(max_length=20), Form()]


@router.post("", status_code=201)
async def create_cover(
    title: Title, file: UploadFile, request: Request, db: TransactionDep
) -> Response:
    """Store the title and the size."""
    content = await file.read()
    fields = {"name": title, "author": f"{file.content_type} {len(content)}"}
    return books.created(await db.fetch(books.insert(fields)), request)


@router.post("/many")
async def count_covers(
    files: list[UploadFile], note: Annotated[bytes | None, File()] = None
) -> list[Any]:
    """Return the sizes."""
    return [*(file.size for file in files), note and len(note)]


@router.post("/form")
async def read_form(title: Title, stars: Annotated[int, Form()] = 0) -> list[Any]:
    """Return the fields of an urlencoded form."""
    return [title, stars]


@pytest.fixture
async def service(
    database_url: URL,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[FastAPI]:
    """Give a service with the routes of this file."""
    app = create_app(Settings(database_url=spelled(database_url), upload_bytes=BYTES), [router])
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def covers(service: FastAPI) -> AsyncIterator[AsyncClient]:
    """Give a client of the service."""
    transport = ASGITransport(service)
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        yield client


def multipart(*parts: bytes, end: bytes = b"--x--\r\n") -> dict[str, Any]:
    """Return the options of a request with these parts, each its headers and its content."""
    content = b"".join(b"--x\r\n%b\r\n" % part for part in parts) + end
    return {"content": content, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}


def field(name: str, content: bytes = b"x") -> bytes:
    """Return a part without a file."""
    return b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), content)


def file(name: str, content: bytes = b"x") -> bytes:
    """Return a part with a file."""
    head = b'Content-Disposition: form-data; name="%b"; filename="x"\r\n\r\n%b'
    return head % (name.encode(), content)


async def test_a_file_and_a_field_are_read_and_stored(covers: AsyncClient) -> None:
    answer = await covers.post("/covers", data={"title": " Odes "}, files={"file": ODES})

    assert (answer.status_code, answer.headers["location"]) == (201, "/covers/1")
    assert answer.json() == {"id": 1, "name": "Odes", "author": "text/plain 34", "year": None}


async def test_a_large_file_comes_whole(covers: AsyncClient) -> None:
    content = os.urandom(BYTES - 1000)
    answer = await covers.post(
        "/covers", data={"title": "x"}, files={"file": ("x", content, "text/plain")}
    )
    many = await covers.post("/covers/many", files=[("files", content[:9]), ("files", content[:5])])

    assert answer.json()["author"] == f"text/plain {len(content)}"
    assert many.json() == [9, 5, None]


async def test_a_key_works_with_another_boundary_and_not_with_another_content(
    covers: AsyncClient,
) -> None:
    key = {"Idempotency-Key": "cover-1"}
    answers = [
        await covers.post("/covers", data={"title": title}, files={"file": part}, headers=key)
        for title, part in (("a", ODES), ("a", ODES), ("b", ODES), ("a", ("x", *ODES[1:])))
    ]

    first, again, *others = answers
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    for each in others:
        assert_problem(each, 422, "idempotency-key-reused")


async def test_a_dry_run_of_an_upload_stores_nothing(covers: AsyncClient) -> None:
    options: dict[str, Any] = {"data": {"title": "x"}, "files": {"file": ODES}}
    dry = await covers.post("/covers?dry_run=true", **options)

    assert dry.status_code == 200
    assert (await covers.post("/covers", **options)).json()["id"] > dry.json()["id"]
    assert_problem(await covers.post("/covers?dryrun=true", **options), 422)


@pytest.mark.parametrize(
    ("parts", "errors"),
    [
        ([], [("/title", "missing"), ("/file", "missing")]),
        ([field("title"), field("file")], [("/file", "value_error")]),
        ([field("title", b"x" * 21), file("file")], [("/title", "string_too_long")]),
        ([field("title", b"\0"), file("file")], [("/title", "string_nul")]),
        ([file("title"), file("file")], [("/title", "string_type")]),
        (
            [field("title"), field("title"), file("file"), field("fiel")],
            [("/fiel", "extra_forbidden"), ("/title", "repeated")],
        ),
    ],
)
async def test_parts_are_validated_and_pointed_at(
    covers: AsyncClient, parts: list[bytes], errors: list[tuple[str, str]]
) -> None:
    answer = await covers.post("/covers", **multipart(*parts))

    found = assert_problem(answer, 422, "validation")["errors"]
    assert [(each["pointer"], each["type"]) for each in found] == errors
    assert {each["location"] for each in found} == {"body"}


WHOLE = (field("title"), file("file"))


@pytest.mark.parametrize(
    "options",
    [
        multipart(*WHOLE, end=b""),
        multipart(*WHOLE, end=b"--x"),
        multipart(*WHOLE, b'Content-Disposition: form-data; filename="x"\r\n\r\nx'),
        multipart(*WHOLE, b"Nothing"),
        multipart(*WHOLE, b"X: " + b"x" * 5000 + b"\r\n\r\n"),
        multipart(*WHOLE, b"X: x\r\n" * 9 + b"\r\n"),
        multipart(*[file("file")] * 11),
        multipart(*[field("title")] * 101),
        multipart(field("title", b"x" * 65537), file("file")),
        {**multipart(*WHOLE), "headers": {"Content-Type": "multipart/form-data"}},
        {**multipart(*WHOLE), "headers": {"Content-Type": "multipart/form-data; boundary=y"}},
        {"content": b"\0\xff" * 99, "headers": multipart()["headers"]},
        {"content": b"", "headers": multipart()["headers"]},
    ],
    ids=[
        *("no-end", "half-an-end", "no-name", "no-headers", "long-header", "many-headers"),
        *("many-files", "many-fields", "long-field", "no-boundary", "another-boundary"),
        *("bytes", "nothing"),
    ],
)
async def test_what_is_no_multipart_body_is_malformed(
    covers: AsyncClient, options: dict[str, Any]
) -> None:
    detail = assert_problem(await covers.post("/covers", **options), 400)["detail"]

    assert detail.startswith("The body is not valid multipart/form-data: ")


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(covers: AsyncClient) -> None:
    chunks: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"--x\r\n" + file("file")
        for number in range(100):
            chunks.append(number)
            yield bytes(10_000)

    headers = multipart()["headers"]
    answer = await covers.post("/covers", content=body(), headers=headers)
    declared = await covers.post("/covers", **multipart(file("file", bytes(BYTES))))

    for each in (answer, declared):
        detail = assert_problem(each, 413, "too-large")["detail"]
        assert detail == f"The body is larger than {BYTES} bytes."
    assert len(chunks) < 32


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=x; charset=latin-1",
        "",
    ],
)
async def test_another_media_type_is_refused(covers: AsyncClient, media_type: str) -> None:
    sent = {**multipart(*WHOLE), "headers": {"Content-Type": media_type}}

    assert_problem(await covers.post("/covers", **sent), 415)


async def test_fields_of_an_urlencoded_form_are_read_by_fastapi_too(covers: AsyncClient) -> None:
    answer = await covers.post("/covers/form", data={"title": "x", "stars": "3"})
    unknown = await covers.post("/covers/form", data={"title": "x", "star": "3"})

    assert answer.json() == ["x", 3]
    assert assert_problem(unknown, 422)["errors"][0]["pointer"] == "/star"
    assert_problem(await covers.post("/covers/form", **multipart(field("title"))), 415)


async def test_uploads_have_as_many_places_as_imports(
    service: FastAPI, covers: AsyncClient
) -> None:
    taken = [await service.state.service.uploads.take("127.0.0.1", 0) for _ in range(32)]

    detail = assert_problem(await covers.post("/covers", **multipart(*WHOLE)), 503)["detail"]
    for release in taken:
        release()

    assert detail == "Too many imports and uploads are in progress: try again."
    assert (await covers.post("/covers", **multipart(*WHOLE))).status_code == 201


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file without room")
async def test_a_full_disk_is_told(covers: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        return Path("/dev/full").open("r+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    sent = multipart(field("title"), file("file", bytes(200_000)))

    assert_problem(await covers.post("/covers", **sent), 507, "insufficient-storage")


async def test_the_document_describes_the_parts() -> None:
    document = create_app(Settings(), [router]).openapi()

    operation = document["paths"]["/covers"]["post"]
    [(media_type, content)] = operation["requestBody"]["content"].items()
    assert media_type == "multipart/form-data"
    schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    assert schema["required"] == ["title", "file"]
    assert schema["properties"]["title"]["maxLength"] == 20
    assert {"400", "408", "413", "415", "422", "503", "507"} <= operation["responses"].keys()
    parameters = parameters_of(document, "/covers", "post")
    assert any(each["name"] == "Idempotency-Key" for each in parameters)


def test_without_python_multipart_a_route_with_a_file_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("python_multipart", "multipart"):
        monkeypatch.setitem(sys.modules, name, None)

    async def upload(file: UploadFile) -> None:
        """Take a file."""

    with pytest.raises(TypeError, match=r"/covers reads .* `pip install -r requirements-uploads"):
        Router(dependencies=[PUBLIC]).post("/covers")(upload)
