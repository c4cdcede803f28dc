"""Bad requests, byte for byte, to a real server: each is refused and changes nothing."""

import gzip
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlmodel import SQLModel

from tests.support.databases import empty, spelled
from tests.support.leaks import CANARY, assert_discreet
from tests.support.paths import PROJECT
from tests.support.processes import free_port
from tests.support.raw_http import PATIENCE, Reply, Served, chunked, head, message, read_reply
from tests.support.waiting import PATIENCE as WAIT

pytestmark = pytest.mark.processes

"""A part of bad values that no answer and no log may hold."""

DATA_SEGMENTS_IN = 152
"""Where Linux' tcp_info counts the segments with data that came (include/uapi/linux/tcp.h)."""

LIMIT = 64 * 1024
LEAKS = re.compile(
    r"SELECT|INSERT|UPDATE song|DELETE FROM|\$1|sqlalchemy|asyncpg|pydantic|Traceback|\.py\b|/site-"
    rf"|/tmp/|site-packages|Error\(|{CANARY}"
)

SONG = b'{"name":"canary","artist":"b","year":1}'
JSON = "Content-Type: application/json"
IN_CHUNKS = (JSON, "Transfer-Encoding: chunked")
HUGE = (JSON, "Content-Length: 104857600")


class Case(NamedTuple):
    """A request as it is written to the socket, and the statuses that may answer it."""

    name: str
    request: bytes
    statuses: set[int]
    bad: str | None = None


def song(**fields: Any) -> str:
    """Return the body of a song with some fields of another value."""
    return json.dumps({"name": CANARY, "artist": "b", "year": 1} | fields)


def targets() -> Iterator[Case]:
    """Give paths and methods (2.2)."""
    ids = [
        "abc", "1.0", "1e3", "0x10", "1_000", "-1", "%2B1", "1;v=1", "1%20", "%201", "1%0A", "1%00",
        "%ZZ", "%C0%AF", "%ED%A0%80", "%EF%BC%91", "%D9%A1", "%F0%9F%98%80", "..%3B", "%22", "'",
        "1,2", "{id}", "*", "null", "NaN", "$1", "%25", "1%0D%0AX:y",
    ]  # fmt: skip
    paths = [
        "/songs/..%2f..%2fetc%2fpasswd", "/songs/%2e%2e/users", "/songs/....//", "//songs",
        "/songs/1//", "/songs//", "/songs//1", "/songs/1/2", "/SONGS", "/songs/../songs",
        "/./songs", "//", "///", "/songs%00", "/%", "/songs/%2e%2e%2f%2e%2e", "/songs.json",
        "/docs/assets/../docs", "/docs/assets/%2e%2e/__init__.py", "/docs/assets/..%2f__init__.py",
        "/docs/assets", "/favicon.png",
    ]  # fmt: skip
    methods = [
        "DELETE /songs", "PUT /songs", "PATCH /songs", "POST /songs/1", "TRACE /songs",
        "TRACE /songs/1", "PROPFIND /songs", "PURGE /songs/1", "POST /ping", "DELETE /openapi.json",
    ]  # fmt: skip
    for given in ids:
        yield Case(f"31 {given}", head("GET", f"/songs/{given}"), {422})
    for given in ("0", "00", f"{2**31}", f"{2**63 - 1}", f"{2**63}", "9" * 5000):
        yield Case(f"32 {given[:20]}", head("GET", f"/songs/{given}"), {404})
    for given in paths:
        yield Case(f"34 {given}", head("GET", given), {404, 422})
    for given in methods:
        method, path = given.split()
        yield Case(f"38 {given}", message(method, path, SONG), {405})
    yield Case("40 a body where none is read", message("GET", "/songs/1", '{"a":1}'), {200})
    yield Case("40 a body that is none", message("GET", "/songs/1", "{"), {200})
    yield Case("41 what is not there", head("DELETE", "/songs/2"), {404})


def queries() -> Iterator[Case]:
    """Give query strings of a list (2.3)."""
    limits = [
        "-1", "0", "1001", "1000000000", f"{2**31}", f"{2**63}", "1e3", "1.5", "NaN", "true", "%20",
        "", "1,2", "%2B5", "+5", "5+", "1_0", "%D9%A3", "%EF%BC%91", "0x5", "null", "%00", "5%00",
        "9" * 5000, CANARY,
    ]  # fmt: skip
    unknown = [
        "limti=5", "offset=1", "page=2", "Limit=5", "limit%20=5", "=5", "&=&", "version=1",
        "year_contains=1", "name_gt=a", "id__gt=1", "__class__=x", "name[]=a", "a[b][c]=1",
        "limit=1&limit=2", "sort=id&sort=id", "q=a&q=b", "count=exact&count=exact", "count=1",
        "count=", "year_gt=1&year_gt=2", CANARY * 200,
    ]  # fmt: skip
    sorts = [
        "password_hash", "name;drop%20table", "-", "", ",", "name,", "--name", "-version",
        "__class__", "Name", "name%20desc", "name,name", "name,-name", "name," * 1000, "1", "*",
        "name%00", CANARY,
    ]  # fmt: skip
    numbers = ["abc", "1.0", "1e3", "1_0", "%201", "true", "9" * 5000, f"{10**20}", f"{-(10**20)}"]
    nuls = ["q=%00", "name=%00", "name=a%00b", "name_contains=%00", "artist=%00&artist=a"]
    words = ["a%20%26", ":*", "'", "!", "a|b", "(", ")", "%5C", "%22", "%25", "_", "", "%20", "<->"]
    no_utf_8 = ["%ff", "%ED%A0%80", "%C0%80", "%", "%Z", "%u0041"]
    cursors = ["", "x", "====", "%00", "AAAAAAAAAAAAW10", "W10", "_" * 5000, "%ff", "null", CANARY]
    lists: list[tuple[str, Iterable[str], set[int]]] = [
        ("44 limit=", limits, {422}),
        ("46 ", unknown, {422}),
        ("49 sort=", sorts, {422}),
        ("50 year=", [*numbers, f"{2**31 + 9}"], {422}),
        ("50 year_gt=", [*numbers, "", f"{-(2**31) - 9}"], {422}),
        ("50 id=", numbers, {422}),
        ("50 ", nuls, {422}),
        ("52 q=", words, {200}),
        ("53 q=", no_utf_8, {200, 400}),
        ("53 name=", no_utf_8, {200, 400}),
        ("53 after=", cursors, {400}),
    ]
    for name, given, statuses in lists:
        start = name.partition(" ")[2]
        for value in given:
            request = head("GET", f"/songs?{start}{value}")
            yield Case(f"{name}{value[:30]}", request, statuses, value if "=" in start else None)
    for name, query, statuses in (
        ("5,000 parameters", "&".join(f"a{number}=1" for number in range(5000)), {422}),
        ("a name of 10 KB", "a" * 10_000 + "=1", {422}),
        ("60 KB of &", "&" * 60_000, {200, 422}),
        ("101 values", "&".join(f"year={number}" for number in range(1, 102)), {422}),
    ):
        yield Case(f"55 {name}", head("GET", f"/songs?{query}"), statuses)


def media() -> Iterator[Case]:
    """Give content types and encodings of a body (2.4)."""
    other = [
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "text/json", "application/octet-stream", "application/jsonp", "application/json5",
        "application/*", "*/*", "json", "application/json; charset=utf-16",
        "application/json; charset=latin-1", "application/json; charset=",
        "application/json, text/plain", "application/json; q=1", "application/merge-patch+json", "",
        ";", "application/json;charset=utf-8;charset=utf-16", "application/vnd.api+json",
        f"text/{CANARY}",
    ]  # fmt: skip
    same = ["APPLICATION/JSON", "application/json;", "Application/Json ; Charset=UTF-8"]
    same += ['application/json;charset="utf-8"']
    for kind in other:
        yield Case(f"58 {kind}", message("POST", "/songs", SONG, kind=kind), {415})
    for kind in other[:4]:
        request = message("POST", "/songs", b"\x80\x81\x82\xff", kind=kind)
        yield Case(f"58 {kind}, and bytes", request, {415})
    untyped = head("POST", "/songs", f"Content-Length: {len(SONG)}") + SONG
    yield Case("58 no content type", untyped, {415})
    yield Case("58 nothing at all", head("POST", "/songs"), {415})
    for kind in same:
        yield Case(f"61 {kind}", message("POST", "/songs", SONG, kind=kind), {201})
    packed = gzip.compress(SONG)
    bomb = gzip.compress(b"[" * 10_000_000)
    for coding, content in (("gzip", packed), ("GZIP", packed), ("gzip", bomb), ("br", SONG)):
        request = message("POST", "/songs", content, f"Content-Encoding: {coding}")
        yield Case(f"62 {coding}, {len(content)} bytes", request, {415})
    for coding, status in (("identity, gzip", 415), ("x", 415), ("", 415), ("Identity", 201)):
        request = message("POST", "/songs", SONG, f"Content-Encoding: {coding}")
        yield Case(f"62 {coding}", request, {status})
    for encoding in (
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-8-sig",
        "latin-1",
    ):
        content = '{"name":"\u00e9","artist":"b"}'.encode(encoding)
        yield Case(f"64 {encoding}", message("POST", "/songs", content), {400})


def syntax() -> Iterator[Case]:
    """Give texts that are no JSON, and some that are (2.5)."""
    tokens = [
        "nul", "Null", "NULL", "None", "True", "tru", "undefined", "nan", "+1", "01", "-01", "-",
        "--1", "1.", ".5", "-.5", "1.e1", "1e", "1e+", "1E-", "1e1.5", "0x1F", "0b1", "1_000",
        "1,000", "1 2", "\u0663", "\uff11", "1L", "'a'", '"a', 'a"', '"a""b"', r'"\x41"', r'"\u12"',
        r'"\u12G4"', r'"\U0001F600"', r'"\a"', r'"\0"', r'"\"', '"\n"', '"\t"', '"\0"', '"\x1f"',
        "[1,]", "[,1]", "[1 2]", "[1", "1]", "[1}", "{1:2}", "{a:1}", "{'a':1}", '{"a" 1}',
        '{"a":}', '{"a":1,}', '{,"a":1}', '{"a":1 "b":2}', '{"a","b"}', '{"a":1:2}', "(1)", "<1>",
        "//", "/* */ 1", "# 1", "1 // c", "@", "\\", "\u00a01", "\u20281", "\ufeff1", "\x0b1",
        "\x0c1", "\x01", "1;", "=1", "NaN", "Infinity", "-Infinity", "-NaN", "9" * 4301,
        "-" + "9" * 5000, "[" * 2000 + "]" * 2000,
    ]  # fmt: skip
    texts = [
        b"", b" ", b"\0", b"// c", b"<a/>", b"name=a&artist=b", SONG + SONG, SONG + b"\n" + SONG,
        SONG + b"x", SONG + b"\0", SONG + b",", SONG + b"}", SONG + b"\x1a",
        b"{'name':'a','artist':'b'}", b'{"name":"\xc3","artist":"b"}',
        b'{"name":"\xc0\xaf","artist":"b"}', b'{"name":"\xed\xa0\x80","artist":"b"}',
        b'{"name":"\xf4\x90\x80\x80","artist":"b"}', b'{"name":"\x80"}',
        b'{"name":"a",\xff"artist":"b"}', b"[" * 30_000, b'{"a":' * 10_000,
        b"[" * 10_000 + b"]" * 10_000, b'{"name":"a","name":"a","artist":"b"}',
        b'{"name":"a","n\\u0061me":"a","artist":"b"}',
        b'{"name":"a","artist":"b","year":{"x":1,"x":1}}',
        b"[" * 101 + b"]" * 101,
        b'{"year":' * 101 + b"1" + b"}" * 101,
    ]  # fmt: skip
    numbers = ["1e22", "99999999999999999999", f"{2**31}", f"{-(2**31) - 1}", "9" * 4300, "1e400"]
    large = {
        "lists": b"[" + b",".join([b"[]"] * 21_000) + b"]",
        "depth of arrays": b"[" * 100 + b"]" * 100,
        "depth of objects": b'{"year":' * 100 + b"1" + b"}" * 100,
        "brackets in a text": song(x=r"\"[{" * 1000).encode(),
        "fields": json.dumps({f"{number}": 1 for number in range(5500)}).encode(),
        "key": json.dumps({CANARY * 10_000: 1}).encode(),
        "field": song(x=[[{}]] * 1000).encode(),
        "escapes": b'{"name":"' + rb"\u0041" * 10_000 + b'","artist":"b"}',
    }
    fine = [
        b' \t\r\n{ "name" :\n"a"\t,"artist"\r:"b" } \n',
        rb'{"n\u0061me":"\u0061\/\b\f\n\r\t\"\\","artist":"b"}',
        rb'{"name":"\ud83d\ude00","artist":"\u007f"}',
        b'{"name":"\xef\xbf\xbf","artist":"\xf4\x8f\xbf\xbf"}',
        b'{"artist":"b","name":"a","year":null}', b'{"name":"a","artist":"b","year":1E0}',
        b'{"name":"a","artist":"b","year":10e-1}', b'{"name":"a","artist":"b","year":1.0}',
    ]  # fmt: skip
    for end in range(len(SONG)):
        yield Case(f"67 cut at {end}", message("POST", "/songs", SONG[:end]), {400})
    for place, byte in enumerate(SONG):
        if byte in b'{}:,"':
            content = SONG[:place] + SONG[place + 1 :]
            yield Case(f"67 without byte {place}", message("POST", "/songs", content), {400})
    for token in tokens:
        request = message("POST", "/songs", song(year="@").replace('"@"', token))
        yield Case(f"67 year: {json.dumps(token[:12])}", request, {400})
    for content in texts:
        yield Case(
            f"67 {content[:40]!r}, {len(content)}", message("POST", "/songs", content), {400}
        )
    for number in numbers:
        request = message("POST", "/songs", song(year="@").replace('"@"', number))
        yield Case(f"70 year: {number[:20]}, {len(number)}", request, {422}, number)
    for name, content in large.items():
        yield Case(f"74 {name}", message("POST", "/songs", content), {422})
    for content in fine:
        yield Case(f"67 fine: {content!r}", message("POST", "/songs", content), {201})


def values() -> Iterator[Case]:
    """Give values that no field takes (2.6); more of them are in the tests of all resources."""
    no_name = [
        None, [], {}, True, 1, 1.5, "", " ", "\u3000\n", "a\0b", "\ud800", "a\udfff",
        "\udc00\ud800", "x" * 256, "\u00e9" * 256, "\U0001f600" * 256, [CANARY], {CANARY: CANARY},
        f"{CANARY}\0", CANARY * 100,
    ]  # fmt: skip
    no_year = [
        True, False, [], {}, 0, -1, 10000, 2021.5, "2021.5", "abc", "", " ", "\u0663", "1_000",
        " 1", "1 ", "+1", "0x1", "1e3", "01", 2**31, 2**63, 10**30, f"{2**31}", CANARY, [2021],
        {"$gt": 0}, "null", "2021\0",
    ]  # fmt: skip
    no_key = [
        "\ud800", "a\0", "", "\u00e9", "__proto__", "__class__", "$where", "a/b~c", "x" * 1000,
        "Name", "id", "version", "created_at", "owner_id", "is_superuser", "password_hash",
    ]  # fmt: skip
    for body in ("{}", '{"name":"a"}', '{"artist":"a"}', '{"year":1}'):
        for method, path in (("POST", "/songs"), ("PUT", "/songs/1")):
            yield Case(f"76 {method} {body}", message(method, path, body), {422})
    for method, path in (("POST", "/songs"), ("PATCH", "/songs/1")):
        for number, column, given in ((76, "name", no_name), (79, "year", no_year)):
            for value in given:
                request = message(method, path, song(**{column: value}))
                name = f"{number} {method} {column}: {json.dumps(value)[:16]}"
                yield Case(name, request, {422}, value if isinstance(value, str) else None)
        for key in no_key:
            request = message(method, path, song(**{key: CANARY}))
            yield Case(f"82 {method} {json.dumps(key)[:16]}", request, {422})
        for body in ("null", "1", '"a"', "[]", "true", "[{}]", f'"{CANARY}"'):
            yield Case(f"76 {method} {body}", message(method, path, body), {422})
    yield Case("88 null", message("PATCH", "/songs/1", '{"name":null}'), {422})
    yield Case("89 null", message("PATCH", "/songs/1", '{"year":null}'), {200})


def headers() -> Iterator[Case]:
    """Give headers with a meaning, or none (2.7)."""
    ignored = [
        "If-Modified-Since: garbage", "Range: bytes=0-0", "Range: x", "If-Range: x",
        "traceparent: garbage", "Range: bytes=" + ",".join(f"{at}-{at}" for at in range(1000)),
        "Prefer: return=minimal", "Origin: null", "Origin: https://evil.example",
        "Accept: text/html", "Accept: x", "Accept-Language: \xff",
        "Accept-Encoding: gzip;q=0, *;q=0", "Accept-Encoding: gzip", "X-Forwarded-For: 1.2.3.4, x",
        "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example",
        'Forwarded: host=evil.example;for="', "Authorization: x", "Cookie: \xff=\xff;;;",
        "X-HTTP-Method-Override: DELETE", "X-Original-URL: /evil", "Upgrade: websocket",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade", "TE: trailers",
        "X-Request-ID: <script>", "X-Long: " + "x" * 8000, "If-Match: x", "Expect: x",
    ]  # fmt: skip
    malformed = [
        "x", "", '"a" "b"', '"' + "x" * 30_000, "," * 30_000 + "x", '"a"' + " " * 30_000 + "x",
        '"a",' * 7000 + "x", '"a' * 10_000, "\t" * 30_000, CANARY, "*, *",
    ]  # fmt: skip
    for line in ignored:
        yield Case(f"98 {line[:24]}", head("GET", "/songs/1", line), {200})
    for value in malformed:
        name = f"{value[:20]!r}, {len(value)}"
        request = head("GET", "/songs/1", f"If-None-Match: {value}")
        yield Case(f"97 If-None-Match: {name}", request, {400})
        request = head("DELETE", "/songs/1", f"If-Match: {value}")
        yield Case(f"97 If-Match: {name}", request, {400})
    yield Case("97 any", head("GET", "/songs/1", "If-None-Match: *"), {304})
    many = "If-None-Match: " + ",".join(['"x"'] * 10_000)
    yield Case("97 ten thousand", head("GET", "/songs/1", many), {200})
    preflight = ("Origin: https://evil.example", "Access-Control-Request-Method: DELETE")
    yield Case("107 preflight", head("OPTIONS", "/songs/1", *preflight), {204})


def sizes() -> Iterator[Case]:
    """Give bodies about the limit of the size (2.1, lines 23 and 25)."""
    writes = [("POST", "/songs", 201), ("PUT", "/songs/1", 200), ("PATCH", "/songs/1", 200)]
    for method, path, good in writes:
        for excess, status in ((0, good), (1, 413)):
            content = SONG + b" " * (LIMIT + excess - len(SONG))
            yield Case(f"25 {method} limit + {excess}", message(method, path, content), {status})
            request = head(method, path, *IN_CHUNKS) + chunked(content)
            yield Case(f"25 {method} limit + {excess} in chunks", request, {status})
        yield Case(f"23 {method} 100 MB declared", head(method, path, *HUGE), {413})
    yield Case("25 chunks of a byte", head("POST", "/songs", *IN_CHUNKS) + chunked(SONG, 1), {201})


CASES = [
    case
    for family in (targets, queries, media, syntax, values, headers, sizes)
    for case in family()
]


def frames() -> Iterator[Case]:
    """Give bytes that are no HTTP, or hardly (2.1)."""
    lengths = [
        "-1",
        "+5",
        "0x10",
        "5 5",
        f"{2**64}",
        "5, 5",
        "",
        "5\r\nContent-Length: 6",
        "\xd9\xa5",
    ]
    codings = ["xchunked", "chunked, gzip", "\x0bchunked", "chunked\r\nTransfer-Encoding: gzip"]
    chunks = [
        b"x\r\n",
        b"-1\r\n\r\n",
        b"5 5\r\n12345\r\n",
        b"f" * 18 + b"\r\n",
        b"0x5\r\n12345\r\n",
    ]
    lines = [b"Name : v", b"Na\0me: v", b"Name: v\0v", b"Name: v\rv", b"Na me: v", b": v", b"Name"]
    lines += [b"N\xffame: v", b"A: b\r\n c"]
    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    yield Case("5 length and chunks", head("POST", "/songs", *both) + chunked(SONG), {400})
    for value in lengths:
        request = head("POST", "/songs", f"Content-Length: {value}") + b"12345"
        yield Case(f"7 length {value!r}", request, {400})
    for value in codings:
        request = head("POST", "/songs", f"Transfer-Encoding: {value}") + chunked(SONG)
        yield Case(f"8 coding {value!r}", request, {400, 501})
    for part in chunks:
        yield Case(f"8 chunk {part!r}", head("POST", "/songs", *IN_CHUNKS) + part, {400})
    for line in lines:
        yield Case(f"10 {line!r}", head("GET", "/songs", line), {400})
    yield Case("10 bare LF", b"GET /songs HTTP/1.1\nHost: songbook\n\n", {400})
    yield Case("11 lower case", head("get", "/songs"), {400, 405})
    yield Case("11 no such method", head("FOO", "/songs"), {400, 405})
    yield Case("11 no such version", b"GET /songs HTTP/9.9\r\nHost: songbook\r\n\r\n", {400, 505})
    yield Case("11 TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 200, {400})
    yield Case("13 CONNECT", head("CONNECT", "host:443"), {400, 404, 405})
    yield Case("13 OPTIONS *", head("OPTIONS", "*"), {400, 404, 405})
    yield Case("13 no slash", head("GET", "songs"), {400, 404})
    yield Case("16 a byte in the path", head("GET", b"/s\xf6ngs"), {400, 404})
    yield Case("16 a byte in the query", head("GET", b"/songs?q=\xff"), {400})
    yield Case("17 8 KB", head("GET", "/songs/" + "x" * 8192), {414, 400, 422})
    yield Case("17 70 KB", head("GET", "/songs/" + "x" * 71_680), {414, 400})
    yield Case("17 70 KB of query", head("GET", "/songs?q=" + "x" * 71_680), {414, 400})
    yield Case("17 10 MB", head("GET", "/songs/" + "x" * 10_000_000), {414, 400})


FRAMES = list(frames())


@pytest.fixture(scope="module")
def served(private_url: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start the service as a process; end it, and look into its log."""
    port = free_port()
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=PROJECT,
            env={**os.environ, "DATABASE_URL": spelled(private_url)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Served(port)
        deadline = time.monotonic() + WAIT
        while True:
            with suppress(ConnectionError), server.connect():
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT)
    told = log.read_text()
    assert_discreet(told)
    assert not re.search("Traceback|coroutine", told), told


class Stored:
    """What the database of the server holds: one song, or what has become of it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.one_song = ""
        self.is_known = False

    async def hash(self) -> str:
        """Return a hash of all the rows of all the tables."""
        tables = [f'"{table.name}"' for table in SQLModel.metadata.sorted_tables]
        rows = [
            f"SELECT string_agg(t::text, ',' ORDER BY t::text) AS rows FROM {t} t" for t in tables
        ]
        query = (
            f"SELECT md5(string_agg(coalesce(rows, ''), ';')) FROM ({' UNION ALL '.join(rows)}) x"
        )
        return str(await self.connection.scalar(text(query)))

    async def reset(self) -> None:
        """Leave one song, and nothing else."""
        await empty(self.connection)
        await self.connection.execute(text("INSERT INTO song (name, artist) VALUES ('a', 'b')"))
        self.one_song = await self.hash()

    async def is_unchanged(self) -> bool:
        """Return whether the song is the only row and as it was."""
        self.is_known = await self.hash() == self.one_song
        return self.is_known


@pytest.fixture(scope="module")
async def database(private_url: URL) -> AsyncIterator[Stored]:
    """Give the means to look at what the server has stored."""
    engine = create_async_engine(private_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        yield Stored(connection)


@pytest.fixture(autouse=True)
async def stored(database: Stored) -> Stored:
    """Give a database that holds one song and nothing else."""
    if not database.is_known:
        await database.reset()
    database.is_known = False
    return database


def assert_in_order(reply: Reply) -> None:
    """Assert what holds for every answer of the application."""
    names = [name.lower() for name in reply.headers]
    assert not {"server", "content-encoding", "content-range"} & set(names)
    assert not [name for name in names if name.startswith("access-control")]
    assert "evil" not in str(reply.headers)
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["X-Request-ID"]
    assert reply.headers["Date"]


def assert_refused(reply: Reply, case: Case) -> None:
    """Assert that a failure has the shape of all, and tells neither its input nor the code."""
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert len(reply.body) < 8192
    problem = json.loads(reply.body)
    assert (problem["status"], problem["request_id"]) == (
        reply.status,
        reply.headers["X-Request-ID"],
    )
    told = [problem["detail"], problem["title"], problem["type"]]
    told += [error["detail"] + error["type"] for error in problem.get("errors", [])]
    assert not [line for line in told if LEAKS.search(line)]
    assert not case.bad or len(case.bad) < 4 or case.bad not in "\n".join(told)
    assert all(len(error["pointer"]) <= 200 for error in problem.get("errors", []))
    assert (reply.status == 405) == ("Allow" in reply.headers)
    assert (reply.status == 413) == (reply.headers["Connection"] == "close")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_request_is_answered_for_what_it_is(
    served: Served, stored: Stored, case: Case
) -> None:
    begun = time.monotonic()
    reply = served.ask(case.request)
    took = time.monotonic() - begun

    assert reply.status in case.statuses, reply
    assert took < PATIENCE
    assert_in_order(reply)
    if reply.status >= 400:
        assert_refused(reply, case)
    if reply.status >= 300:
        assert await stored.is_unchanged()
    assert served.ask(head("GET", "/ping")).status == 200


@pytest.mark.parametrize("case", FRAMES, ids=[case.name for case in FRAMES])
async def test_what_is_no_http_is_refused_and_changes_nothing(
    served: Served, stored: Stored, case: Case
) -> None:
    reply = served.ask(case.request)

    assert reply.status in case.statuses, reply
    assert not LEAKS.search(reply.body.decode("latin-1"))
    assert "server" not in reply.headers
    assert await stored.is_unchanged()
    assert served.ask(head("GET", "/ping")).status == 200


async def test_a_large_body_that_waits_for_a_hundred_is_refused_without_one(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("POST", "/songs", *HUGE, "Expect: 100-continue"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


async def test_a_small_body_that_waits_for_a_hundred_gets_it(served: Served) -> None:
    lines = (JSON, f"Content-Length: {len(SONG)}", "Expect: 100-continue")
    with served.connect() as connection:
        connection.sendall(head("POST", "/songs", *lines))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(SONG)
        assert read_reply(connection, "POST").status == 201


async def test_an_endless_body_is_cut_off(served: Served) -> None:
    part = chunked(b" " * 16_384).removesuffix(b"0\r\n\r\n")
    sent = 0
    with served.connect() as connection:
        connection.sendall(head("POST", "/songs", *IN_CHUNKS))
        with suppress(ConnectionError):
            while sent < 100_000_000:
                connection.sendall(part)
                sent += len(part)
        reply = read_reply(connection, "POST")

    assert reply.status == 413
    assert sent < 30_000_000


async def test_a_declared_flood_is_answered_at_once(served: Served) -> None:
    took = []
    for _ in range(5):
        begun = time.monotonic()
        reply = served.ask(head("POST", "/songs", *HUGE))
        took.append(time.monotonic() - begun)
        assert (reply.status, reply.headers["Connection"]) == (413, "close")

    assert min(took) < 1


async def test_a_hundred_requests_in_one_segment_are_answered_in_order(served: Served) -> None:
    names = [f"r-{number}" for number in range(100)]
    requests = [head("GET", "/songs/x", f"X-Request-ID: {name}") for name in names]
    requests[-1] = head("GET", "/songs/x", f"X-Request-ID: {names[-1]}", "Connection: close")
    with served.connect() as connection:
        connection.sendall(b"".join(requests))
        answers = b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    assert re.findall("x-request-id: (.+)\r\n", answers) == names
    assert re.findall(r"HTTP/1.1 (\d+) ", answers) == ["422"] * 100


@pytest.mark.skipif(sys.platform != "linux", reason="counts segments in Linux' tcp_info")
@pytest.mark.parametrize("path", ["/ping", "/nowhere"])
async def test_the_head_and_the_body_of_an_answer_come_in_one_segment(
    served: Served, path: str
) -> None:
    with served.connect() as connection:
        connection.sendall(head("GET", path))
        reply = read_reply(connection)
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_IN + 4)

    assert reply.body
    assert int.from_bytes(info[DATA_SEGMENTS_IN:], sys.byteorder) == 1


async def test_a_request_may_arrive_byte_by_byte(served: Served) -> None:
    request = message("POST", "/songs", SONG)
    with served.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
        reply = read_reply(connection, "POST")

    assert (reply.status, json.loads(reply.body)["id"]) == (201, 2)


async def test_who_stops_sending_is_answered_all_the_same(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("GET", "/songs/1"))
        connection.shutdown(socket.SHUT_WR)
        reply = read_reply(connection)

    assert (reply.status, json.loads(reply.body)["id"]) == (200, 1)


async def test_who_stops_sending_gets_an_answer_that_is_made_at_once(served: Served) -> None:
    for _ in range(50):
        with served.connect() as connection:
            connection.sendall(head("GET", "/ping"))
            connection.shutdown(socket.SHUT_WR)
            assert read_reply(connection).status == 200


async def test_who_hangs_up_amid_a_request_disturbs_nobody(served: Served, stored: Stored) -> None:
    whole = message("POST", "/songs", SONG)
    requests = [head("GET", "/songs"), whole[:-5], whole[:20], b"", head("GET", "/songs/x")]
    for request in requests * 5:
        connection = served.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(request)
        connection.close()

    assert served.ask(head("GET", "/songs/1")).status == 200
    assert await stored.is_unchanged()


async def test_a_refused_body_does_not_become_the_next_request(served: Served) -> None:
    hidden = head("DELETE", "/songs/1")
    with served.connect() as connection:
        connection.sendall(message("POST", "/songs", hidden, kind="text/plain"))
        connection.sendall(head("GET", "/songs/1", "Connection: close"))
        answers = b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    assert re.findall(r"HTTP/1.1 (\d+) ", answers) == ["415", "200"]


async def test_a_path_that_ends_in_a_line_end_is_no_address(served: Served, stored: Stored) -> None:
    requests = [message("POST", "/songs%0A", SONG), *(head(m, "/songs%0A") for m in ("GET", "PUT"))]

    assert [served.ask(request).status for request in requests] == [404, 404, 404]

    assert await stored.is_unchanged()


async def test_a_head_that_grows_without_end_is_refused(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /songs HTTP/1.1\r\nHost: songbook\r\nX-Long: ")
        answered = False
        while not answered:  # what is sent behind an answer could make the kernel drop it
            connection.sendall(b"x" * 1024)
            answered = bool(select.select([connection], [], [], 0.01)[0])
        reply = read_reply(connection)

    assert reply.status == 431
    assert json.loads(reply.body)["type"] == "/problems/head-too-large"


async def test_a_head_too_large_at_once_is_refused(served: Served) -> None:
    headers = [f"X-{number}: {'x' * 1000}" for number in range(70)]

    assert served.ask(head("GET", "/songs", *headers)).status == 431


async def test_what_is_no_request_is_refused_in_the_one_shape(served: Served) -> None:
    reply = served.ask(b"get /songs HTTP/1.1\r\nHost: songbook\r\n\r\n")

    assert reply.status == 400
    assert json.loads(reply.body)["type"] == "/problems/malformed"


async def test_a_word_that_is_asked_for_many_times_is_looked_for_once(
    served: Served,
) -> None:
    took = []
    for _ in range(3):
        asked = time.monotonic()
        reply = served.ask(head("GET", "/songs?q=" + "+".join(["a", "A", "b%C2%B7a"] * 16)))
        took.append(time.monotonic() - asked)
        assert reply.status == 200

    assert min(took) < 2
