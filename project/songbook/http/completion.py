"""What a dependency begins for a handler, and the route ends after it."""

from typing import Any, NamedTuple, Protocol

from starlette.responses import Response


class Completion(Protocol):
    """What ends with the response of a handler: a transaction."""

    async def commit(self, response: Response) -> Response:
        """End after the handler has returned; return the response that the client gets."""

    async def rollback(self, error: BaseException, *, is_called: bool = True) -> Response:
        """End after the handler has raised, or could not be called (`is_called`).

        Returns a response in its place, or raises `error`.
        """


class Opened(NamedTuple):
    """What a dependency gives to the handler, and what has to be ended after it, if anything."""

    argument: Any
    completion: Completion | None = None
