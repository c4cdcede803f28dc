"""All rows of a list in one answer, as PostgreSQL's COPY writes them: one snapshot, no page."""

import asyncio
from functools import partial

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from songbook.bulk.copy import copy_out
from songbook.db import BoundStatement, Database
from songbook.http import FILE_SUFFIXES, STALLED_SECONDS


class Export(Response):
    """An answer that is sent while the rows come.

    What fails before the first row is answered as ever; after it the connection is cut, so that
    nobody takes a part for the whole.
    """

    def __init__(self, db: Database, query: BoundStatement, media_type: str, name: str) -> None:
        disposition = f'attachment; filename="{name}.{FILE_SUFFIXES[media_type]}"'
        headers = {"Content-Disposition": disposition, "Vary": "Accept"}
        super().__init__(None, headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._copy = partial(copy_out, db, query, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the rows; stop when the client has left."""
        if scope.get("original_method") == "HEAD":
            await self._send(send, b"", is_last=True)
            return
        copying = asyncio.ensure_future(self._send_rows(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((copying, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not copying.done():
                copying.cancel()
        try:
            await copying
        except asyncio.CancelledError:
            raise ClientDisconnect from None

    async def _send_rows(self, send: Send) -> None:
        await self._copy(partial(self._send, send))
        await self._send(send, b"", is_last=True)

    async def _send(self, send: Send, piece: bytes, *, is_last: bool = False) -> None:
        """Send a piece of the body, after the head if it is the first."""
        if self.raw_headers:
            head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            self.raw_headers = []
            await send(head)
        try:
            async with asyncio.timeout(STALLED_SECONDS):  # others wait for the connection
                await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
        except TimeoutError:
            raise ClientDisconnect from None


async def _left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
