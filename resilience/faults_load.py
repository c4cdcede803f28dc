"""The load of a round: clients in a closed loop that create, read, list and increment songs."""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterator
from urllib.parse import urlsplit

from faults_client import ETAG, NEXT, Answer, Client, Outcome
from history import History, Row

PAUSE = 0.05  # seconds before a client asks again after a request that failed
FINISH = 60  # seconds until a keyed create must have been acknowledged after the end of the load
COUNTER = "counter"  # the artist of the rows that are incremented
MAX_YEAR = 9000


class Load:
    """Clients of one service. Sabotaged, they retry without the key."""

    def __init__(
        self, port: int, history: History, settled: float, *, keeps_keys: bool = True
    ) -> None:
        self._port = port
        self._settled = settled
        self._history = history
        self._keeps_keys = keeps_keys
        self._fresh: deque[str] = deque(maxlen=256)
        self._stopping = False
        self._random = random.Random(history.run)
        self.healed_at: float | None = None
        """When the fault ended (time.monotonic)."""
        self.outcomes: Counter[Outcome] = Counter()
        self.breaches: Counter[str] = Counter()
        self.longest = 0.0
        self.replays = 0
        self.failed_late = 0
        """Requests that failed although they began later after the fault than they may."""
        self.recovery: float | None = None
        """Seconds from the end of the fault to the first acknowledged write that began later."""

    @property
    def requests(self) -> int:
        """The number of requests that were sent."""
        return sum(self.outcomes.values()) - self.outcomes[Outcome.REFUSED]

    def heal(self) -> None:
        """Note that the fault has ended, the first time."""
        self.healed_at = self.healed_at or time.monotonic()

    async def run(self, connections: int) -> None:
        """Ask until `stop` is called."""
        async with asyncio.TaskGroup() as group:
            for number in range(connections):
                group.create_task(self._visit(number))

    def stop(self) -> None:
        """Let each client finish its request; keyed creates are retried to their end."""
        self._stopping = True

    async def _visit(self, number: int) -> None:
        client = Client(self._port)
        works = [
            *[self._create] * 9,
            *[self._create_keyed] * 5,
            *[self._read] * 4,
            self._list,
            self._increment,
        ]
        await asyncio.sleep(number * 0.001)
        while not self._stopping:
            await self._random.choice(works)(client)
        client.close()

    async def _ask(
        self,
        client: Client,
        method: str,
        path: str,
        value: object = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask, count the outcome, and pause if it is none that the client wants."""
        began = time.monotonic()
        answer = await client.ask(method, path, value, headers)
        ended = time.monotonic()
        self.longest = max(self.longest, ended - began)
        self.outcomes[answer.outcome] += 1
        if answer.breach:
            self.breaches[answer.breach] += 1
        healed_at = self.healed_at
        if answer.outcome is Outcome.OK:
            is_first = self.recovery is None and method != "GET"
            if healed_at and began >= healed_at and is_first:
                self.recovery = ended - healed_at
        elif answer.outcome is not Outcome.CONFLICT:
            if healed_at and began > healed_at + self._settled:
                self.failed_late += 1
            await asyncio.sleep(PAUSE if answer.outcome is not Outcome.REFUSED else 4 * PAUSE)
        return answer

    async def _create(self, client: Client) -> None:
        name = self._history.invoke()
        answer = await self._ask(client, "POST", "/songs", {"name": name, "artist": "unkeyed"})
        if answer.outcome is Outcome.OK:
            self._acknowledge(name, answer)
        elif answer.outcome is not Outcome.UNKNOWN:
            self._history.failed.add(name)

    async def _create_keyed(self, client: Client) -> None:
        """Create with a key, retried until it is acknowledged."""
        name = self._history.invoke()
        headers = {"Idempotency-Key": name}
        given_up: float | None = None
        while True:
            song = {"name": name, "artist": "keyed"}
            answer = await self._ask(client, "POST", "/songs", song, headers)
            if answer.outcome is Outcome.OK:
                self._acknowledge(name, answer)
                self.replays += answer.is_replayed
                return
            if not self._keeps_keys:
                headers = {}
            if self._stopping:
                given_up = given_up or time.monotonic() + FINISH
                if time.monotonic() > given_up:
                    self.breaches["a keyed create was never acknowledged"] += 1
                    return

    def _acknowledge(self, name: str, answer: Answer) -> None:
        self._history.acknowledged[name] = answer.json()["id"]
        self._fresh.append(name)

    async def _read(self, client: Client) -> None:
        """Read a song that was acknowledged, mostly on another connection, a moment ago."""
        if not self._fresh:
            await asyncio.sleep(0)
            return
        name = self._fresh.pop()
        answer = await self._ask(client, "GET", f"/songs/{self._history.acknowledged[name]}")
        is_gone = answer.status == 404
        if is_gone or (answer.outcome is Outcome.OK and answer.json()["name"] != name):
            self._history.stale.add(name)

    async def _list(self, client: Client) -> None:
        acknowledged = self._fresh[-1] if self._fresh else None
        answer = await self._ask(client, "GET", "/songs?sort=-id&limit=1000")
        if acknowledged and answer.outcome is Outcome.OK:
            songs = answer.json()
            told = self._history.acknowledged[acknowledged]
            ids = {song["id"] for song in songs}
            if not ids or (min(ids) <= told and told not in ids):
                self._history.stale.add(acknowledged)

    async def _increment(self, client: Client) -> None:
        """Read the number of a counter and write the next one, if nobody else did."""
        counter, counting = self._random.choice(list(self._history.counters.items()))
        found = await self._ask(client, "GET", f"/songs/{counter}")
        if found.outcome is not Outcome.OK or found.json()["year"] > MAX_YEAR:
            return
        tag = ETAG.search(found.head)
        assert tag
        number = found.json()["year"] + 1
        headers = {"If-Match": tag[1].decode()}
        answer = await self._ask(client, "PATCH", f"/songs/{counter}", {"year": number}, headers)
        if answer.outcome is Outcome.OK:
            counting.acknowledged.append(number)
        elif answer.outcome is Outcome.UNKNOWN:
            counting.unknown += 1


async def walk(port: int) -> list[Row]:
    """Return all rows that are no counters, as the pages of the list show them."""
    client, path, rows = Client(port), "/songs?limit=1000", []
    while path:
        answer = await client.ask("GET", path)
        if answer.outcome is not Outcome.OK:
            raise SystemExit(f"GET {path} was answered {answer.status}: {answer.body!r}")
        rows += list(rows_of(answer))
        link = NEXT.search(answer.head)
        url = urlsplit(link[1].decode()) if link else None
        path = f"{url.path}?{url.query}" if url else ""
    client.close()
    return rows


def rows_of(answer: Answer) -> Iterator[Row]:
    """Give the rows of a page that are no counters."""
    for song in answer.json():
        if song["artist"] != COUNTER:
            yield Row(song["id"], song["name"])
