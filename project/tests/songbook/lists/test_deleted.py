"""Deleted rows of lists, which superusers may ask for."""

import json
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from httpx import AsyncClient, Response
from sqlalchemy.engine import URL
from starlette.responses import Response as Answer

from songbook.application import create_app
from songbook.auth import OPEN, Account
from songbook.crud import ReadDep, Records
from songbook.http import Router
from songbook.lists import Page, estimates, page_of
from songbook.models import SoftDelete
from tests.samples.resources.members import Member
from tests.samples.resources.novels import Novel, NovelPublic
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.clients import client_of, sign_in
from tests.support.databases import spelled
from tests.support.openapi import parameters_of

CSV, NDJSON = "text/csv", "application/x-ndjson"
FOUND = {"": [1, 3], "deleted=with": [1, 2, 3, 4], "deleted=only": [2, 4]}


@pytest.fixture
async def half(superuser: AsyncClient) -> AsyncClient:
    """Give a superuser of a service with four novels, the even of which are deleted."""
    await superuser.post("/publishers", json={"name": "Faber"})
    for number in range(1, 5):
        await superuser.post("/novels", json={"title": f"Novel {number}", "publisher_id": 1})
    for number in (2, 4):
        assert (await superuser.delete(f"/novels/{number}")).status_code == 204
    return superuser


async def test_no_estimate_tells_the_values_of_deleted_records(
    half: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "MAX_COST", -1)

    for url, count in (
        ("/novels?title=Novel+2", "0"),
        ("/publishers/1/novels?", "2"),
        ("/novels?publisher.name=Faber", "2"),
    ):
        counted = await half.get(f"{url}&count=estimated")
        assert counted.headers["X-Total-Count"] == count
        assert "X-Total-Count-Estimated" not in counted.headers
    whole = await half.get("/novels?count=estimated&limit=1")
    assert whole.headers["X-Total-Count-Estimated"] == "true"


@pytest.mark.parametrize("query", FOUND)
@pytest.mark.parametrize("path", ["/novels", "/publishers/1/novels"])
async def test_a_superuser_lists_deleted_records_too_or_no_others(
    half: AsyncClient, path: str, query: str
) -> None:
    expected, url = FOUND[query], f"{path}?q=novel&expand=publisher&{query}"

    page = await half.get(f"{url}&count=exact")
    assert [each["id"] for each in page.json()] == expected
    assert page.json()[0].keys() == {*NovelPublic.model_fields, "publisher"}
    assert page.headers["X-Total-Count"] == str(len(expected))
    lines = (await half.get(url, headers={"Accept": NDJSON})).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == expected
    csv = await half.get(f"{path}?{query}&sort=-id", headers={"Accept": CSV})
    ids = [int(line.partition(",")[0]) for line in csv.text.splitlines()[1:]]
    assert ids == expected[::-1]
    for answer in (page, csv):
        caching = "private, no-cache" if query else "no-cache"
        assert answer.headers["Cache-Control"] == caching


async def test_a_page_of_deleted_records_has_a_next_one_of_the_same(half: AsyncClient) -> None:
    page = await half.get("/novels?deleted=only&limit=1")
    following = page.links["next"]["url"]

    assert [each["id"] for each in (await half.get(following)).json()] == [4]
    for other in ("deleted=with", ""):
        bad = await half.get(following.replace("deleted=only", other))
        assert_problem(bad, 400, "bad-cursor")


async def test_only_superusers_list_deleted_records(half: AsyncClient, app: FastAPI) -> None:
    token = await sign_in(app, 7, is_superuser=False)

    async def refused(status: int, **headers: str) -> Response:
        async with client_of(app, **headers) as client:
            assert (await client.get("/novels")).status_code == 200
            for kind in ("application/json", CSV):
                answer = await client.get("/novels?deleted=only", headers={"Accept": kind})
                assert_problem(answer, status)
        return answer

    assert (await refused(401)).headers["WWW-Authenticate"]
    answer = await refused(403, Authorization=token)
    assert answer.json()["detail"] == "Only superusers may list deleted records."
    assert_problem(await half.get("/novels?deleted=yes"), 422)
    assert_problem(await half.get("/books?deleted=only"), 422)


class NovelHistory(NovelPublic, SoftDelete):
    """Shows when a novel was deleted."""


history = Records(Novel, NovelHistory)
router = Router(dependencies=[OPEN])


@router.get("/history", response_model=list[NovelHistory])
async def list_history(page: Annotated[Page, Depends(page_of(history))], db: ReadDep) -> Answer:
    """List novels, and when they were deleted."""
    return await page.response(db)


@pytest.fixture(params=[Member, None], ids=["accounts", "no accounts"])
async def showing(
    request: pytest.FixtureRequest, database_url: URL, half: AsyncClient
) -> AsyncIterator[tuple[AsyncClient, FastAPI]]:
    """Give a superuser of a service that shows the time of the deletion, and one of nobody's."""
    accounts: type[Account] | None = request.param
    app = create_app(Settings(database_url=spelled(database_url)), [router], accounts=accounts)
    token = half.headers["Authorization"]
    async with app.router.lifespan_context(app), client_of(app, Authorization=token) as client:
        yield client, app


async def test_the_time_is_shown_where_the_public_class_has_it(
    showing: tuple[AsyncClient, FastAPI],
) -> None:
    client, app = showing
    has_accounts = bool(app.state.service.accounts)
    operation = app.openapi()["paths"]["/history"]["get"]

    page = await client.get("/history?deleted=with&sort=-deleted_at,id")

    names = [each["name"] for each in parameters_of(app.openapi(), "/history")]
    assert ("deleted" in names) == ("403" in operation["responses"]) == has_accounts
    assert ({} in operation.get("security", [])) == has_accounts
    if has_accounts:
        times = [(each["id"], each["deleted_at"] is None) for each in page.json()]
        assert times == [(1, True), (3, True), (4, False), (2, False)]
    else:
        assert_problem(page, 403)
