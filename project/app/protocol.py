"""HTTP/1.1 on a connection, where uvicorn's own reading of it falls short."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Answers a client that has sent its request whole and then closed its side of the connection.

    uvicorn drops the answer; a half-closed connection may still receive (RFC 9112, section 9.6).
    """

    def eof_received(self) -> bool:  # type: ignore[override]  # what asyncio asks for
        """Keep the connection for the answer that is being made, and no longer."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True
