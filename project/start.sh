#!/bin/sh
# Migrates and serves; options are those of `python -m app serve`. It becomes the service, so that signals reach that.
CDPATH='' cd -- "$(dirname -- "$0")" || exit
has_packages='import importlib.util as u; raise SystemExit(not (u.find_spec("uvicorn") and u.find_spec("sqlmodel")))'
for python in python python3 ../.venv/bin/python; do
    if command -v "$python" >/dev/null && "$python" -c "$has_packages" 2>/dev/null; then
        exec "$python" -m app serve --migrate "$@"
    fi
done
echo "start.sh: no Python here has the packages: run make install." >&2
exit 1
