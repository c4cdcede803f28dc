"""What is measured: what both contenders are asked, with the floor and the aim of each."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from contenders import SONGBOOK, TUTORIAL
from database import SONGS
from load import FRESH, Request
from servers import Server

IDS = [1 + turn * 7919 % SONGS for turn in range(1000)]
FILTERED = "/songs?year_gte=1990&artist_contains=a&sort=-year,name"


class Work(NamedTuple):
    """The requests of one measurement, sent in turn, and the statuses that each may get."""

    statuses: tuple[int, ...]
    requests: list[Request]


Ask = Callable[[Server], Work]


class Scenario(NamedTuple):
    """One line of the table; floor, aim and what is held are ratios of CPU per request.

    Three quarters of what was measured when it was last made faster are held: beneath, something
    became slower.

    `songbook` is what Songbook alone is asked; where the others have nothing of the kind
    (`compared` is false), it is compared with the tutorial's nearest.
    """

    title: str
    floor: float
    aim: float
    held: float
    ask: Ask
    songbook: Ask | None = None
    compared: bool = True

    def work(self, server: Server) -> Work | None:
        """Return what a server is asked, None if it takes no part."""
        if server.name == SONGBOOK.name:
            return (self.songbook or self.ask)(server)
        return self.ask(server) if self.compared or server.name == TUTORIAL.name else None


def listing(_: Server) -> Work:
    """Ask for the first hundred songs."""
    return Work((200,), [Request("GET", "/songs")])


def differing(_: Server) -> Work:
    """Ask for first pages of which no two that come at the same time are of one length."""
    return Work((200,), [Request("GET", f"/songs?limit={50 + n * 37 % 101}") for n in range(101)])


def filtered(server: Server) -> Work:
    """Ask for the page that the first filtered page links to."""
    link = server.ask(Request("GET", FILTERED)).headers.get("link", "")
    following = re.search(r'<([^>]+)>; *rel="?next"?', link)
    if not following:
        raise SystemExit(f"{server.name}: no next page in the Link of {FILTERED}: {link!r}")
    return Work((200,), [Request("GET", following[1])])


def reading(_: Server) -> Work:
    """Ask for single songs."""
    return Work((200,), [Request("GET", f"/songs/{id_}") for id_ in IDS])


def matching(server: Server) -> Work:
    """Ask for single songs whose current tag the client already has."""
    requests = []
    for id_ in IDS[:100]:
        song = Request("GET", f"/songs/{id_}")
        tag = server.ask(song).headers.get("etag", "")
        requests.append(song._replace(headers=(("If-None-Match", tag),)))
    return Work((304,), requests)


def creating(*headers: tuple[str, str]) -> Ask:
    """Store songs; the tutorial answers 200, all others 201."""
    bodies = [{"name": f"Added {n}", "artist": f"Mogwai {n}", "year": 2021} for n in range(1000)]
    requests = [Request("POST", "/songs", headers, json.dumps(body)) for body in bodies]
    return lambda _: Work((200, 201), requests)


def updating(*headers: tuple[str, str]) -> Ask:
    """Change the year of single songs."""
    requests = [
        Request("PATCH", f"/songs/{id_}", headers, json.dumps({"year": 1950 + turn % 70}))
        for turn, id_ in enumerate(IDS)
    ]
    return lambda _: Work((200,), requests)


def refused(_: Server) -> Work:
    """Send songs without an artist."""
    body = json.dumps({"name": "Midnight Fit"})
    return Work((400, 422), [Request("POST", "/songs", body=body)])


def missing(_: Server) -> Work:
    """Ask for a song that is not there."""
    return Work((404,), [Request("GET", "/songs/2000000000")])


def unauthenticated(_: Server) -> Work:
    """Ask who one is without saying it."""
    return Work((401,), [Request("GET", "/users/me")])


KEYED = creating(("Idempotency-Key", f'"{FRESH}"'))
ANY = updating(("If-Match", "*"))
SCENARIOS = {
    "list": Scenario("list, 100 rows", 10, 20, 28, listing),
    "differing": Scenario("lists that differ (6)", 10, 20, 18, listing, differing, compared=False),
    "filtered": Scenario("filtered page (1)", 8, 15, 14, listing, filtered, compared=False),
    "one": Scenario("one row", 3.5, 6, 7.5, reading),
    "match": Scenario("one row, If-None-Match (2)", 3.5, 7, 6.7, reading, matching, compared=False),
    "create": Scenario("create", 5, 8, 7.5, creating()),
    "keyed": Scenario(
        "create, Idempotency-Key (3)", 1.5, 3, 2.8, creating(), KEYED, compared=False
    ),
    "update": Scenario("update, If-Match (4)", 5, 8, 7.4, updating(), ANY),
    "refused": Scenario("refused, 422 or 400", 1, 2, 3.1, refused),
    "missing": Scenario("not there, 404", 1, 2, 6, missing),
    "unauthenticated": Scenario(
        "no token, 401 (5)", 1, 2, 8.8, missing, unauthenticated, compared=False
    ),
}
NOTES = f"""\
(1) {FILTERED}, its second page; the tutorial has no filters and answers its plain list.
(2) Songbook answers 304; the tutorial knows no tags and answers 200.
(3) A new key with each request; the tutorial knows none and stores the song as ever.
(4) If-Match: * in place of a tag, so that 32 connections can send ready-made requests; the
    others have a PATCH without a precondition, and the tutorial, which has none, one in its idiom.
(5) Compared with the tutorial's 404: it knows no users.
(6) /songs?limit=50 to 150, so that no two of them can share a statement; the tutorial answers its
    list of 100.
Ratios are of CPU per request (user + system, children included); medians over the rounds."""
