"""Transactions that a dependency begins and the route ends after the handler."""

from typing import Any, NamedTuple, Protocol

from starlette.responses import Response


class Completion(Protocol):
    """A transaction that ends with the response."""

    async def commit(self, response: Response) -> Response:
        """Commit after the handler has returned. Returns the response to send."""

    async def rollback(self, error: BaseException, *, is_called: bool = True) -> Response:
        """Roll back after an error, of the handler if `is_called`. Returns a response or raises."""


class Opened(NamedTuple):
    """The argument for the handler, and the transaction to end after it, if any."""

    argument: Any
    completion: Completion | None = None
