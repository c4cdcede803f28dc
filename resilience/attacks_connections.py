"""Attacks with connections and bytes, for which no database is needed."""

import json

from abuse_http import CHUNK, JSON, head, message
from attacks import PATIENT, Attack, Target, crowd

POST = ("POST", "/songs", JSON)
IN_CHUNKS = head(*POST, "Transfer-Encoding: chunked")
ENDLESS = {
    "a header": (b"GET /songs HTTP/1.1\r\nHost: songbook\r\nX-Long: ", b"x" * CHUNK),
    "headers": (b"GET /songs HTTP/1.1\r\nHost: songbook\r\n", b"X-Many: x\r\n" * 6000),
    "a target": (b"GET /", b"x" * CHUNK),
    "empty lines": (b"", b"\r\n" * (CHUNK // 2)),
    "trailers": (IN_CHUNKS + b"2\r\n{}\r\n0\r\n", b"X-Many: x\r\n" * 6000),
    "a trailer": (IN_CHUNKS + b"2\r\n{}\r\n0\r\nX-Long: ", b"x" * CHUNK),
    "a chunk's extension": (IN_CHUNKS + b"2;", b"x" * CHUNK),
    "a chunk's size": (IN_CHUNKS, b"0" * CHUNK),
}
FRAMING = 8  # MB: what a connection takes of bytes that are no body, with what sockets buffer
BODY = 24  # MB: what a connection takes behind the answer: 16, and what sockets buffer
SILENT, SOCKETS = 100, 1500


async def framing(target: Target) -> None:
    """Send heads, trailers and chunk framing without end."""
    floods = (target.flood(start, piece) for start, piece in ENDLESS.values())
    await crowd(floods, target.seconds)
    most = target.achieved["MB on a connection"]
    otherwise = f"a connection took {most} MB that were no body; at most {FRAMING} are allowed"
    target.check(holds=most <= FRAMING, otherwise=otherwise)


async def silence(target: Target) -> None:
    """Say nothing, begin a head or a body, leave a response unread."""
    start = b"GET /songs/1 HTTP/1.1\r\nHost: songbook\r\nX-Slow: "
    body = head(*POST, "Content-Length: 60000")
    pages = head("GET", "/songs?limit=1000") * 2
    clients = [
        (b"", b"", "silent connections"),
        (start, b"x", "heads"),
        (body, b" ", "bodies"),
        (pages, b"", "unread responses"),
    ]
    holding = (
        target.hold(start, drip, 1, name) for start, drip, name in clients for _ in range(SILENT)
    )
    await crowd(holding, target.seconds)
    if target.seconds < PATIENT:
        return  # a head has 15 s
    for name in ("silent connections", "heads"):
        again = target.achieved[f"{name} begun"] - SILENT
        otherwise = f"of {SILENT} {name} {max(again, 0)} were closed within {target.seconds:.0f} s"
        target.check(holds=again >= SILENT, otherwise=otherwise)


async def sockets(target: Target) -> None:
    """Open more connections than a process may have open, and say nothing."""
    holding = (target.hold(b"", b"", 0.5, "sockets") for _ in range(SOCKETS))
    await crowd(holding, target.seconds)


async def parsing(target: Target) -> None:
    """Send what takes long to read: 900 names that are nearly right, and deep or wide JSON."""
    near = "&".join(f"artist_contain{number}=1" for number in range(900))
    deep = json.dumps({"name": "a", "artist": "b", "year": 1}).replace("1", "[" * 890 + "]" * 890)
    requests = (
        head("GET", f"/songs?{near}"),
        head("GET", "/songs?" + "&".join(f"a{number}=1" for number in range(5000))),
        message("POST", "/songs", deep),
        message("POST", "/songs", "[" + ",".join(["[]"] * 21_000) + "]"),
        message("POST", "/songs", json.dumps({f"names{number}": 1 for number in range(5000)})),
    )
    await crowd((target.repeat(*requests) for _ in range(8)), target.seconds)


async def bodies(target: Target) -> None:
    """Send 200 MB of body to requests whose answer does not need it."""
    length = "Content-Length: 200000000"
    starts = [
        head("POST", "/nowhere", JSON, length),
        head("POST", "/ping", JSON, length),
        head(*POST, length),
        head("POST", "/songs", "Content-Type: text/plain", length),
        head("GET", "/songs/1", length),
        head("POST", "/users", JSON, length),
    ]
    floods = (target.flood(start, b" " * CHUNK) for start in starts)
    await crowd(floods, target.seconds)
    most = target.achieved["MB on a connection"]
    otherwise = f"a connection took {most} MB behind its answer; at most {BODY} are allowed"
    target.check(holds=most <= BODY, otherwise=otherwise)


ATTACKS = [
    Attack("framing", "endless heads, trailers and chunk framing", framing),
    Attack("silence", f"{4 * SILENT} connections that stall", silence),
    Attack("sockets", f"{SOCKETS:,} silent connections", sockets),
    Attack("parsing", "long query strings, deep and wide JSON", parsing),
    Attack("bodies", "200 MB of body behind an answer", bodies),
]
