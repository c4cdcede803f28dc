"""Load for one server on 127.0.0.1: wrk when it is installed, else a small client of our own."""

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple
from uuid import uuid4

CONNECTIONS = 32
PATIENCE = 30  # seconds: what an answer may take before the run is given up
FRESH = "{fresh}"  # in a header: becomes what no other request has, of 36 characters as a UUID
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

# Requests in flight when wrk stops are still worked on by the server, so they are counted as sent.
WRK_SCRIPT = """
local messages = %s
local run = "%s"
local threads = {}
sent = 0

function setup(thread) table.insert(threads, thread) end

function request()
  sent = sent + 1
  local message = messages[(sent - 1) %% #messages + 1]
  return (string.gsub(message, "%s", string.format("%%s-%%012d", run, sent)))
end

function done(summary, latency)
  local total = 0
  for _, thread in ipairs(threads) do total = total + thread:get("sent") end
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("\\n[%%d, %%d, %%d, %%d, %%d, %%d]\\n",
    total, summary.requests, errors.status, broken, summary.duration, latency:percentile(99)))
end
"""


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def wire(self) -> str:
        """Write it as it goes over the socket (ASCII only)."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", self.body])


class Tally(NamedTuple):
    """What one run sent, and what came back: `refused` are statuses of 400 and above.

    Of a hundred answers one took longer than `p99` seconds.
    """

    sent: int
    answered: int
    refused: int
    broken: int
    seconds: float
    p99: float


def generator() -> str:
    """Name the load generator that runs here."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def run(port: int, requests: list[Request], seconds: int, connections: int = CONNECTIONS) -> Tally:
    """Send the requests in turn over so many connections for that long."""
    if generator() == "wrk":
        sent, answered, refused, broken, duration, slow = run_wrk(
            port, requests, seconds, connections
        )
        return Tally(sent, answered, refused, broken, duration / 1e6, slow / 1e6)
    messages = [request.wire() for request in requests]
    return asyncio.run(run_client(port, messages, seconds, connections))


def run_wrk(
    port: int, requests: list[Request], seconds: int, connections: int, script: str = ""
) -> list[float]:
    """Have wrk send the requests; return what its script, with what is added to it, tells."""
    # Of ASCII text, what JSON writes as a string Lua reads as the same string.
    texts = ",\n".join(json.dumps(request.wire()) for request in requests)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "requests.lua")
        own = WRK_SCRIPT % ("{" + texts + "}", unused(), FRESH)
        path.write_text(own + script, encoding="ascii")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={PATIENCE}s"]
        command += ["-s", str(path), f"http://127.0.0.1:{port}/"]
        output = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=seconds + PATIENCE
        ).stdout
    told: list[float] = json.loads(output.splitlines()[-1])
    return told


async def run_client(port: int, messages: list[str], seconds: int, connections: int) -> Tally:
    """Send the messages from this process, each connection waiting for its last answer."""
    turns = freshened(messages)
    start = time.perf_counter()
    async with asyncio.timeout(seconds + PATIENCE):
        visits = [visit(port, turns, start + seconds) for _ in range(connections)]
        answers = [answer for found in await asyncio.gather(*visits) for answer in found]
    refused = sum(answer.status >= 400 for answer in answers)
    slow = quantiles([answer.seconds for answer in answers], n=100)[98] if answers[1:] else 0.0
    took = time.perf_counter() - start
    return Tally(len(answers), len(answers), refused, 0, took, slow)


def freshened(messages: list[str]) -> Iterator[bytes]:
    """Give the messages in turn, each as it goes over the socket."""
    run = unused()
    for number, message in enumerate(cycle(messages)):
        yield message.replace(FRESH, f"{run}-{number:012d}").encode("ascii")


def unused() -> str:
    """Return the first four groups of a UUID, which no other run has."""
    return str(uuid4())[:23]


class Answer(NamedTuple):
    """The status of an answer, and the seconds that it took."""

    status: int
    seconds: float


async def visit(port: int, turns: Iterator[bytes], until: float) -> list[Answer]:
    """Ask over one kept-alive connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    try:
        while (asked := time.perf_counter()) < until:
            writer.write(next(turns))
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = LENGTH.search(head)
            if length and status != 304:
                await reader.readexactly(int(length[1]))
            answers.append(Answer(status, time.perf_counter() - asked))
    finally:
        writer.close()
    return answers
