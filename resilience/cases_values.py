"""Query strings, texts that are no JSON, and values that no field takes."""

import json
from collections.abc import Iterator
from typing import Any

from abuse_http import head, message
from abuse_service import CANARY
from cases import BODIES, SONG, Case, Sender, each

LIMITS = [
    "-1", "0", "1001", "1000000000", f"{2**31}", f"{2**63}", "1e3", "1.5", "NaN", "true", "%20", "",
    "1,2", "%2B5", "1_0", "%D9%A3", "%EF%BC%91", "0x5", "%00", "9" * 5000, CANARY,
]  # fmt: skip
UNKNOWN = [
    "limti=5", "offset=2147483648", "page=2", "Limit=5", "=5", "version=1", "id__gt=1",
    "__class__=x", "name[]=a", "a[b][c]=1", "limit=1&limit=2", "sort=id&sort=id", "q=a&q=b",
    "count=1", "count=", CANARY * 200,
]  # fmt: skip
SORTS = [
    "password_hash", "hashed_password", "name;drop%20table", "-", "", ",", "--id", "-version", "*",
    "__class__", "id%20desc", "id,id", "id,-id", "id," * 1000, "1", "id%00", CANARY,
]  # fmt: skip
NUMBERS = ["abc", "1e3", "1_0", "true", "9" * 5000, f"{10**20}", f"{-(10**20)}", f"{2**64}"]
WORDS = [
    "a%20%26",
    ":*",
    "'",
    "!",
    "a|b",
    "(",
    "%5C",
    "%22",
    "%25",
    "_",
    "",
    "%20",
    "<->",
    "%3A%3A",
]
UNDECODED = ["%ff", "%ED%A0%80", "%C0%80", "%", "%Z", "%u0041"]
CURSORS = ["", "x", "====", "%00", "AAAAAAAAAAAAW10", "W10", "_" * 5000, "%ff", "null", CANARY]
LISTS = {"/songs": "year", "/cities": "population", "/todos": "id"}

TOKENS = [
    "nul", "Null", "None", "True", "tru", "undefined", "nan", "+1", "01", "-01", "-", "--1", "1.",
    ".5", "-.5", "1.e1", "1e", "1e+", "1e1.5", "0x1F", "0b1", "1_000", "1 2", "\u0663", "\uff11",
    "1L", "'a'", '"a', 'a"', '"a""b"', r'"\x41"', r'"\u12"', r'"\u12G4"', r'"\a"', r'"\0"', r'"\"',
    '"\n"', '"\t"', '"\0"', '"\x1f"', "[1,]", "[,1]", "[1 2]", "[1", "1]", "[1}", "{1:2}", "{a:1}",
    "{'a':1}", '{"a" 1}', '{"a":}', '{"a":1,}', '{,"a":1}', '{"a","b"}', '{"a":1:2}', "(1)", "//",
    "/* */ 1", "# 1", "@", "\\", "\u00a01", "\u20281", "\ufeff1", "\x0b1", "NaN", "Infinity",
    "-Infinity", "9" * 4301, "[" * 2000 + "]" * 2000, '{"a":' * 2000 + "1" + "}" * 2000,
]  # fmt: skip
TEXTS = [
    b"", b" ", b"\0", b"// c", b"<a/>", b"name=a", SONG + SONG, SONG + b"\n" + SONG, SONG + b"x",
    SONG + b"\0", SONG + b",", SONG + b"}", SONG + b"\x1a", b"{'name':'a'}", b'{"name":"\xc3"}',
    b'{"name":"\xc0\xaf"}', b'{"name":"\xed\xa0\x80"}', b'{"name":"\xf4\x90\x80\x80"}', b"\x80",
    b'{"name":"a",\xff"artist":"b"}', b"[" * 30_000, b'{"a":' * 10_000, b"[" * 9999 + b"]" * 9999,
    b'{"name":"a","name":"a","artist":"b"}', b'{"name":"a","n\\u0061me":"a","artist":"b"}',
    b"[" * 101 + b"]" * 101, b'{"year":' * 101 + b"1" + b"}" * 101,
]  # fmt: skip
FINE = [
    b' \t\r\n{ "name" :\n"a"\t,"artist"\r:"b" } \n', rb'{"name":"\ud83d\ude00","artist":"\u007f"}',
    rb'{"n\u0061me":"\u0061\/\b\f\n\r\t\"\\","artist":"b"}',
    b'{"artist":"b","name":"a","year":1E0}',
    b'{"name":"\xef\xbf\xbf","artist":"\xf4\x8f\xbf\xbf"}', b'{"name":"a","artist":"b","year":"7"}',
]  # fmt: skip

NO_TEXTS = [
    None, [], {}, True, 1, 1.5, "", " ", "\u3000\n", "a\0b", "\ud800", "a\udfff", [CANARY],
    {CANARY: CANARY}, f"{CANARY}\0", CANARY * 2000,
]  # fmt: skip
NO_NUMBERS = [
    True, [], {}, -1, 2021.5, "2021.5", "abc", "", " ", "\u0663", "1_000", "+1", "0x1", "1e3", "01",
    2**31, 2**63, 10**30, -(2**31) - 1, 1e22, CANARY, [2021], {"$gt": 0}, "null", "2021\0",
]  # fmt: skip
NO_FIELDS = [
    "\ud800", "a\0", "", "__proto__", "$where", "a/b~c", "x" * 1000, "id", "version", "created_at",
    "deleted_at", "owner_id", "hashed_password", "password_hash", "search",
]  # fmt: skip
NAUGHTY = [
    "x" * 255, "\U0001f600" * 255, "\u0301" * 255, "\u202eabc", "a\u200db", "\ufeffa", "a\u2028b",
    "<script>alert(1)</script>", "${jndi:ldap://x}", "{{7*7}}", "%s%n", "' OR 1=1--", "\\", '"',
    "\x01\x1f\x7f", "\ufffd\uffff", "null", "../../etc/passwd", "=1+1", "\r\nX: y",
]  # fmt: skip
NO_USERS: dict[str, list[Any]] = {
    "username": ["", " ", "a b", "-a", "a/b", "a@b", "\u0430da", "x" * 151, "a\0", None, 1, []],
    "slug": ["", "a b", "-a", "a--b", "x" * 151, "\u00e9", "a\0", None, 1],
    "email": [
        "",
        "a",
        "a@",
        "@b.c",
        "a@b c.d",
        "a\r\nBcc:x@y.z",
        "a@b.c\0",
        "x" * 320 + "@b.c",
        None,
    ],
    "password": ["", "x" * 7, "x" * 129, "x" * 60_000, "aaaaaaa\0a", "\ud800" * 8, None, 1, []],
    "is_superuser": ["yes", 1, None, [], "true\0"],
    "is_active": ["no", 0, None, {}],
}


def queries(_: Sender) -> Iterator[Case]:
    """Give query strings of lists."""
    for path, number in LISTS.items():
        for name, values, statuses in (
            ("limit=", LIMITS, {422}),
            ("", UNKNOWN, {422}),
            ("sort=", SORTS, {422}),
            (f"{number}=", NUMBERS, {422}),
            (f"{number}_gte=", NUMBERS, {422}),
            ("q=", ["%00", "a%00b", "+".join(f"a{number}" for number in range(65))], {422}),
            ("q=", WORDS, {200}),
            ("q=", UNDECODED, {200, 400}),
            ("after=", CURSORS, {400}),
        ):
            pairs = ((value, head("GET", f"{path}?{name}{value}")) for value in values)
            yield from each(f"{path}?{name}", pairs, statuses)
    for name, query, statuses in (
        ("10,000 parameters", "&".join(f"a{n}=1" for n in range(10_000)), {400, 414, 422, 431}),
        ("900 near misses", "&".join(f"name_conta{n}=1" for n in range(900)), {422}),
        ("a name of 10 KB", "a" * 10_000 + "=1", {422}),
        ("60 KB of &", "&" * 60_000, {200, 400, 422}),
        ("101 values", "&".join(f"year={n}" for n in range(1, 102)), {422}),
        ("NUL in a name", "name=%00", {422}),
        ("NUL in a part", "name_contains=a%00", {422}),
        ("a part of 256", "name_contains=" + "a" * 256, {422}),
    ):
        yield Case(f"/songs? {name}", head("GET", f"/songs?{query}"), statuses)


def syntax(sender: Sender) -> Iterator[Case]:
    """Give texts that are no JSON, to all resources; and some that are."""
    for token in TOKENS:
        content = json.dumps(BODIES["/songs"] | {"year": "@"}).replace('"@"', token)
        request = message("POST", "/songs", content)
        yield Case(f"year: {token[:12]!r}, {len(token)}", request, {400})
    for path in BODIES:
        for content in TEXTS:
            name = f"{path} {content[:30]!r}, {len(content)}"
            yield Case(name, sender.write("POST", path, content), {400})
    for end in range(0, len(SONG), 3):
        yield Case(f"cut at {end}", message("POST", "/songs", SONG[:end]), {400})
    for name, content in {
        "lists": b"[" + b",".join([b"[]"] * 21_000) + b"]",
        "depth of 100": b"[" * 100 + b"]" * 100,
        "5,500 fields": json.dumps({f"{number}": 1 for number in range(5500)}).encode(),
        "a field of 60 KB": json.dumps({CANARY * 6000: 1}).encode(),
        "escapes": b'{"name":"' + rb"\u0041" * 10_000 + b'","artist":"b"}',
    }.items():
        yield Case(name, message("POST", "/songs", content), {422})
    for content in FINE:
        yield Case(f"fine: {content[:30]!r}", message("POST", "/songs", content), {201})


def values(sender: Sender) -> Iterator[Case]:
    """Give values that no field takes, to all resources."""
    wrong = {
        "/songs": {"name": NO_TEXTS, "artist": NO_TEXTS, "year": [0, 10_000, *NO_NUMBERS]},
        "/cities": {"name": NO_TEXTS, "population": [None, *NO_NUMBERS]},
        "/todos": {"content": NO_TEXTS},
        "/users": NO_USERS,
    }
    for path, fields in wrong.items():
        for field, given in fields.items():
            for value in given:
                bad = value if isinstance(value, str) and len(value) > 3 else ""
                name = f"{path} {field}: {json.dumps(value)[:20]}"
                request = sender.write("POST", path, BODIES[path] | {field: value})
                yield Case(f"POST {name}", request, {422}, bad=bad)
                request = sender.write("PATCH", f"{path}/1", {field: value})
                yield Case(f"PATCH {name}", request, {422}, bad=bad)
        for field in NO_FIELDS:
            request = sender.write("POST", path, BODIES[path] | {field: CANARY})
            yield Case(f"POST {path} with {field[:12]!r}", request, {422})
        for body in ("null", "1", '"a"', "[]", "true", "[{}]", "{}", f'"{CANARY}"'):
            request = sender.write("POST", path, body)
            yield Case(f"POST {path} {body}", request, {422})


def texts(sender: Sender) -> Iterator[Case]:
    """Give texts that look bad, and are stored."""
    for number, text in enumerate(NAUGHTY):
        for path, field in (("/songs", "name"), ("/cities", "name"), ("/todos", "content")):
            given = text[:254] + str(number % 10)  # cities' names are unique
            request = sender.write("POST", path, BODIES[path] | {field: given})
            yield Case(f"{path} {field}: {text[:12]!r}", request, {201})
    conflicts = {
        "/cities": {"name": "Paris"},
        "/users": {"username": "ADA", "slug": "other", "email": "other@example.org"},
    }
    for path, fields in conflicts.items():
        request = sender.write("POST", path, BODIES[path] | fields)
        yield Case(f"a duplicate in {path}", request, {409})
    yield Case(
        "a duplicate city by PATCH", message("PATCH", "/cities/2", '{"name":"Paris"}'), {409}
    )
    yield Case("null where it may be", message("PATCH", "/songs/1", '{"year":null}'), {200})
    yield Case("no change", message("PATCH", "/songs/1", "{}"), {200})
