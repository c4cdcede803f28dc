"""Store the files of Swagger UI, which `npm ci` has put beside this script, in the library."""

from gzip import compress
from pathlib import Path

PACKAGE = Path(__file__).parent / "node_modules" / "swagger-ui-dist"
STATIC = Path(__file__).parents[2] / "project" / "songbook" / "openapi" / "static"
COMPRESSED = ("swagger-ui-bundle.js", "swagger-ui.css")
TEXTS = ("swagger-ui-bundle.js.LICENSE.txt", "LICENSE", "NOTICE")

for name in COMPRESSED:
    (STATIC / f"{name}.gz").write_bytes(compress((PACKAGE / name).read_bytes(), mtime=0))
for name in TEXTS:
    (STATIC / name).write_bytes((PACKAGE / name).read_bytes())
