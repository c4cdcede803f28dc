"""Bearer tokens: what is issued, what is believed, and that everything else is refused alike.

The tokens here are put together by hand, so that they may be wrong in ways that no library allows.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from songbook.auth.tokens import decode, encode, parse_bearer
from songbook.errors.problems import Unauthenticated

SECRET = "a secret of thirty-two bytes, or more"
EMAIL = "ada@example.com"
HEADER = {"alg": "HS256", "typ": "JWT"}
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def decoded(part: str) -> str:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


def short(value: Any) -> str:
    """Return a name for a case of any size."""
    return f"{ascii(value)[:30]} {len(ascii(value))}"


def text_of(part: Any) -> str:
    return part if isinstance(part, str) else json.dumps(part)


def signed(claims: Any, header: Any = HEADER, secret: str = SECRET, alg: str = "HS256") -> str:
    """Return a token of these parts, each a value or JSON text as it stands (RFC 7515)."""
    parts = [encoded(text_of(part).encode(errors="surrogatepass")) for part in (header, claims)]
    message = ".".join(parts)
    mac = hmac.new(secret.encode(), message.encode(), HASHES[alg]).digest()
    return f"{message}.{encoded(mac)}"


def claims(**given: Any) -> dict[str, Any]:
    """Return claims that are in order, but for those given; those that are `...` are left out."""
    now = time.time()
    found = {"sub": EMAIL, "permissions": [], "iat": now, "exp": int(now) + 600, **given}
    return {name: value for name, value in found.items() if value is not ...}


def raw(**given: str) -> str:
    """Return claims as JSON text, those given as they stand."""
    parts = {name: json.dumps(value) for name, value in claims().items()} | given
    return "{" + ",".join(f'"{name}":{value}' for name, value in parts.items()) + "}"


def assert_refused(call: Callable[[], object], detail: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        call()
    assert refused.value.detail == detail
    assert refused.value.status == 401
    assert refused.value.headers == {"WWW-Authenticate": "Bearer"}


def assert_not_believed(token: str) -> None:
    assert_refused(lambda: decode(SECRET, token), "Could not validate credentials")


def told(token: str) -> tuple[str, tuple[str, ...], float | None, bool]:
    found = decode(SECRET, token)
    return found.email, found.permissions, found.issued_at, found.has_fractions


def test_what_is_issued_is_believed() -> None:
    now = time.time()

    assert told(encode(SECRET, EMAIL, now, 30)) == (EMAIL, (), now, now % 1 != 0)


def test_a_token_says_no_more_than_it_has_to() -> None:
    token = encode(SECRET, EMAIL, 1_700_000_000.25, 30)

    header, payload, _ = token.split(".")
    assert json.loads(decoded(header)) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(decoded(payload)) == {
        "sub": EMAIL,
        "permissions": [],
        "iat": 1_700_000_000.25,
        "exp": 1_700_001_800,
    }
    assert token == signed(decoded(payload), decoded(header))


@pytest.mark.parametrize(
    "secret", ["s", "short", "é" * 15, "x" * 32, "x" * 64, "x" * 65, "x" * 500]
)
def test_a_secret_of_any_length_signs_as_the_standard_says(secret: str) -> None:
    token = encode(secret, EMAIL, time.time(), 30)
    header, payload, _ = token.split(".")

    assert token == signed(decoded(payload), decoded(header), secret)
    assert decode(secret, token).email == EMAIL
    assert_refused(lambda: decode(f"{secret}x", token), "Could not validate credentials")


def test_an_empty_secret_is_no_secret() -> None:
    for call in (lambda: encode("", EMAIL, 0, 30), lambda: decode("", "a.b.c")):
        with pytest.raises(ValueError, match="secret"):
            call()


def test_a_token_of_others_is_believed_if_it_has_what_it_needs() -> None:
    now = int(time.time())

    assert told(signed(claims(iat=...))) == (EMAIL, (), None, False)
    assert told(signed(claims(iat=now))) == (EMAIL, (), now, False)
    assert decode(SECRET, signed(raw(iat=f"{now}.0"))).has_fractions is False
    assert decode(SECRET, signed(raw(iat=f"{now - 1}.5"))).has_fractions is True
    assert decode(SECRET, signed(claims(permissions=["a", "b"]))).permissions == ("a", "b")
    assert (
        decode(SECRET, signed(claims(exp=now + 60.5, name="Ada", more={"a": [1]}))).email == EMAIL
    )


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT"])
@pytest.mark.parametrize("claim", ["access", "Bearer", "BEARER"])
def test_the_types_of_access_tokens_are_known_in_any_case(typ: str, claim: str) -> None:
    assert decode(SECRET, signed(claims(typ=claim), {"alg": "HS256", "typ": typ})).email == EMAIL
    assert decode(SECRET, signed(claims(), {"alg": "HS256"})).email == EMAIL


def test_a_clock_may_be_wrong_by_half_a_minute() -> None:
    now = time.time()

    for good in (claims(exp=now - 25), claims(iat=now + 25), claims(nbf=now + 25)):
        assert decode(SECRET, signed(good)).are_current(now)
    for bad in (claims(exp=now - 35), claims(iat=now + 35), claims(nbf=now + 35)):
        assert not decode(SECRET, signed(bad)).are_current(now)
    assert not decode(SECRET, encode(SECRET, EMAIL, now - 3600, 30)).are_current(now)


@pytest.mark.parametrize("name", ["sub", "permissions", "exp"])
def test_a_token_without_what_it_needs_is_not_believed(name: str) -> None:
    assert_not_believed(signed(claims(**{name: ...})))
    assert_not_believed(signed(claims(**{name: None})))


LATER = 9_999_999_999  # in the year 2286
NO_INSTANTS = [
    "null", "true", "false", '""', '"x"', f'"{LATER}"', "[]", f"[{LATER}]", "{}", "NaN", "Infinity",
    "-Infinity", "1e400", "-1e400", "1e300", "-1", "-1e9", "9" * 100, "9" * 5000, "253402300800",
]  # fmt: skip


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", NO_INSTANTS, ids=short)
def test_an_instant_is_a_number_of_a_likely_size(name: str, value: str) -> None:
    assert_not_believed(signed(raw(**{name: value})))


@pytest.mark.parametrize(
    "sub",
    [
        "", "ada", "@", "ada@", "@example.com", "ada\0@example.com", "ada@exa\0mple", "\ud800@a.b",
        "a@\udfff", "a" * 309 + "@example.com", "a@" + "b" * 5000, 1, True, ["ada@example.com"], {},
    ],
    ids=short,
)  # fmt: skip
def test_a_subject_that_can_be_nobodys_email_is_not_believed(sub: Any) -> None:
    assert_not_believed(signed(claims(sub=sub)))


@pytest.mark.parametrize(
    "email", ["a@b", "a" * 308 + "@example.com", "Ünï@çödé.例え", "a b@c", "a@b@c"]
)
def test_a_subject_that_may_be_an_email_is_believed(email: str) -> None:
    assert decode(SECRET, encode(SECRET, email, time.time(), 30)).email == email


@pytest.mark.parametrize("value", ["", "a", {}, {"a": 1}, 0, True, [1], ["a", None], [["a"]]])
def test_permissions_are_an_array_of_strings(value: Any) -> None:
    assert_not_believed(signed(claims(permissions=value)))


@pytest.mark.parametrize(
    "header",
    [
        {}, {"alg": "none"}, {"alg": "None"}, {"alg": ""}, {"alg": None}, {"alg": "hs256"},
        {"alg": ["HS256"]}, {"alg": {"HS256": 1}}, {"alg": 256}, {"alg": True}, {"alg": "RS256"},
        {"alg": "ES256"}, {"alg": "HS384"}, {"alg": "HS512"}, {"alg": "HS256", "typ": "JWE"},
        {"alg": "HS256", "typ": ""}, {"alg": "HS256", "typ": None}, {"alg": "HS256", "typ": 1},
        {"alg": "HS256", "typ": ["JWT"]}, {"alg": "HS256", "typ": "dpop+jwt"},
        {"alg": "HS256", "crit": ["exp"], "exp": 1}, {"alg": "HS256", "crit": []},
        {"alg": "HS256", "crit": None}, {"alg": "HS256", "crit": [1]},
        {"alg": "HS256", "crit": "b64"}, {"alg": "HS256", "crit": {"b64": 1}},
        {"alg": "HS256", "crit": ["b64"], "b64": False}, {"alg": "HS256", "b64": False},
        {"alg": "HS256", "kid": 1}, [], "null", "1", '"HS256"', "", "{", "NaN", "[" * 3000,
        '{"a":' * 900 + "1" + "}" * 900, '{"alg":"HS256","a":' + "9" * 5000 + "}", "\ud800",
    ],
    ids=short,
)  # fmt: skip
def test_a_header_that_is_not_ours_is_not_believed(header: Any) -> None:
    assert_not_believed(signed(claims(), header))


@pytest.mark.parametrize("alg", ["HS384", "HS512"])
def test_no_other_algorithm_is_believed_though_the_signature_is_right(alg: str) -> None:
    assert_not_believed(signed(claims(), {"alg": alg, "typ": "JWT"}, alg=alg))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
def test_a_token_without_a_signature_is_not_believed(alg: str) -> None:
    unsigned = signed(claims(), {"alg": alg, "typ": "JWT"}).rpartition(".")[0]
    for end in ("", ".", "..", ".AA"):
        assert_not_believed(unsigned + end)


def test_a_signature_of_another_secret_is_not_believed() -> None:
    assert_not_believed(signed(claims(), secret="another secret of thirty-two bytes"))


@pytest.mark.parametrize("typ", ["refresh", "id", "", None, 1, True, ["access"], {"access": 1}])
def test_a_token_of_another_kind_is_not_believed(typ: Any) -> None:
    assert_not_believed(signed(claims(typ=typ)))


def test_a_token_for_others_is_not_believed() -> None:
    assert_not_believed(signed(claims(aud="https://elsewhere.example")))
    assert_not_believed(signed(claims(aud=["a", "b"])))


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "[]",
        "null",
        "1",
        '"a"',
        "NaN",
        "[" * 3000,
        '{"a":' * 900 + "1" + "}" * 900,
        "\ud800",
    ],
    ids=short,
)
def test_claims_that_are_no_object_are_not_believed(payload: str) -> None:
    assert_not_believed(signed(payload))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "\0",
        "\ud800",
        "é.é.é",
        "a" * 100_000,
        "." * 100_000,
        "\u00a0",
    ],
    ids=short,
)
def test_what_is_no_token_is_not_believed(token: str) -> None:
    assert_not_believed(token)
    if token:
        assert_not_believed(token + signed(claims()))
        assert_not_believed(signed(claims()) + token)


def test_a_long_token_is_not_looked_at() -> None:
    assert_not_believed(signed(claims(more="x" * 8192)))


def is_believed(token: str) -> bool:
    """Tell whether a token is believed; any other failure than the one is not caught."""
    with suppress(Unauthenticated):
        found = decode(SECRET, token)
        assert "@" in found.email.encode().decode()
        assert all(isinstance(permission, str) for permission in found.permissions)
        assert found.issued_at is None or found.issued_at >= 0
        return True
    return False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["sub", "permissions", "exp", "iat", "nbf", "typ", "aud", "jti", "iss"])
HEADERS = st.sampled_from(["alg", "typ", "crit", "kid", "b64", "cty", "zip", "jwk", "x5c"])


@pytest.mark.long
@given(st.text() | st.binary().map(lambda part: part.decode("latin-1")))
@example("Bearer")
def test_no_text_is_taken_for_a_token(token: str) -> None:
    assert not is_believed(token)
    with suppress(Unauthenticated):
        parse_bearer(token)


@given(st.lists(st.binary(), min_size=2, max_size=4))
def test_no_bytes_are_taken_for_a_token(parts: list[bytes]) -> None:
    assert not is_believed(".".join(encoded(part) for part in parts))
    with suppress(UnicodeDecodeError):  # the right signature under whatever it is
        assert not is_believed(signed(parts[0].decode(), HEADER))
        assert not is_believed(signed(claims(), parts[1].decode()))


@pytest.mark.long
@given(st.dictionaries(NAMES, JSON), st.dictionaries(HEADERS, JSON), JSON)
def test_whatever_is_signed_is_read_or_refused(
    given: dict[str, Any], headers: dict[str, Any], other: Any
) -> None:
    is_believed(signed({**claims(), **given}))
    is_believed(signed(claims(), {**HEADER, **headers}))
    is_believed(signed(other))
    is_believed(signed(claims(), other))


@given(st.data())
def test_a_token_that_was_changed_anywhere_is_not_believed(data: st.DataObject) -> None:
    token = signed(claims(iat=0.5, exp=LATER))
    at = data.draw(st.integers(0, len(token)))
    until = data.draw(st.integers(at, min(at + 3, len(token))))
    changed = token[:at] + data.draw(st.text("Ab0-_.=+/ \0é", max_size=3)) + token[until:]

    if is_believed(changed):  # PyJWT lets a part end as other spellings of base64 do
        assert changed.replace("=", "") == token


@pytest.mark.parametrize(
    "header",
    ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR   abc"],
)
def test_the_token_is_found_in_the_header(header: str) -> None:
    assert parse_bearer(header) == "abc"


@pytest.mark.parametrize("token", ["a", "a.b.c", "-._~+/", "a=", "a==", "0" * 10_000])
def test_every_token_that_the_standard_allows_is_found(token: str) -> None:
    assert parse_bearer(f"Bearer {token}") == token


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "Basic abc",
        "Bearerabc",
        "Bear er",
        " Bearer abc",
        "Bearer\tabc",
        "Bearer,",
        "abc",
    ],
)
def test_without_a_bearer_token_nobody_is_authenticated(header: str | None) -> None:
    assert_refused(lambda: parse_bearer(header), "Not authenticated")


@pytest.mark.parametrize(
    "header",
    [
        "Bearer", "bearer ", "Bearer    ", "Bearer a b", "Bearer a ", "Bearer =", "Bearer a=b",
        "Bearer \ta", "Bearer é", "Bearer a,b", 'Bearer "a"', "Bearer a\0", "Bearer a\n",
        "Bearer \ud800",
    ],
)  # fmt: skip
def test_what_cannot_be_a_token_is_not_believed(header: str) -> None:
    assert_refused(lambda: parse_bearer(header), "Could not validate credentials")
