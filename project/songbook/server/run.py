"""How uvicorn serves: its limits, whom it believes, what it logs."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

import uvicorn

import songbook
from songbook.config import Settings
from songbook.server.logging import log_config
from songbook.server.protocol import Protocol

_GRACEFUL_SECONDS = 20
_KEEP_ALIVE_SECONDS = 75


def serve(application: str, settings: Settings, port: int, *, reload: bool = False) -> None:
    """Serve `application`, as `app.main:app`, until a signal comes.

    It runs in as many processes as the settings say; with `reload` in one, which starts anew when
    the code changes, and logs every request.
    """
    if settings.oauth_token_secret is None:  # or each worker would refuse the others' tokens
        os.environ["OAUTH_TOKEN_SECRET"] = settings.token_secret
    uvicorn.run(
        application,
        host=settings.host,
        port=port,
        workers=None if reload else settings.workers,
        reload=reload,
        reload_dirs=_code(application) if reload else None,
        http=Protocol,
        log_config=log_config(settings.log_level),
        log_level=settings.log_level.lower(),
        access_log=reload,
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


def _code(application: str) -> list[str]:
    """Return the folders of the service's package and of this one."""
    spec = find_spec(re.split("[.:]", application)[0])
    assert spec is not None, "uvicorn has to import it"
    own = spec.submodule_search_locations or [str(Path(spec.origin or "").parent)]
    return [*own, str(Path(songbook.__file__).parent)]
