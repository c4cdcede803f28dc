"""The document as it is sent: with an entity tag, and compressed for clients that accept it."""

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from tests.support.asserts import assert_problem


async def test_the_document_is_sent_compressed_to_clients_that_accept_that(
    client: AsyncClient,
) -> None:
    sizes = {}
    for accepted in ("gzip", "br, GZIP; q=0.5", "identity", "gzip;q=0, *", "gzip;q=0.00", "gzips"):
        headers = {"Accept-Encoding": accepted}
        answer = await client.get("/openapi.json", headers=headers)  # httpx decodes it
        is_compressed = answer.headers.get("content-encoding") == "gzip"
        sizes[accepted] = int(answer.headers["content-length"])
        assert is_compressed == (accepted in {"gzip", "br, GZIP; q=0.5"}), accepted
        assert answer.headers["etag"].endswith('-gz"') == is_compressed
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.json()["openapi"] == "3.1.0"

    assert sizes["gzip"] < sizes["identity"] / 8


async def test_a_client_that_has_the_document_is_not_sent_it_again(client: AsyncClient) -> None:
    for accepted in ("identity", "gzip"):
        headers = {"Accept-Encoding": accepted}
        answer = await client.get("/openapi.json", headers=headers)
        tag = answer.headers["etag"]

        for condition, status in ((tag, 304), (f"W/{tag}", 304), ("*", 304), ('"other"', 200)):
            again = await client.get(
                "/openapi.json", headers={**headers, "If-None-Match": condition}
            )
            assert (again.status_code, again.headers["etag"]) == (status, tag)
        head = await client.head("/openapi.json", headers=headers)
        assert (head.headers["etag"], head.content) == (tag, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]


async def test_tags_without_quotes_are_refused_as_those_of_records_are(client: AsyncClient) -> None:
    for path in ("/openapi.json", "/books", "/books/1"):
        answer = await client.get(path, headers={"If-None-Match": "untagged"})

        [error] = assert_problem(answer, 400)["errors"]
        assert error["pointer"] == "/If-None-Match"
    several = [("If-None-Match", '"other"'), ("If-None-Match", "*")]
    assert_problem(await client.get("/openapi.json", headers=several), 400)


async def test_under_a_prefix_the_document_names_it_as_the_server(app: FastAPI) -> None:
    servers = {}
    for prefix in ("/music", ""):
        transport = ASGITransport(app, root_path=prefix)
        async with AsyncClient(transport=transport, base_url="http://songbook") as client:
            answer = await client.get(f"{prefix}/openapi.json")
        servers[prefix] = [each["url"] for each in answer.json()["servers"]]

    assert servers == {"/music": ["/music", "/"], "": ["/"]}
