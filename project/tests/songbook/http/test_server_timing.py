"""The time of a request in its response, in development only."""

import re
from secrets import token_urlsafe

from sqlalchemy.engine import URL

from tests.support.services import Tested as Service

BOOK = {"name": "a", "author": "b"}


async def test_a_response_tells_how_long_it_and_its_statements_took(
    tested: Service, migrated_url: URL
) -> None:
    async with tested.on(migrated_url, environment="dev") as (client, _):
        responses = [
            await client.post("/books", json=BOOK),
            await client.post("/books", json=BOOK, headers={"Idempotency-Key": "a"}),
            await client.post("/by-session", json=BOOK),
            await client.get("/books"),
            await client.get("/books", headers={"Accept": "text/csv"}),
            await client.get("/nowhere"),
        ]

    times = [
        re.fullmatch(r"db;dur=(\d+\.\d), total;dur=(\d+\.\d)", each.headers["server-timing"])
        for each in responses
    ]
    for number, found in enumerate(times):
        assert found
        database, total = map(float, found.groups())
        assert database <= total
        assert (database > 0) == (number < 4), number


async def test_in_production_no_response_tells_it(tested: Service, migrated_url: URL) -> None:
    """The time that a statement took may tell what it found."""
    options = {"environment": "prod", "oauth_token_secret": token_urlsafe(48)}
    async with tested.on(migrated_url, **options) as (client, _):
        assert "server-timing" not in (await client.get("/books")).headers
