"""Relations in the OpenAPI document: responses are as it describes them."""

import re
from typing import Annotated, Any

import jsonschema_rs
import pytest
from fastapi import Depends, Response
from httpx import AsyncClient

from songbook.application import create_app
from songbook.crud import ReadDep, Records
from songbook.lists import Page, page_of
from tests.samples.settings import Settings
from tests.support.openapi import parameters_of
from tests.support.references import post
from tests.support.related import RESOURCES, Player, PlayerPublic
from tests.support.routes import open_router
from tests.support.services import SAMPLES

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    """Return the document of the sample."""
    return SAMPLES.app().openapi()


def parameters(document: Document, path: str) -> dict[str, Any]:
    """Return the parameters of a GET by name."""
    found = parameters_of(document, path)
    names = [each["name"] for each in found]
    assert len({*names}) == len(names)
    return dict(zip(names, found, strict=True))


def named(expand: dict[str, Any]) -> list[str]:
    """Return the names that `expand` takes."""
    pattern = expand["schema"]["pattern"]
    names: list[str] = pattern.partition("(")[2].partition(")")[0].split("|")
    assert re.fullmatch(pattern, ",".join(names))
    return names


def assert_described(document: Document, path: str, method: str, body: Any) -> None:
    """Assert that a body is as the document describes that of a success."""
    operation = document["paths"][path][method.lower()]
    status = "201" if method == "POST" else "200"
    schema = operation["responses"][status]["content"]["application/json"]["schema"]
    jsonschema_rs.validate({**schema, "components": document["components"]}, body)


def test_what_can_be_expanded_is_named(document: Document) -> None:
    for path, names in {
        "/novels": ["publisher", "town"],
        "/novels/{id}": ["publisher", "town"],
        "/publishers": ["novels"],
        "/publishers/{id}": ["novels"],
        "/towns": ["novels"],
        "/towns/{id}": ["novels"],
    }.items():
        expand = parameters(document, path)["expand"]
        assert named(expand) == names
    for path in ("/books", "/books/{id}", "/notes"):
        assert "expand" not in parameters(document, path)


def test_filters_by_parents_are_those_of_their_own_lists(document: Document) -> None:
    own, parents = parameters(document, "/novels"), parameters(document, "/publishers")
    others = {"limit", "sort", "after", "q", "count", "escape", "expand", "If-None-Match"}
    others |= {"deleted", "fields"}

    assert {name for name in own if name.startswith("publisher.")} == {
        f"publisher.{name}" for name in parents.keys() - others
    }
    for name in parents.keys() - others:
        assert own[f"publisher.{name}"]["schema"] == parents[name]["schema"]
    assert "publisher.novel_count" not in own
    assert not [name for name in parameters(document, "/publishers") if name.startswith("novels.")]


def check_references(document: Document, part: Any) -> None:
    """Raise KeyError for a reference to nothing."""
    if isinstance(part, dict) and isinstance(part.get("$ref"), str):
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
    for each in part.values() if isinstance(part, dict) else part:
        if isinstance(each, dict | list):
            check_references(document, each)


def test_a_list_that_the_document_does_not_describe_is_no_schema_of_others() -> None:
    router, players = open_router(), Records(Player, PlayerPublic)

    @router.get("/players")
    async def list_players(
        page: Annotated[Page, Depends(page_of(players))], db: ReadDep
    ) -> Response:
        """List players, without a response model."""
        return await page.response(db)

    [teams] = [each for each in RESOURCES if each.tags == ["team"]]
    described = create_app(Settings(), [router, teams]).openapi()

    check_references(described, described)
    expand = parameters(described, "/teams")["expand"]
    assert named(expand) == ["captain", "players"]


def test_every_reference_within_the_document_leads_somewhere(document: Document) -> None:
    check_references(document, document)
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_conflicts_are_described_where_references_are_refused(document: Document) -> None:
    conflicts = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "409" in operation["responses"]
        if path.startswith(("/novels", "/publishers", "/towns/", "/books/"))
    }

    for method, path in (
        *(("POST", "/novels"), ("PUT", "/novels/{id}"), ("PATCH", "/novels/{id}")),
        *(("POST", "/novels/{id}/restore"), ("DELETE", "/publishers/{id}")),
    ):
        assert (method, path) in conflicts
    for path in ("/novels/{id}", "/towns/{id}", "/books/{id}"):
        assert ("DELETE", path) not in conflicts


async def test_responses_are_as_the_document_describes_them(
    client: AsyncClient, document: Document
) -> None:
    town = await post(client, "/towns", name="Bath", population=1)
    publisher = await post(client, "/publishers", name="Faber", country="GB")
    novel = await post(client, "/novels", title="a", price="1.5", publisher_id=1, town_id=1)
    await post(client, "/novels", title="b", publisher_id=1)
    for created, path in ((town, "/towns"), (publisher, "/publishers"), (novel, "/novels")):
        assert_described(document, path, "POST", created.json())

    for path in ("/novels", "/publishers", "/towns", "/novels/{id}", "/publishers/{id}"):
        names = named(parameters(document, path)["expand"])
        for query in ("", *(f"?expand={name}" for name in names), f"?expand={','.join(names)}"):
            body = (await client.get(path.replace("{id}", "1") + query)).json()
            assert_described(document, path, "GET", body)
            row = body[0] if isinstance(body, list) else body
            for name in query.partition("=")[2].split(",") if query else ():
                broken: Any = {**row, name: [{}]}
                with pytest.raises(jsonschema_rs.ValidationError):
                    assert_described(
                        document, path, "GET", [broken] if isinstance(body, list) else broken
                    )
