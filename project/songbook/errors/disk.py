"""Errors of the disk that holds temporary files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from songbook.errors.problems import InsufficientStorage, ServiceUnavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise InsufficientStorage for a full disk, and ServiceUnavailable for its other errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InsufficientStorage from error
        raise ServiceUnavailable(
            "Temporary files cannot be written at the moment: try again."
        ) from error
