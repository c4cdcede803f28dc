"""Every environment variable that the service reads, typed."""

from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import BeforeValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

ROOT = Path(__file__).parents[2]
_PARAMETERS = {
    *("host", "port", "user", "password", "database", "passfile", "service", "servicefile"),
    *("ssl", "direct_tls", "target_session_attrs", "krbsrvname", "gsslib"),
    "prepared_statement_cache_size",
}


class StartError(Exception):
    """Why a command cannot do its work: one sentence that says what to do, without secrets."""


def _database_url(value: Any) -> Any:
    """Accept the spellings of a PostgreSQL URL that people have; name asyncpg as the driver."""
    if value in {None, ""}:
        return None
    try:
        url = make_url(str(value))
    except (ArgumentError, ValueError):
        raise ValueError(
            "is not a database URL: write postgresql+asyncpg://user:password@host:5432/database,"
            " with special characters percent-encoded"
        ) from None
    if url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError("does not name PostgreSQL: begin it with postgresql+asyncpg://")
    if mode := url.query.get("sslmode"):  # libpq's name of what asyncpg calls ssl
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    if unknown := sorted(set(url.query) - _PARAMETERS):
        raise ValueError(f"has parameters that asyncpg does not know: {', '.join(unknown)}")
    return url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


class Settings(BaseSettings):
    """The configuration of one process; every field is an environment variable of the same name."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: Annotated[SecretStr | None, BeforeValidator(_database_url)] = None
    """The PostgreSQL to use; unset: the embedded one in `postgres_data`."""

    postgres_data: Path = ROOT / ".data" / "postgres"
    """Where the embedded PostgreSQL keeps its data."""

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: Annotated[int, Ge(0), Le(65535)] = 8004
    """The port to listen on; 0 takes a free one."""

    workers: Annotated[int, Ge(1), Le(64)] = 1
    """How many processes serve; one for each container, more on a single machine."""

    pool_size: Annotated[int, Ge(1), Le(1000)] = 10
    """How many connections a process keeps at most."""

    pool_timeout: Annotated[float, Ge(0.1), Le(60)] = 2.0
    """Seconds that a request waits for a connection before it is answered 503."""

    require_if_match: bool = False
    """Whether PUT, PATCH and DELETE are refused (428) without `If-Match`."""

    closed_writes: bool = False
    private_profiles: bool = False
    login_tries_per_address: int = 60
    login_tries_per_name: int = 10
    login_window_minutes: int = 15
    access_token_minutes: int = 30
    project_name: str = "Songbook"
    admin_email: str | None = None
    items_per_user: int = 50
    debug: bool = False
    echo_sql: bool = False
    retention_days: int = 30
    cors_origins: tuple[str, ...] = ()
    oauth_token_secret: SecretStr = SecretStr("x" * 40)

    @property
    def token_secret(self) -> str:
        return self.oauth_token_secret.get_secret_value()

    def check_production(self) -> None:
        pass

    @property
    def url(self) -> URL | None:
        """Return the URL of the given database, None when the embedded one is to be used."""
        return make_url(self.database_url.get_secret_value()) if self.database_url else None


def load_settings(**given: Any) -> Settings:
    """Read the environment, over which `given` wins; raise StartError for what does not fit."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = "_".join(str(part) for part in first["loc"][:1]).upper()
        reason = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
        raise StartError(f"{name} {reason}") from None
