"""What can befall a Redis while everybody is at work."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import redis

from tests.redis_server import RedisServer


class Trouble:
    """Kills a server, brings it back empty or from an old dump, or stops its clock for a while."""

    def __init__(self, server: RedisServer, seed: int) -> None:
        self._server = server
        self._chance = random.Random(seed)  # noqa: S311
        self._dumped = False
        self.done: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self._server.url

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in self.done.items())

    def __call__(self) -> None:
        """One misfortune, and some peace before it."""
        time.sleep(self._chance.uniform(0.3, 1.2))
        what = self._chance.choice((self.dump, self.dump, self.lose, self.go_back, self.pause))
        what()
        self.done[what.__name__] += 1

    def dump(self) -> None:
        """Write what there is to the disk; it is the old dump of another day."""
        with self._client() as client:
            client.save()
        self._dumped = True

    def lose(self) -> None:
        """A crash, and nothing is left."""
        with self._client() as client:
            folder = str(client.config_get("dir")["dir"])
        self._server.kill()
        (Path(folder) / "dump.rdb").unlink(missing_ok=True)
        self._dumped = False
        self._server.start()

    def go_back(self) -> None:
        """A crash, and everything is as it was when the dump was written."""
        if not self._dumped:
            self.dump()
            time.sleep(self._chance.uniform(0.2, 0.6))
        self._server.kill()
        time.sleep(self._chance.uniform(0.0, 0.3))
        self._server.start()

    def pause(self) -> None:
        """Nothing is answered, and then everything is done that was asked meanwhile."""
        self._server.pause()
        time.sleep(self._chance.uniform(0.1, 1.6))
        self._server.resume()

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self._server.url, socket_timeout=10.0)
