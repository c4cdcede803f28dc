"""uvicorn, the HTTP/1.1 protocol and the log."""

from songbook.server.listeners import check_address as check_address
from songbook.server.run import serve as serve
from songbook.server.systemd import inherited_sockets as inherited_sockets
