"""The liveness check."""

from pydantic import BaseModel, ConfigDict

from songbook.auth import PUBLIC
from songbook.http import Router

router = Router(tags=["health"], dependencies=[PUBLIC])


class Ping(BaseModel):
    """The response to a ping."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    ping: str = "pong!"


@router.get("/ping")
async def ping() -> Ping:
    """Respond without a query to the database."""
    return Ping()
