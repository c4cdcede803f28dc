"""What goes wrong with the embedded PostgreSQL, as one sentence."""

import re
import shutil
import subprocess
from pathlib import Path

from songbook.db.embedded.account import ADVICE, EmbeddedError


def embedded_error(folder: Path, error: Exception) -> EmbeddedError:
    """Return the sentence about an error of the system or of a program of PostgreSQL."""
    reason, is_full = str(error), False
    if isinstance(error, OSError):
        reason = f"{error.strerror or error}: {error.filename or folder}"
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.output.splitlines() or [reason]
        errors = [line for line in lines if re.search("FATAL|PANIC|ERROR|error:", line)]
        reason = re.sub(r".*(FATAL|PANIC|ERROR): *", "", (errors or lines)[-1])
        is_full = shutil.disk_usage(folder).free < 1_000_000  # too full to log why
    # Linux has the same message for the limits of shared memory
    if is_full or re.search(r"^(?!.*shared memory).*(No space left|quota exceeded)", reason):
        return EmbeddedError(f"The disk of {folder} is full: free some space, or {ADVICE}.")
    return EmbeddedError(f"No PostgreSQL can run in {folder} ({reason}): {ADVICE}.")
