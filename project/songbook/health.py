"""Health checks for orchestrators and load balancers, without an account and without a log."""

import json

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from songbook.auth import PUBLIC
from songbook.db import OK
from songbook.errors import MEDIA_TYPE, ServiceUnavailable
from songbook.http import DRAINING, Router, ServiceState

router = Router(tags=["health"], dependencies=[PUBLIC])

_NO_STORE = {"Cache-Control": "no-store"}


class Health(BaseModel):
    """The response of a health check that succeeds."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    checks: dict[str, str] = {}
    """The checks by name, each `ok`."""


class NotHealthy(ServiceUnavailable):
    """A health check fails (503)."""

    slug = "not-healthy"

    def __init__(self, checks: dict[str, str]) -> None:
        failures = {name: each for name, each in checks.items() if each != OK}
        super().__init__("; ".join(f"{name}: {each}" for name, each in failures.items()))
        self._checks = checks

    def body(self, path: str, request_id: str) -> str:
        """Return the JSON of the problem details, with the checks as an extension member."""
        return json.dumps({**json.loads(super().body(path, request_id)), "checks": self._checks})


@router.get("/livez", response_model=Health)
async def check_liveness() -> Response:
    """Respond while the process does, whatever the database does; if this fails, restart it."""
    return JSONResponse({"checks": {}}, headers=_NO_STORE)


@router.get("/startupz", response_model=Health, responses={503: {}})
async def check_startup(request: Request) -> Response:
    """Respond with 200 once the service has started."""
    service: ServiceState = request.app.state.service
    return _response(request, {"startup": OK if service.is_started else "not complete"})


@router.get("/readyz", response_model=Health, responses={503: {}})
async def check_readiness(request: Request) -> Response:
    """Respond with 200 while requests are welcome; the database responds and is migrated."""
    return _response(request, await _readiness(request))


async def _readiness(request: Request) -> dict[str, str]:
    """Return the checks; the first to fail is the drain of a service that is about to stop."""
    service: ServiceState = request.app.state.service
    if request.scope.get("state", {}).get(DRAINING):
        return {"draining": "the service is about to stop"}
    if not service.is_started:
        return {"startup": "not complete"}
    return await service.readiness.checks()


def _response(request: Request, checks: dict[str, str]) -> Response:
    if all(each == OK for each in checks.values()):
        return JSONResponse({"checks": checks}, headers=_NO_STORE)
    problem = NotHealthy(checks)
    content = problem.body(request.scope["path"], request.scope["request_id"])
    return Response(content, problem.status, {**problem.headers, **_NO_STORE}, MEDIA_TYPE)
