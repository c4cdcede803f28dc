"""Exports: all rows of a list in one response, streamed from COPY in one snapshot."""

import asyncio
from functools import partial

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from songbook.bulk.copy import copy_out
from songbook.db import BoundStatement, Database
from songbook.http import FILE_SUFFIXES
from songbook.metrics import Counter

_EXPORTS = Counter("songbook_exports_total", "Exports by outcome.", ("resource", "outcome"))


class Export(Response):
    """A streaming response with the rows of a query.

    An error before the first row is a normal error response; after it the connection is aborted, so
    that clients notice the incomplete body. `mark` comes before the rows.
    """

    def __init__(
        self,
        db: Database,
        query: BoundStatement,
        media_type: str,
        name: str,
        client: str,
        *,
        mark: bytes = b"",
    ) -> None:
        disposition = f'attachment; filename="{name}.{FILE_SUFFIXES[media_type]}"'
        super().__init__(None, headers={"Content-Disposition": disposition}, media_type=media_type)
        del self.headers["content-length"]
        self._name, self._mark = name, mark
        self._copy = partial(copy_out, db, query, media_type, client=client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the rows; stop when the client disconnects."""
        if scope.get("original_method") == "HEAD":
            await self._send(send, b"", is_last=True)
            return
        copying = asyncio.ensure_future(self._send_rows(send))
        disconnect = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait((copying, disconnect), return_when=asyncio.FIRST_COMPLETED)
        finally:
            disconnect.cancel()
            if not copying.done():
                copying.cancel()
        outcome = "aborted"
        try:
            await copying
            outcome = "complete"
        except asyncio.CancelledError:
            raise ClientDisconnect from None
        finally:
            _EXPORTS.inc(self._name, outcome)

    async def _send_rows(self, send: Send) -> None:
        await self._copy(partial(self._send, send))
        await self._send(send, b"", is_last=True)

    async def _send(self, send: Send, chunk: bytes, *, is_last: bool = False) -> None:
        """Send a chunk of the body, before the first one the headers."""
        if self.raw_headers:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            self.raw_headers, chunk = [], self._mark + chunk
            await send(start)
        await send({"type": "http.response.body", "body": chunk, "more_body": not is_last})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
