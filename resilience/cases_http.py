"""Bytes that are no HTTP, or hardly; methods, paths, headers and media types."""

import gzip
from collections.abc import Iterator

from abuse_http import JSON, chunked, head, message
from abuse_service import CANARY
from cases import LIMIT, SONG, Case, Sender, each

CHUNKED = "Transfer-Encoding: chunked"

LENGTHS = ["-1", "+5", "0x10", "5 5", f"{2**64}", "5, 5", "", "5\r\nContent-Length: 6", "\xd9\xa5"]
CHUNKS = ["x\r\n", "-1\r\n\r\n", "5 5\r\n12345\r\n", "f" * 18 + "\r\n", "0x5\r\n12345\r\n"]
LINES = [
    "Name : v",
    "Na\0me: v",
    "Name: v\0v",
    "Name: v\rv",
    "Na me: v",
    ": v",
    "Name",
    "A: b\r\n c",
]
LINES += ["N\xffame: v", "Content-Type: application/json\r\nContent-Type: text/plain"]
HOSTS = ["a b", "a/b", "a@b", "[::1", "a:b:c", "a:99999999", "a\tb", "<script>", "\xff"]

IDS = [
    "abc", "1.0", "1e3", "0x10", "1_000", "-1", "+1", "%2B1", "1;v=1", "1%20", "%201", "1%0A",
    "1%00", "%ZZ", "%C0%AF", "%ED%A0%80", "%EF%BC%91", "%D9%A1", "%F0%9F%98%80", "%22", "'", "1,2",
    "*", "null", "NaN", "$1", "%25", "1%0D%0AX:y", CANARY,
]  # fmt: skip
PATHS = [
    "/songs/..%2f..%2fetc%2fpasswd", "/songs/%2e%2e/users", "/songs/....//", "//songs",
    "/songs/1//", "/songs//1", "/songs/1/2", "/SONGS", "/songs/../songs", "//", "/songs%00",
    "/%", "/songs%2F1",
    "/songs%2f", "/docs/assets/..%2f__init__.py", "/.env", "/.git/config", "/favicon.png",
]  # fmt: skip
METHODS = [
    "DELETE /songs", "PUT /songs", "PATCH /songs", "POST /songs/1", "TRACE /songs",
    "TRACE /songs/1", "PROPFIND /songs", "PURGE /songs/1", "POST /ping", "DELETE /openapi.json",
    "PUT /cities/biggest", "DELETE /users", "POST /todos/1", "GET /todos/1/restore",
    "GET /api/auth/token",
]  # fmt: skip
KINDS = [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "application/jsonp", "application/*", "*/*", "json", "application/json; charset=utf-16",
    "application/json; charset=latin-1", "application/json, text/plain", "application/json; q=1",
    "application/merge-patch+json", "", ";", "application/json;charset=utf-8;charset=utf-16",
]  # fmt: skip
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig", "latin-1"]

IGNORED = [
    "If-Modified-Since: garbage", "Range: bytes=0-0", "Range: x", "traceparent: garbage",
    "Range: bytes=" + ",".join(f"{at}-{at}" for at in range(1000)), "Prefer: return=minimal",
    "Origin: null", "Origin: https://evil.example", "Accept: x", "Accept-Language: \xff",
    "Accept-Encoding: gzip;q=0, *;q=0", "X-Forwarded-For: 1.2.3.4, x", "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example", 'Forwarded: host=evil.example;for="', "Authorization: x",
    "Cookie: \xff=\xff;;;", "X-HTTP-Method-Override: DELETE", "Upgrade: websocket", "TE: trailers",
    "X-Request-ID: <script>", "X-Long: " + "x" * 8000, "If-Match: x",
]  # fmt: skip
TAGS = ["x", "", '"a" "b"', '"' + "x" * 30_000, "," * 30_000 + "x", '"a' * 10_000, CANARY, "*, *"]
KEYS = ["", " ", '"', '""', "a b", "\xff", "x" * 256, '"a', 'a"', '"\\x"', '"a", "b"', "a\tb"]


def framing(_: Sender) -> Iterator[Case]:
    """Give framing that proxies and servers would read differently (RFC 9112)."""
    body = chunked(SONG)
    post = ("POST", "/songs", JSON)
    both = head(*post, "Content-Length: 5", CHUNKED) + body
    yield Case("length and chunks", both, {400}, "S")
    pairs = ((value, head(*post, f"Content-Length: {value}") + b"12345") for value in LENGTHS)
    yield from each("Content-Length:", pairs, {400}, "S")
    for coding, statuses in (
        ("xchunked", {501}), ("gzip", {501}), ("identity", {501}), ("gzip, chunked", {501}),
        ("chunked, gzip", {400, 501}), ("\x0bchunked", {400, 501}),
        ("chunked, chunked", {400, 501}), ("chunked\r\nTransfer-Encoding: gzip", {400, 501}),
    ):  # fmt: skip
        request = head(*post, f"Transfer-Encoding: {coding}") + body
        yield Case(f"Transfer-Encoding: {coding!r}", request, statuses, "S")
    pairs = ((value, head(*post, CHUNKED) + value.encode()) for value in CHUNKS)
    yield from each("chunk", pairs, {400}, "S")
    pairs = ((line, head("GET", "/songs", line)) for line in LINES)
    yield from each("line", pairs, {400}, "S")
    smuggled = head(*post, f"Content-Length: {len(SONG)}", "Content-Length: 1") + SONG
    yield Case("two lengths", smuggled, {400}, "S")


def request_lines(_: Sender) -> Iterator[Case]:
    """Give hosts, versions, methods and targets of no use."""
    songs = b"GET /songs HTTP/1.1\r\n"
    yield Case("no Host", songs + b"\r\n", {400}, "S")
    yield Case("two Hosts", head("GET", "/songs", "Host: evil.example"), {400}, "S")
    yield Case("the same Host twice", head("GET", "/songs", "Host: songbook"), {400}, "S")
    for host in HOSTS:
        request = songs + b"Host: " + host.encode("latin-1") + b"\r\n\r\n"
        yield Case(f"Host: {host!r}", request, {400}, "S")
    yield Case("bare LF", b"GET /songs HTTP/1.1\nHost: songbook\n\n", {400}, "S")
    yield Case("HTTP/2.0", b"GET /songs HTTP/2.0\r\nHost: songbook\r\n\r\n", {505}, "S")
    yield Case("HTTP/9.9", b"GET /songs HTTP/9.9\r\nHost: songbook\r\n\r\n", {400, 505}, "S")
    yield Case("HTTP/0.9", b"GET /songs\r\n", {0, 400, 505}, "S")
    yield Case("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {0, 400, 405, 505}, "S")
    yield Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 200, {0, 400}, "S")
    yield Case("zeros", b"\0" * 1000, {0, 400}, "S")
    for method in ("get", "FOO", "GET\t", "\x00", "G\xc9T"):
        yield Case(f"method {method!r}", head(method, "/songs"), {400, 405}, "S")
    for method, target in (("CONNECT", "host:443"), ("OPTIONS", "*"), ("GET", "songs")):
        yield Case(f"{method} {target}", head(method, target), {400, 404, 405}, "S")
    absolute = head("GET", "http://evil.example/songs")
    yield Case("another site", absolute, {200, 400, 404}, "S")
    yield Case("a byte in the path", head("GET", b"/s\xf6ngs"), {400, 404}, "S")
    yield Case("a byte in the query", head("GET", b"/songs?q=\xff"), {400}, "S")
    for size, statuses in ((8192, {200, 400, 422}), (71_680, {400, 414}), (10**7, {400, 414})):
        for start in ("/songs/", "/songs?q="):
            request = head("GET", start + "9x" * (size // 2))
            yield Case(f"{start}, {size:,} bytes", request, statuses, "S")
    many = [f"X-{number}: {'x' * 1000}" for number in range(70)]
    yield Case("a head of 70 KB", head("GET", "/songs", *many), {431}, "S")


def targets(sender: Sender) -> Iterator[Case]:
    """Give paths and methods."""
    for resource in ("songs", "cities", "todos"):
        pairs = ((value, head("GET", f"/{resource}/{value}")) for value in IDS)
        yield from each(f"GET /{resource}/", pairs, {422})
    for value in ("0", "00", f"{2**31}", f"{2**63 - 1}", f"{2**63}", "9" * 5000):
        yield Case(f"GET /songs/{value[:20]}", head("GET", f"/songs/{value}"), {404})
        request = head("GET", f"/users/{value}", sender.credentials)
        yield Case(f"GET /users/{value[:20]}", request, {404})
    yield from each("GET", ((path, head("GET", path)) for path in PATHS), {404, 422})
    for line in METHODS:
        method, path = line.split()
        yield Case(line, head(method, path, sender.credentials), {405})
    for method in ("GET", "HEAD", "OPTIONS"):
        yield Case(f"{method} /nowhere", head(method, "/nowhere"), {404})
    for path in ("/songs/", "/songs/1/"):
        yield Case(f"GET {path}", head("GET", path), {200})
    for path in ("/songs", "/songs/1", "/cities", "/todos", "/users"):
        yield Case(f"OPTIONS {path}", head("OPTIONS", path), {204})
    for body in ('{"a":1}', "{", "\0"):
        yield Case(f"GET with the body {body!r}", message("GET", "/songs/1", body), {200})


def media(_: Sender) -> Iterator[Case]:
    """Give content types, codings and encodings of a body."""
    for kind in KINDS:
        for path in ("/songs", "/todos"):
            yield Case(f"{path} {kind!r}", message("POST", path, SONG, kind=kind), {415})
    for kind in KINDS[:3]:
        request = message("POST", "/songs", b"\x80\x81\x82\xff", kind=kind)
        yield Case(f"{kind!r} and bytes", request, {415})
    untyped = head("POST", "/songs", f"Content-Length: {len(SONG)}") + SONG
    yield Case("no content type", untyped, {415})
    yield Case("no body, no content type", head("POST", "/songs"), {415})
    packed, bomb = gzip.compress(SONG), gzip.compress(b"[" * 30_000_000)
    for coding, content in (
        ("gzip", packed), ("GZIP", packed), ("gzip", bomb), ("br", SONG), ("x", SONG), ("", SONG),
        ("identity, gzip", SONG), ("deflate", SONG), ("zstd", SONG),
    ):  # fmt: skip
        request = message("POST", "/songs", content, f"Content-Encoding: {coding}")
        yield Case(f"Content-Encoding: {coding!r}, {len(content)} bytes", request, {415})
    for encoding in ENCODINGS:
        content = '{"name":"\u00e9","artist":"b"}'.encode(encoding)
        yield Case(encoding, message("POST", "/songs", content), {400})
    for kind in ("APPLICATION/JSON", "application/json;", "Application/Json ; Charset=UTF-8"):
        yield Case(f"fine: {kind}", message("POST", "/songs", SONG, kind=kind), {201})


def headers(sender: Sender) -> Iterator[Case]:
    """Give headers that mean something, or nothing."""
    for line in IGNORED:
        yield Case(f"ignored {line[:24]!r}", head("GET", "/songs/1", line), {200})
    for value in TAGS:
        what = f"{value[:12]!r}, {len(value)}"
        request = head("GET", "/songs/1", f"If-None-Match: {value}")
        yield Case(f"If-None-Match: {what}", request, {400})
        for path in ("/songs/1", "/cities/1", "/todos/1"):
            request = head("DELETE", path, f"If-Match: {value}")
            yield Case(f"DELETE {path} If-Match: {what}", request, {400})
    stale = 'If-Match: "1-1-stale"'
    yield Case("a stale tag", head("DELETE", "/songs/1", stale), {412})
    weak = message("PATCH", "/songs/1", "{}", 'If-Match: W/"1"')
    yield Case("a weak tag", weak, {412})
    yield Case("any tag", head("GET", "/songs/1", "If-None-Match: *"), {304})
    for key in KEYS:
        request = message("POST", "/songs", SONG, f"Idempotency-Key: {key}")
        yield Case(f"Idempotency-Key: {key[:20]!r}", request, {400})
    request = message("POST", "/songs", SONG, "Idempotency-Key: a", "Idempotency-Key: b")
    yield Case("two keys", request, {400})
    lines = ("Origin: https://evil.example", "Access-Control-Request-Method: DELETE")
    yield Case("a preflight", head("OPTIONS", "/songs/1", *lines), {204})
    for token in ("", "x", "a.b.c", "x" * 30_000, sender.token[:-2], sender.token + "x", "\xff"):
        request = head("GET", "/users/1", f"Authorization: Bearer {token}")
        yield Case(f"a token of {len(token)}", request, {401})
    for line in ("Basic YTpi", "bearer", "Digest x", f"Token {sender.token}"):
        request = head("GET", "/users/1", f"Authorization: {line}")
        yield Case(f"Authorization: {line[:10]}", request, {401})


def sizes(_: Sender) -> Iterator[Case]:
    """Give bodies about the limit of 64 KiB."""
    for method, path, good in (("POST", "/songs", 201), ("PUT", "/songs/1", 200)):
        for excess, status in ((0, good), (1, 413)):
            content = SONG + b" " * (LIMIT + excess - len(SONG))
            name = f"{method} of the limit + {excess}"
            yield Case(name, message(method, path, content), {status})
            request = head(method, path, JSON, CHUNKED) + chunked(content)
            yield Case(f"{name}, in chunks", request, {status})
        request = head(method, path, JSON, "Content-Length: 104857600")
        yield Case(f"{method} of 100 MB, declared", request, {413})
        yield Case(f"{method} of 10 MB", message(method, path, b" " * 10**7), {413})
    request = head("POST", "/songs", JSON, CHUNKED) + chunked(SONG, 1)
    yield Case("chunks of a byte", request, {201})
