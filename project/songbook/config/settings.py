"""The settings of every service; a service adds its own in a subclass."""

import secrets
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Le
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import URL, make_url

from songbook.config.sources import CommandError, variables_sources
from songbook.config.types import (
    DatabaseUrl,
    Level,
    Minutes,
    Origins,
    Port,
    Proxies,
    RootPath,
    Tries,
)
from songbook.config.urls import url_from_parts

_RANDOM_SECRET = secrets.token_urlsafe(48)
"""The secret of this process when none is set."""


class Settings(BaseSettings):
    """The configuration of a process; every field is an environment variable of its name."""

    model_config = SettingsConfigDict(
        extra="ignore", enable_decoding=False, hide_input_in_errors=True
    )

    directory: ClassVar[Path] = Path()
    """The directory of the service, with `.env`, `config/` and `alembic.ini`."""

    environment: Literal["dev", "qa", "prod"] = "dev"
    """Selects the file in `config/`; `prod` also rejects unsafe settings."""

    database_url: DatabaseUrl = None
    """The URL of PostgreSQL; without it and any `PG_…`, the embedded one is used."""

    pg_host: str = "localhost"
    """The host of PostgreSQL, or the directory of its socket; unused with `DATABASE_URL`."""

    pg_port: Port = 5432
    """The port of PostgreSQL; unused with `DATABASE_URL`."""

    pg_user: str = "postgres"
    """The role to connect as; unused with `DATABASE_URL`."""

    pg_password: SecretStr | None = None
    """The password of the role, not percent-encoded; unused with `DATABASE_URL`."""

    pg_db: str = "postgres"
    """The database to connect to; unused with `DATABASE_URL`."""

    postgres_data: Path = Path(".data", "postgres")
    """Where the embedded PostgreSQL keeps its data."""

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: Annotated[int, Ge(0), Le(65535)] = 8004
    """The port to listen on; 0 selects a free one."""

    workers: Annotated[int, Ge(1), Le(64)] = 1
    """The number of worker processes: one per container, more on a single machine."""

    drain_seconds: Annotated[float, Ge(0), Le(300)] = 5.0
    """Seconds after SIGTERM that all is served while `/readyz` fails: over two probe periods."""

    pool_size: Annotated[int, Ge(1), Le(1000)] = 20
    """The maximum number of database connections per process."""

    pool_timeout: Annotated[float, Ge(0.1), Le(60)] = 2.0
    """Seconds that a request waits for a connection before it gets 503."""

    bulk_at_once: Annotated[int, Ge(1), Le(1000)] = 3
    """The maximum number of imports and exports at once, at most `POOL_SIZE` / 2 - 2 or 1."""

    bulk_seconds: Annotated[float, Ge(1), Le(86400)] = 3600.0
    """Seconds allowed to receive an import or an upload, to store it, and to send an export."""

    import_bytes: Annotated[int, Ge(1024), Le(2**40)] = 2**30
    """The maximum size of an import, and of its rows on disk, in bytes."""

    import_line: Annotated[int, Ge(1024), Le(2**20)] = 65536
    """The maximum length of a row of an import, in characters."""

    upload_bytes: Annotated[int, Ge(1024), Le(2**40)] = 10 * 2**20
    """The maximum size of a multipart body, and of its files on disk, in bytes."""

    head_seconds: Annotated[float, Ge(1), Le(86400)] = 15.0
    """Seconds allowed to send the head of a request, before 408."""

    body_seconds: Annotated[float, Ge(1), Le(86400)] = 30.0
    """Seconds that a body may fall behind 500 bytes a second (imports 1 KiB), before 408."""

    unread_seconds: Annotated[float, Ge(1), Le(86400)] = 60.0
    """Seconds that a client may fall behind reading 1 KiB a second, before it is disconnected."""

    unread_bytes: Annotated[int, Ge(2**20), Le(2**40)] = 2**24
    """The maximum size of unread responses of all clients per process, in bytes."""

    max_connections: Annotated[int, Ge(1), Le(1000000)] = 1000
    """The maximum number of clients' connections per process, `ulimit -n` less 200 at most."""

    key_hours: Annotated[int, Ge(24), Le(8760)] = 24
    """Hours that an `Idempotency-Key` is stored, before the service removes it."""

    require_if_match: bool = False
    """Whether PUT, PATCH and DELETE require `If-Match` (else 428)."""

    echo_sql: bool = Field(
        default=False, validation_alias=AliasChoices("echo_sql", "sqlalchemy_echo")
    )
    """Whether every statement is logged, without its values (also `SQLALCHEMY_ECHO`)."""

    log_level: Level = "INFO"
    """The minimum level of logged messages."""

    access_log: bool | None = None
    """Whether each request is logged; by default `serve` does if `ENVIRONMENT` is `dev`."""

    metrics_port: Annotated[int, Ge(1), Le(65535)] | None = None
    """A port of its own for `/metrics`, which the main port does not have then."""

    metrics_token: SecretStr | None = None
    """The bearer token that `/metrics` requires; without it and a port, production has none."""

    metrics_dir: Path | None = None
    """The folder where several processes share their metrics; `serve` makes one for workers."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """How a message is written to stderr: `auto` is `console` in a terminal, else `json`."""

    debug: bool = False
    """Whether the detail of a 500 shows the exception."""

    oauth_token_secret: SecretStr | None = None
    """The key that signs tokens; the default is random at each start, which ends all sessions."""

    access_token_minutes: Minutes = 30
    """Minutes until a token expires."""

    login_tries_per_address: Tries = 60
    """Login attempts that an address may make in a window."""

    login_tries_per_name: Tries = 10
    """Login attempts that an address may make for one name in a window."""

    login_window_minutes: Minutes = 15
    """The length of a window, in minutes."""

    closed_writes: bool = False
    """Whether only signed-in users may write."""

    public_docs: bool = True
    """Whether `/docs` and `/openapi.json` are public; else the latter needs a token."""

    console: bool = True
    """Whether there is a console at `/console`."""

    retention_days: Annotated[int, Ge(0), Le(36500)] = 30
    """Days that a deleted row can be restored, before the service purges it."""

    housekeeping: bool = True
    """Whether the service expires keys and purges rows hourly; else run the commands."""

    forwarded_allow_ips: Proxies = ""
    """The proxies whose `X-Forwarded-For` is trusted, separated by commas."""

    root_path: RootPath = ""
    """The path below which a proxy serves the service, such as `/music`, removed by it or not."""

    cors_origins: Origins = ()
    """The origins that CORS allows, separated by commas; `*` allows any."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        origins = values.setdefault("_origins", {})
        super().__init__(**values)
        self._origins = origins

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by priority; each adds the origins of its values to `_origins`."""
        arguments = init_settings()
        origins = arguments.pop("_origins")
        origins |= dict.fromkeys(arguments, "argument")
        sources = variables_sources(settings_cls, cls.directory, arguments.get("environment"))
        for source in sources:
            source.origins = origins
        return init_settings, *sources

    @classmethod
    def load(cls, **arguments: Any) -> Self:
        """Read the settings; arguments override them. Raises CommandError if one is invalid."""
        origins: dict[str, str] = {}
        try:
            return cls(**arguments, _origins=origins)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            name = str(first["loc"][0])
            origin = origins.get(name)
            is_in_file = origin not in {None, "argument", "environment"}
            place = f" (set in {origin})" if is_in_file else ""
            reason = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
            raise CommandError(f"{name.upper()} {reason}{place}") from None

    def origin(self, name: str) -> str:
        """Return where a setting was set."""
        return self._origins.get(name, "default")

    @property
    def url(self) -> URL | None:
        """Return the URL of the database, None for the embedded one."""
        if self.database_url:
            return make_url(self.database_url.get_secret_value())
        if not any(name.startswith("pg_") for name in self.model_fields_set):
            return None
        password = self.pg_password.get_secret_value() if self.pg_password else None
        return url_from_parts(self.pg_host, self.pg_port, self.pg_user, password, self.pg_db)

    @property
    def token_secret(self) -> str:
        """Return the key that signs tokens, by default a random one of this process."""
        secret = self.oauth_token_secret
        return secret.get_secret_value() if secret else _RANDOM_SECRET
