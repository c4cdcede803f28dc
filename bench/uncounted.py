"""Run the service without its metrics: what counting costs is the difference."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from app.__main__ import cli
from songbook.http import HeadersMiddleware
from songbook.metrics import Counter, Histogram


def nothing(*_: object, **__: object) -> None:
    """Do not count."""


Counter.inc = Histogram.observe = nothing  # type: ignore[method-assign,assignment]
if os.environ["ACCESS_LOG"] == "false":
    HeadersMiddleware._measure = nothing  # type: ignore[method-assign,assignment]  # noqa: SLF001

if __name__ == "__main__":
    cli()
