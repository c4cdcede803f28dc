"""The settings: where they come from, how they are spelled, and what they keep to themselves."""

import secrets
from io import StringIO
from pathlib import Path

import pytest
from alembic import command as alembic
from alembic.config import Config
from pydantic import ValidationError
from sqlalchemy import make_url
from sqlalchemy.engine import URL
from uvicorn.middleware.proxy_headers import _TrustedHosts

from songbook.config import CommandError
from songbook.config.production import check_production, weakness
from tests.samples.settings import Settings
from tests.support.databases import execute
from tests.support.services import SAMPLES
from tests.support.settings import SECRET_FIELDS, Write, forget_environment, other_names

SECRET = "hush-4711"
DEFAULTS = Settings.model_construct().model_dump() | {"drain_seconds": 0}  # config/dev.env


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine that runs the tests has set."""
    forget_environment(Settings, monkeypatch)


def refusal(**given: object) -> str:
    """Return the sentence with which settings are refused."""
    with pytest.raises(CommandError) as refused:
        Settings.load(**given)
    return str(refused.value)


def test_without_any_setting_the_service_is_private_and_brings_its_database() -> None:
    settings = Settings.load()

    assert settings.url is None
    assert settings.postgres_data == SAMPLES.directory / ".data" / "postgres"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8004, 1)
    assert settings.require_if_match is False


def test_the_environment_wins_over_the_defaults_and_an_option_over_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("workers", "3")
    monkeypatch.setenv("REQUIRE_IF_MATCH", "true")
    monkeypatch.setenv("POSTGRES_DATA", "/somewhere/else")

    assert (Settings.load().port, Settings.load().workers) == (9001, 3)
    assert Settings.load().require_if_match is True
    assert Settings.load().postgres_data == Path("/somewhere/else")
    assert Settings.load(port=9002).port == 9002


@pytest.mark.parametrize("names", [("PORT", "port"), ("port", "PORT")])
def test_of_two_spellings_the_one_in_capitals_wins(
    write: Write, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    ports = {"PORT": "9001", "port": "9002"}

    write(*(f"{name}={ports[name]}" for name in names))
    assert Settings.load().port == 9001

    monkeypatch.setenv("ENV_FILE", "/dev/null")
    for name in names:
        monkeypatch.setenv(name, ports[name])
    assert Settings.load().port == 9001


def test_an_empty_variable_is_as_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")

    assert Settings.load().model_dump() == DEFAULTS


def test_a_variable_that_is_none_of_ours_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTS", "many")

    assert Settings.load().model_dump() == DEFAULTS


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_spelling_of_a_postgresql_url_is_understood(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://me:{SECRET}@db:5433/foo")

    url = Settings.load().url

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

    url = Settings.load().url

    assert url is not None
    assert url.password == password
    assert (url.username, url.host, url.database) == ("me", "db", "foo")


def test_a_url_may_name_a_socket_or_several_hosts() -> None:
    socket = Settings.load(database_url="postgresql://me@/foo?host=/run/my%20socket").url
    several = Settings.load(database_url="postgresql://me@/foo?host=a:1&host=b:2").url

    assert socket is not None
    assert socket.query == {"host": "/run/my socket"}
    assert several is not None
    assert several.query == {"host": ("a:1", "b:2")}


def test_the_ssl_mode_of_other_drivers_is_understood() -> None:
    url = Settings.load(database_url="postgres://me@db/foo?sslmode=require").url

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
        (
            "database_url",
            f"postgres://me:{SECRET}@db/foo?prepared_statement_cache_size=many",
            "has a prepared_statement_cache_size that is not a number",
        ),
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
        ("environment", "production", "should be 'dev', 'qa' or 'prod'"),
        ("environment", "PROD", "should be 'dev', 'qa' or 'prod'"),
        ("books_per_member", "0", "greater than or equal to 1"),
        ("books_per_member", "1000001", "less than or equal to 1000000"),
        ("pg_port", "0", "greater than or equal to 1"),
        ("log_level", "loud", "should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
        ("access_token_minutes", "1441", "less than or equal to 1440"),
        ("login_tries_per_address", "0", "greater than or equal to 1"),
        ("login_tries_per_name", "0", "greater than or equal to 1"),
        ("login_window_minutes", "0", "greater than or equal to 1"),
        ("retention_days", "-1", "greater than or equal to 0"),
        ("retention_days", "36501", "less than or equal to 36500"),
        ("cors_origins", "example.org", "should be * or origins like"),
        ("cors_origins", "https://example.org/", "should be * or origins like"),
        ("cors_origins", f"https://me:{SECRET}@example.org", "should be * or origins like"),
        ("cors_origins", "https://example.org https://example.net", "should be * or origins"),
        ("forwarded_allow_ips", "proxy.example.org", "should be * or addresses and networks"),
        ("forwarded_allow_ips", "10.0.0.7 10.0.0.8", "should be * or addresses and networks"),
        ("forwarded_allow_ips", "10.0.0.7,*", "should be * or addresses and networks"),
        ("forwarded_allow_ips", "10.0.0.0/33", "should be * or addresses and networks"),
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
    assert Settings.load(port=port).port == port


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@S3cret@host/db",
        "postgresql://u:p@S3cret:5432/db@host/db",
        "postgresql://u:p@x?S3cret=1@host/db",
        "postgresql://u:p?S3cret@host/db",
        "postgresql://u:p?password=S3cret@host/db",
        "postgresql://u:hunter@2/S3cret@localhost:5999/d",
        "postgresql://u@S3cret:p@host/db",
        "postgresql://u:p@host/db?host=S3cret@other",
        "postgresql://u:p@host/db?S3cret@=1",
    ],
)
def test_a_url_whose_password_may_end_elsewhere_is_refused_without_any_of_it(url: str) -> None:
    told = refusal(database_url=url)

    assert told.startswith("DATABASE_URL is not a database URL: write postgresql+asyncpg://")
    assert told.endswith(", with special characters percent-encoded")
    assert "S3cret" not in told


@pytest.mark.parametrize("query", ["password=p&S3cret=1", "password=p&secret=1", "S3cret=1"])
def test_an_unknown_parameter_that_may_be_of_a_password_is_not_named(query: str) -> None:
    told = refusal(database_url=f"postgresql://u@host/db?{query}")

    assert told == "DATABASE_URL has parameters that asyncpg does not know"


def test_a_user_and_a_password_among_the_parameters_may_have_an_at_sign() -> None:
    url = Settings.load(database_url="postgresql://host:5432/db?user=a@b&password=c@d").url

    assert url is not None
    assert (url.host, url.port, url.database) == ("host", 5432, "db")
    assert url.query == {"user": "a@b", "password": "c@d"}


def test_not_even_the_error_itself_holds_the_password() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=f"mysql://me:{SECRET}@db/foo")

    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value)


def test_the_password_is_in_no_text_of_the_settings() -> None:
    settings = Settings.load(database_url=f"postgres://me:{SECRET}@db/foo")

    for told in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.url)):
        assert SECRET not in told


def test_the_later_place_wins(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_force() -> tuple[bool, str]:
        settings = Settings.load()
        return settings.private_shelves, settings.origin("private_shelves")

    assert in_force() == (False, "config/dev.env")
    write("ENVIRONMENT=qa")
    assert in_force() == (True, "config/qa.env")
    write("ENVIRONMENT=qa", "PRIVATE_SHELVES=no")
    assert in_force() == (False, str(tmp_path / ".env"))
    monkeypatch.setenv("PRIVATE_SHELVES", "yes")
    assert in_force() == (True, "environment")
    assert Settings.load(private_shelves=False).private_shelves is False
    assert Settings.load(private_shelves=False).origin("private_shelves") == "argument"


def test_the_process_says_the_last_word_about_its_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("ENVIRONMENT=dev")
    monkeypatch.setenv("ENVIRONMENT", "prod")

    assert Settings.load().environment == "prod"
    assert Settings.load().closed_writes is True
    assert Settings.load(environment="dev").closed_writes is False


def test_what_is_empty_in_a_later_place_is_left_to_the_earlier_one(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("PORT=9001", "HOST=", "WORKERS", "CLOSED_WRITES=")
    monkeypatch.setenv("PORT", "")

    settings = Settings.load()

    assert (settings.port, settings.host, settings.workers) == (9001, "127.0.0.1", 1)
    assert settings.origin("closed_writes") == "config/dev.env"


def test_a_file_of_variables_is_read_as_it_stands(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    write("# a comment", "export SHELF_NAME='a ${HOME} # b'", "nothing_of_ours = 1")

    settings = Settings.load()

    assert settings.shelf_name == "a ${HOME} # b"
    assert settings.model_dump() == {**DEFAULTS, "shelf_name": settings.shelf_name}


def test_a_service_without_files_for_environments_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a file that is missing, production would open the writes without a word."""
    monkeypatch.setattr(Settings, "directory", tmp_path)

    assert Settings.load().environment == "dev"
    for environment in ("dev", "prod"):
        monkeypatch.setenv("ENVIRONMENT", environment)
        path = tmp_path / "config" / f"{environment}.env"
        reason = "which cannot be read (No such file or directory)."
        assert refusal() == f"ENVIRONMENT needs {path}, {reason}"


def test_a_file_of_variables_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, binary = tmp_path / "missing", tmp_path / "binary"
    binary.write_bytes(b"PORT=\xff\n")

    for path, reason in [
        (missing, "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
        (binary, "is not valid UTF-8"),
    ]:
        monkeypatch.setenv("ENV_FILE", str(path))
        assert refusal() == f"ENV_FILE needs {path}, which {reason}."


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["no setting at all"], 1),
        (["PORT=9001", "", "# a comment", "", f"'PG_PASSWORD={SECRET}"], 5),
        ([f'PG_PASSWORD="{SECRET}', "PORT=9001"], 1),
        (["SHELF_NAME='two", "lines'", "=", "PORT=9001"], 3),
    ],
)
def test_a_line_that_cannot_be_read_is_named_without_what_it_holds(
    write: Write, tmp_path: Path, lines: list[str], number: int
) -> None:
    write(*lines)

    assert refusal() == (f"{tmp_path / '.env'}, line {number} is invalid: write NAME=value.")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("database-url", "DATABASE_URL"),
        ("PG_PASWORD_FILE", "PG_PASSWORD_FILE"),
        ("PGPASSWORD", "PG_PASSWORD"),
        ("SHELFLABEL", "SHELF_LABEL"),
        ("ENVIROMENT", "ENVIRONMENT"),
        ("ENVFILE", "ENV_FILE"),
        ("PORTS", "PORT"),
    ],
)
def test_a_name_in_a_file_that_is_nearly_a_setting_is_refused(
    write: Write, tmp_path: Path, name: str, meant: str
) -> None:
    write("HOST=127.0.0.1", f"{name}={SECRET}")

    assert refusal() == (
        f"{tmp_path / '.env'} sets the unknown variable {name}: did you mean {meant}?"
    )


def test_a_name_in_a_file_that_is_of_others_is_ignored(write: Write) -> None:
    ours = [*Settings.model_fields, *other_names(Settings), "env_file"]
    others = ["WEB_PORT", "POSTGRES_DB", "POSTGRES_PASSWORD", "TEST_DATABASE_URL", "PORT_FILE"]
    write(*(f"{name}=" for name in [*ours, *others, "OAUTH_TOKEN_SECRET_FILE"]))

    assert Settings.load().model_dump() == DEFAULTS


def test_a_setting_that_does_not_fit_is_found_where_it_stands(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("PORT=many")
    assert refusal().endswith(f" (set in {tmp_path / '.env'})")

    monkeypatch.setenv("PORT", "many")
    assert refusal().endswith("unable to parse string as an integer")


def test_another_name_of_a_setting_is_understood(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("SHELF_NAME=Earlier")
    monkeypatch.setenv("SHELF_LABEL", "Novels")
    monkeypatch.setenv("SQLALCHEMY_ECHO", "true")
    monkeypatch.setenv("LIBRARIAN", "Ada")
    settings = Settings.load()
    assert (settings.shelf_name, settings.echo_sql) == ("Novels", True)
    assert settings.librarian == "Ada"

    monkeypatch.setenv("SHELF_NAME", "Another")
    assert Settings.load().shelf_name == "Another"


@pytest.mark.parametrize(("text", "level"), [("debug", "DEBUG"), ("Warning", "WARNING")])
def test_a_level_may_be_spelled_as_one_likes(text: str, level: str) -> None:
    assert Settings.load(log_level=text).log_level == level


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        (
            " https://Example.org , http://localhost:3000,",
            ("https://example.org", "http://localhost:3000"),
        ),
        ("http://[::1]:80", ("http://[::1]:80",)),
        (",", ()),
    ],
)
def test_origins_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", text)

    assert Settings.load().cors_origins == origins
    assert Settings.load(cors_origins=origins).cors_origins == origins


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("/", ""), ("/music/", "/music"), ("/a-b/v1.0~_", "/a-b/v1.0~_")]
)
def test_a_root_path_has_no_slash_at_its_end(text: str, path: str) -> None:
    assert Settings.load(root_path=text).root_path == path


@pytest.mark.parametrize(
    "text", ["music", "//evil.example", "/a//b", "/a b", '/"', "/é", "/a?b", "/..", "/a/./b"]
)
def test_a_root_path_that_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="should be a path like /music"):
        Settings.load(root_path=text)


@pytest.mark.parametrize(
    ("text", "proxies"),
    [
        ("*", "*"),
        (",", ""),
        (" 10.0.0.7 , ::1,", "10.0.0.7,::1"),
        ("10.1.2.3/8,fd00::1/64", "10.0.0.0/8,fd00::/64"),
    ],
)
def test_proxies_are_addresses_and_networks_as_uvicorn_reads_them(text: str, proxies: str) -> None:
    assert Settings.load(forwarded_allow_ips=text).forwarded_allow_ips == proxies


def test_the_proxies_of_a_network_are_believed_and_nobody_else() -> None:
    trusted = _TrustedHosts(Settings.load(forwarded_allow_ips="10.1.2.3/8").forwarded_allow_ips)

    assert "10.9.9.9" in trusted
    assert "11.0.0.1" not in trusted


@pytest.mark.parametrize("name", sorted(SECRET_FIELDS))
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_may_stand_in_a_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ending: str
) -> None:
    secret = f"postgresql+asyncpg://me:{SECRET}@db/foo" if name == "database_url" else f" {SECRET}"
    (tmp_path / "secret").write_bytes(f"{secret}{ending}".encode())

    def read() -> tuple[str, str]:
        settings = Settings.load()
        return getattr(settings, name).get_secret_value(), settings.origin(name)

    write(f"{name.upper()}_FILE={tmp_path / 'secret'}")
    assert read() == (secret, f"file {tmp_path / 'secret'}")
    monkeypatch.setenv("ENV_FILE", "/dev/null")
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    assert read() == (secret, f"file {tmp_path / 'secret'}")


def test_a_file_for_what_is_no_secret_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT_FILE", "/nowhere")

    assert Settings.load().model_dump() == DEFAULTS


def test_a_secret_and_its_file_in_one_place_are_refused_in_two_the_later_wins(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("PG_PASSWORD_FILE=/nowhere")
    assert Settings.load(pg_password=SECRET).origin("pg_password") == "argument"
    monkeypatch.setenv("PG_PASSWORD", SECRET)
    password = Settings.load().pg_password
    assert password
    assert password.get_secret_value() == SECRET

    monkeypatch.setenv("PG_PASSWORD_FILE", "/nowhere")
    assert refusal() == (
        "PG_PASSWORD and PG_PASSWORD_FILE are both set in environment: leave one out."
    )

    monkeypatch.setenv("PG_PASSWORD", "")
    assert refusal() == (
        "PG_PASSWORD_FILE names /nowhere, which cannot be read (No such file or directory)."
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "is not valid UTF-8"),
        (None, "cannot be read (Is a directory)"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "secret"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    monkeypatch.setenv("DATABASE_URL_FILE", str(path))

    assert refusal() == f"DATABASE_URL_FILE names {path}, which {reason}."


def test_a_path_that_no_file_can_have_is_refused(write: Write) -> None:
    write('PG_PASSWORD_FILE="/nowhere\0"')

    assert refusal().startswith("PG_PASSWORD_FILE names /nowhere")


def test_a_url_that_a_file_holds_is_refused_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text(f"mysql://me:{SECRET}@db/foo")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))

    assert refusal().startswith("DATABASE_URL does not name PostgreSQL")
    assert refusal().endswith(f" (set in file {tmp_path / 'url'})")
    assert SECRET not in refusal()


@pytest.mark.parametrize(
    ("name", "text", "url"),
    [
        ("PG_HOST", "db", "postgresql+asyncpg://postgres@db:5432/postgres"),
        ("PG_PORT", "5432", "postgresql+asyncpg://postgres@localhost:5432/postgres"),
        ("PG_USER", "a@b", "postgresql+asyncpg://a%40b@localhost:5432/postgres"),
        ("PG_PASSWORD", "p%/", "postgresql+asyncpg://postgres:p%25%2F@localhost:5432/postgres"),
        ("PG_DB", "foo", "postgresql+asyncpg://postgres@localhost:5432/foo"),
        (
            "PG_HOST",
            "/run/my socket",
            "postgresql+asyncpg://postgres@/postgres?host=/run/my+socket&port=5432",
        ),
    ],
)
def test_any_part_of_a_url_is_completed(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, text: str, url: str
) -> None:
    monkeypatch.setenv(name, text)
    assert Settings.load().url == make_url(url)

    monkeypatch.delenv(name)
    write(f"{name}='{text}'")
    assert Settings.load().url == make_url(url)

    write(f"{name}='{text}'", "DATABASE_URL=postgres://me@other/foo")
    assert Settings.load().url == make_url("postgresql+asyncpg://me@other/foo")


def set_parts(monkeypatch: pytest.MonkeyPatch, url: URL) -> None:
    """Write the parts of a URL where the tutorial has them."""
    monkeypatch.setenv("PG_HOST", str(url.query.get("host") or url.host))
    monkeypatch.setenv("PG_PORT", str(url.query.get("port") or url.port or 5432))
    monkeypatch.setenv("PG_USER", url.username or "")
    monkeypatch.setenv("PG_PASSWORD", str(url.password))
    monkeypatch.setenv("PG_DB", url.database or "")


def test_a_password_of_any_characters_connects(
    guarded_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_parts(monkeypatch, guarded_url)

    url = Settings.load().url

    assert url
    assert set("%@:/?#") < set(str(url.password))
    assert execute(url, "SELECT current_user") == [(guarded_url.username,)]


def test_alembic_takes_the_database_from_the_same_place_online_and_offline(
    guarded_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str, sql: bool = False) -> str:
        output = StringIO()
        config = Config(SAMPLES.directory / "alembic.ini", stdout=output, output_buffer=output)
        getattr(alembic, arguments[0])(config, *arguments[1:], **({"sql": True} if sql else {}))
        return output.getvalue()

    set_parts(monkeypatch, guarded_url)
    assert "(head)" in run("current")
    assert "CREATE TABLE book" in run("upgrade", "head", sql=True)

    monkeypatch.setenv("DATABASE_URL", f"mysql://me:{SECRET}@db/foo")
    for sql in (False, True):
        with pytest.raises(CommandError, match="DATABASE_URL does not name PostgreSQL"):
            run("upgrade", "head", sql=sql)


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        (None, "is missing"),
        ("", "is missing"),
        ("changethis", "is a placeholder"),
        ("a-string-secret-at-least-256-bits-long", "is a placeholder"),
        ("changeme", "is a placeholder"),
        ("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "is a placeholder"),
        ("Zm9vYmFyLWJheg", "is shorter than 32 bytes"),
        ("0123456789abcdef0123456789abcde", "is shorter than 32 bytes"),
        ("a" * 64, "has fewer than 8 different characters"),
        ("0123456" * 6, "has fewer than 8 different characters"),
        ("01234567" * 4, "repeats one short text"),
        ("0123456789abcdef" * 2, "repeats one short text"),
        ("correct-horse-battery" * 3 + "corr", "repeats one short text"),
        ("changeme" * 4, "is a placeholder"),
        ("Change_Me-CHANGE_ME-change.me please", "is a placeholder"),
        ("your-secret-key-that-is-32-bytes-long", "is a placeholder"),
        ("YOUR_SUPER_SECRET_JWT_KEY_HERE_123456", "is a placeholder"),
        ("my super secret key, change this in production!", "is a placeholder"),
        ("supersecretsupersecretsupersecret0000", "is a placeholder"),
        ("replace-me-with-a-secret-of-32-bytes!!", "is a placeholder"),
        ("insecure-development-secret-key-000000", "is a placeholder"),
        ("abcdefghijklmnopqrstuvwxyz-1234567890", "is a placeholder"),
        ("<generate-with-openssl-rand-hex-32-abc>", "is a placeholder"),
        ("secretsmanager-Qm4Yt7-Vb9Lk2-Zp6Rw1-Xc8", None),
        ("secret-yW9xJt0rV3nQ_bK8fZ2mGd6LhP4cS7uA", None),
        ("ä-16-ö-17-ü-18-ß-19-é-20", "is shorter than 32 bytes"),
        ("ä-16-ö-17-ü-18-ß-19-é-20-☃-21", None),
        ("yW9xJt0rV3nQ_bK8fZ2mGd6LhP4cS7uAeXoRiT1w", None),
    ],
)
def test_a_secret_that_can_be_guessed_is_called_what_it_is(
    secret: str | None, fault: str | None
) -> None:
    assert weakness(secret) == fault
    settings = Settings.load(environment="prod", oauth_token_secret=secret)
    if fault is None:
        check_production(settings)
        return
    with pytest.raises(CommandError) as refused:
        check_production(settings)
    assert str(refused.value).startswith(
        f"OAUTH_TOKEN_SECRET {fault}, which production does not allow"
    )
    assert not secret or secret not in str(refused.value)


def test_a_secret_made_at_random_is_good_enough() -> None:
    for made in (secrets.token_urlsafe(48), secrets.token_hex(16)):
        assert weakness(made) is None


def test_elsewhere_a_short_secret_will_do_and_none_is_a_random_one() -> None:
    for environment in ("dev", "qa"):
        settings = Settings.load(environment=environment, debug=True, log_level="debug")
        check_production(settings)
        assert weakness(settings.token_secret) is None
        assert settings.token_secret == Settings.load().token_secret
        assert Settings.load(oauth_token_secret="short").token_secret == "short"
