"""Whether the process is alive."""

from typing import Literal

from pydantic import BaseModel

from app.routing import Router

router = Router(tags=["health"])


class Ping(BaseModel):
    """The answer to a ping."""

    ping: Literal["pong!"] = "pong!"


@router.get("/ping")
async def ping() -> Ping:
    """Answer without asking the database."""
    return Ping()
