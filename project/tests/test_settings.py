"""The settings: where they come from, how they are spelled, and what they keep to themselves."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from app.settings import Settings, StartError, load_settings
from tests.conftest import PROJECT

SECRET = "hush-4711"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine that runs the tests has set."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def refusal(**given: object) -> str:
    """Return the sentence with which settings are refused."""
    with pytest.raises(StartError) as refused:
        load_settings(**given)
    return str(refused.value)


def test_without_any_setting_the_service_is_private_and_brings_its_database() -> None:
    settings = load_settings()

    assert settings.url is None
    assert settings.postgres_data == PROJECT.parent / ".data" / "postgres"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8004, 1)
    assert settings.require_if_match is False


def test_the_environment_wins_over_the_defaults_and_an_option_over_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("workers", "3")
    monkeypatch.setenv("REQUIRE_IF_MATCH", "true")
    monkeypatch.setenv("POSTGRES_DATA", "/somewhere/else")

    assert (load_settings().port, load_settings().workers) == (9001, 3)
    assert load_settings().require_if_match is True
    assert load_settings().postgres_data == Path("/somewhere/else")
    assert load_settings(port=9002).port == 9002


def test_an_empty_variable_is_as_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")

    assert load_settings() == Settings.model_construct()


def test_a_variable_that_is_none_of_ours_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTS", "many")

    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_spelling_of_a_postgresql_url_is_understood(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://me:{SECRET}@db:5433/foo")

    url = load_settings().url

    assert url == make_url(f"postgresql+asyncpg://me:{SECRET}@db:5433/foo")


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("p%25%40%3A%2F%3F%23", "p%@:/?#"),
        ("%2525", "%25"),
        ("a+b c", "a+b c"),
        ("%C3%A9%E2%98%83", "é☃"),
        ("percent%sign", "percent%sign"),
        ("%%(here)s", "%%(here)s"),
        ("", ""),
    ],
)
def test_the_password_of_a_url_is_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, written: str, password: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgres://me:{written}@db/foo")

    url = load_settings().url

    assert url is not None
    assert url.password == password
    assert (url.username, url.host, url.database) == ("me", "db", "foo")


def test_a_url_may_name_a_socket_or_several_hosts() -> None:
    socket = load_settings(database_url="postgresql://me@/foo?host=/run/my%20socket").url
    several = load_settings(database_url="postgresql://me@/foo?host=a:1&host=b:2").url

    assert socket is not None
    assert socket.query == {"host": "/run/my socket"}
    assert several is not None
    assert several.query == {"host": ("a:1", "b:2")}


def test_the_ssl_mode_of_other_drivers_is_understood() -> None:
    url = load_settings(database_url="postgres://me@db/foo?sslmode=require").url

    assert url is not None
    assert url.query == {"ssl": "require"}


@pytest.mark.parametrize(
    ("name", "bad", "reason"),
    [
        ("database_url", f"postgres//me:{SECRET}@db/foo", "is not a database URL"),
        ("database_url", f"postgresql://me:{SECRET}@db:port/foo", "is not a database URL"),
        ("database_url", f"mysql://me:{SECRET}@db/foo", "does not name PostgreSQL"),
        ("database_url", f"postgresql+psycopg2://me:{SECRET}@db/foo", "does not name PostgreSQL"),
        ("database_url", SECRET, "is not a database URL"),
        ("database_url", f"postgres://me:{SECRET}@db/foo?ssl_mode=on", "not know: ssl_mode"),
        ("port", "abc", "valid integer"),
        ("port", "-1", "greater than or equal to 0"),
        ("port", "65536", "less than or equal to 65535"),
        ("workers", "0", "greater than or equal to 1"),
        ("workers", "65", "less than or equal to 64"),
        ("pool_size", "0", "greater than or equal to 1"),
        ("pool_size", "1001", "less than or equal to 1000"),
        ("pool_timeout", "0", "greater than or equal to 0.1"),
        ("pool_timeout", "61", "less than or equal to 60"),
        ("pool_timeout", "nan", "less than or equal to 60"),
        ("require_if_match", "perhaps", "valid boolean"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_in_one_line_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, bad: str, reason: str
) -> None:
    monkeypatch.setenv(name.upper(), bad)

    for told in (refusal(), refusal(**{name: bad})):
        assert told.startswith(f"{name.upper()} ")
        assert reason in told
        assert "\n" not in told
        assert SECRET not in told


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_the_bounds_themselves_are_allowed(port: int) -> None:
    assert load_settings(port=port).port == port


def test_not_even_the_error_itself_holds_the_password() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=f"mysql://me:{SECRET}@db/foo")

    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value)


def test_the_password_is_in_no_text_of_the_settings() -> None:
    settings = load_settings(database_url=f"postgres://me:{SECRET}@db/foo")

    for told in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.url)):
        assert SECRET not in told
