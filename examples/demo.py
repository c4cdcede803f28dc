"""Runs the documents' curl sessions against a service of its own, and compares what they print.

Usage: `make demo`. The service gets a database of its own, with examples/songs.csv and a superuser;
nothing of yours is touched. Exits with 1 when an answer differs from the one in the document.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "project"
START_SECONDS = 60

# Their sessions are with resources that they add: tests run them.
_OWN_RESOURCES = {
    ROOT / "docs" / f"{name}.md"
    for name in ("add-a-resource", "beyond-crud", "fields", "owners", "relations")
}

# Of the settings that a user may have, none changes what the README shows.
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG")


def session(document: str) -> list[tuple[str, str]]:
    """Return the commands of a document's console blocks, each with the output that follows it."""
    steps = []
    for block in re.findall(r"^```console\n(.*?)^```$", document, re.DOTALL | re.MULTILINE):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.split("\n")
            last = next(n for n, line in enumerate(lines) if not line.endswith("\\"))
            steps.append(("\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])))
    return steps


@contextmanager
def service(environment: dict[str, str]) -> Iterator[int]:
    """Serve on a free port with these settings; give the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    server = subprocess.Popen(command, cwd=PROJECT, env=environment)
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", server)
        yield port
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit("The service did not start.")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"The service did not answer within {START_SECONDS} s.")


def run(document: Path, port: int, folder: Path, environment: dict[str, str]) -> int:
    """Run a document's commands against the service on `port`; return how many answers differ."""
    different = 0
    for command, expected in session(document.read_text()):
        print(f"$ {command}")
        here = command.replace("localhost:8004", f"127.0.0.1:{port}")
        done = subprocess.run(
            ["sh", "-c", here],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment,
        )
        print(done.stdout + done.stderr)
        if timeless(done.stdout) != timeless(expected) or done.returncode:
            print(f"{document.name} shows:\n{expected}", file=sys.stderr)
            different += 1
    return different


def timeless(output: str) -> str:
    """Return what was printed, whatever time it took."""
    return re.sub(r"[0-9]+\.[0-9] s\b", "… s", output).strip()


@contextmanager
def files() -> Iterator[Path]:
    """Give a folder beside the examples, as `project` is, for the files that commands write."""
    with tempfile.TemporaryDirectory(prefix="songbook-files-") as folder:
        Path(folder, "examples").symlink_to(ROOT / "examples")
        here = Path(folder, "project")
        here.mkdir()
        yield here


def main() -> None:
    """Load the example data into a new database, and run the sessions."""
    with (
        tempfile.TemporaryDirectory(prefix="songbook-demo-") as folder,
        files() as here,
    ):
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment = {**kept, "POSTGRES_DATA": folder, "ENV_FILE": os.devnull}
        with service(environment) as port:
            songs = str(ROOT / "examples" / "songs.csv")
            for command, typed in (
                (["import", "songs", songs], ""),
                (["create-superuser", "ada", "ada@example.org"], "correct horse"),
            ):
                app = [sys.executable, "-m", "app", *command]
                subprocess.run(
                    app,
                    cwd=PROJECT,
                    env=environment,
                    input=typed,
                    text=True,
                    check=True,
                )
            documents = [ROOT / "README.md", *sorted({*ROOT.glob("docs/*.md")} - _OWN_RESOURCES)]
            path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
            typing = {**environment, "PATH": path, "PYTHONPATH": str(PROJECT)}
            different = sum(run(document, port, here, typing) for document in documents)
    if different:
        sys.exit(f"{different} answers differ from the documents.")
    print("Every answer is the one of the document.")


if __name__ == "__main__":
    main()
