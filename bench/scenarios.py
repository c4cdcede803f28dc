"""What is measured: what both contenders are asked, with the floor and the aim of each."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from database import SONGS
from load import FRESH, Request
from servers import Server

IDS = [1 + turn * 7919 % SONGS for turn in range(1000)]
FILTERED = "/songs?year_gte=1990&artist_contains=a&sort=-year,name"


class Work(NamedTuple):
    """The requests of one measurement, sent in turn, and the status that each must get."""

    status: int
    requests: list[Request]


class Scenario(NamedTuple):
    """One line of the table; floor and aim are ratios of CPU per request."""

    title: str
    floor: float
    aim: float
    tutorial: Callable[[Server], Work]
    songbook: Callable[[Server], Work]


def listing(_: Server) -> Work:
    """Ask for the first hundred songs."""
    return Work(200, [Request("GET", "/songs")])


def filtered(server: Server) -> Work:
    """Ask for the page that the first filtered page links to."""
    link = server.ask(Request("GET", FILTERED)).headers.get("link", "")
    following = re.search(r'<([^>]+)>; *rel="?next"?', link)
    if not following:
        raise SystemExit(f"{server.name}: no next page in the Link of {FILTERED}: {link!r}")
    return Work(200, [Request("GET", following[1])])


def reading(_: Server) -> Work:
    """Ask for single songs."""
    return Work(200, [Request("GET", f"/songs/{id_}") for id_ in IDS])


def matching(server: Server) -> Work:
    """Ask for single songs whose current tag the client already has."""
    requests = []
    for id_ in IDS[:100]:
        song = Request("GET", f"/songs/{id_}")
        tag = server.ask(song).headers.get("etag", "")
        requests.append(song._replace(headers=(("If-None-Match", tag),)))
    return Work(304, requests)


def creating(status: int, *headers: tuple[str, str]) -> Callable[[Server], Work]:
    """Store songs; the tutorial answers 200, Songbook 201."""
    bodies = [{"name": f"Added {n}", "artist": f"Mogwai {n}", "year": 2021} for n in range(1000)]
    requests = [Request("POST", "/songs", headers, json.dumps(body)) for body in bodies]
    return lambda _: Work(status, requests)


def updating(*headers: tuple[str, str]) -> Callable[[Server], Work]:
    """Change the year of single songs."""
    requests = [
        Request("PATCH", f"/songs/{id_}", headers, json.dumps({"year": 1950 + turn % 70}))
        for turn, id_ in enumerate(IDS)
    ]
    return lambda _: Work(200, requests)


def refused(_: Server) -> Work:
    """Send songs without an artist."""
    return Work(422, [Request("POST", "/songs", body=json.dumps({"name": "Midnight Fit"}))])


KEYED = creating(201, ("Idempotency-Key", f'"{FRESH}"'))
SCENARIOS = {
    "list": Scenario("list, 100 rows", 10, 20, listing, listing),
    "filtered": Scenario("filtered page (1)", 8, 15, listing, filtered),
    "one": Scenario("one row", 3.5, 6, reading, reading),
    "match": Scenario("one row, If-None-Match (2)", 3.5, 7, reading, matching),
    "refused": Scenario("refused, 422", 1, 2, refused, refused),
    "create": Scenario("create", 5, 8, creating(200), creating(201)),
    "keyed": Scenario("create, Idempotency-Key (3)", 1.5, 3, creating(200), KEYED),
    "update": Scenario("update, If-Match (4)", 5, 8, updating(), updating(("If-Match", "*"))),
}
NOTES = f"""\
(1) {FILTERED}, its second page; the tutorial has no filters and answers its plain list.
(2) Songbook answers 304; the tutorial knows no tags and answers 200.
(3) A new key with each request; the tutorial knows none and stores the song as ever.
(4) If-Match: * in place of a tag, so that 32 connections can send ready-made requests; the
    tutorial has no PATCH, its peer has one in the tutorial's idiom, without a precondition.
Ratios are of CPU per request (user + system, children included); medians over the rounds."""
