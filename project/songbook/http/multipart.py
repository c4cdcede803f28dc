"""Multipart bodies (RFC 7578): files, on disk beyond 64 KiB each, and fields."""

import json
from collections.abc import AsyncGenerator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from songbook.errors import BadRequest, disk_errors, from_pydantic

_MAX_FILES = 10
_MAX_FIELDS = 100
_MAX_FIELD = 64 * 1024
"""The largest field, in bytes: fields are held in memory."""

_FORBIDDEN = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
_REPEATED = {"type": "repeated", "msg": "Occurs more than once"}


class Parts(NamedTuple):
    """The parts of a body, and a digest that is the same for another boundary."""

    form: FormData
    digest: bytes


class _Parser(MultiPartParser):
    """Starlette's parser with a digest of the parts."""

    spool_max_size = 64 * 1024

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None]) -> None:
        super().__init__(
            headers,
            self._whole(stream),
            max_files=_MAX_FILES,
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_FIELD,
        )
        self._hashes: list[Any] = []
        self._is_complete = False

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._hashes.append(sha256())

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        super().on_part_data(data, start, end)
        self._hashes[-1].update(memoryview(data)[start:end])

    def on_end(self) -> None:
        super().on_end()
        self._is_complete = True

    async def _whole(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Iterate over the chunks. Raises MultiPartException if they end within a part."""
        async for chunk in chunks:
            yield chunk
        if not self._is_complete:
            raise MultiPartException("Its last boundary is missing.")

    def digest(self) -> bytes:
        """Return the SHA-256 of the names, the types and the contents of all parts."""
        parts = []
        for (name, part), content in zip(self.items, self._hashes, strict=True):
            file = (part.filename, part.content_type) if isinstance(part, UploadFile) else None
            parts.append((name, file, content.hexdigest()))
        return sha256(json.dumps(parts).encode()).digest()


async def parse_multipart(headers: Headers, stream: AsyncGenerator[bytes, None]) -> Parts:
    """Parse a body. Its files are to be closed. Raises BadRequest and InsufficientStorage."""
    parser = _Parser(headers, stream)
    try:
        with disk_errors():
            form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The body is not valid multipart/form-data: {error.message}") from None
    return Parts(form, parser.digest())


def check_parts(form: FormData, names: Mapping[str, bool]) -> None:
    """Raise UnprocessableContent for parts other than `names`, and those that may not repeat."""
    sent = [name for name, _ in form.multi_items()]
    unknown = [{**_FORBIDDEN, "loc": (name,)} for name in dict.fromkeys(sent) if name not in names]
    single = [name for name, is_many in names.items() if not is_many]
    repeated = [{**_REPEATED, "loc": (name,)} for name in single if sent.count(name) > 1]
    if errors := [*unknown, *repeated]:
        raise from_pydantic(errors, "body")
