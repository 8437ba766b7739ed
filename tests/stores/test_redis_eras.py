"""Bindings of another run of the server, or of another line of its history, are void.

Such a server may bring back what was taken before. Redis itself does bring it back in each of
these tests, and the store does not.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import redis

from stewrd_integrations.errors import StoreError
from stewrd_integrations.stores.redis import RedisStore
from tests.redis_server import RedisServer, require

from .redis_stores import COLOURS, LONG, PATIENCE, binding, coloured, digest, fill

require()


def connected(url: str) -> AbstractContextManager[Any]:
    """A client of the tests' own, which looks at what is there."""
    return redis.Redis.from_url(url)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_restart_from_an_old_dump_brings_no_binding_back(colour: str) -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, timeout=PATIENCE)
        calls = coloured(store, colour)
        fill(calls)
        calls.put(binding("2", "k", "k2"), LONG)
        with connected(server.url) as raw:
            raw.save()
        assert calls.take(("k",)) == binding("2", "k", "k2")
        server.kill()
        server.start()
        with connected(server.url) as raw:
            assert len(raw.keys("stewrd:{default}:b:*")) == 2, "Redis itself brings them back"
            assert store.inventory().bindings == ()
            assert calls.take(("k2",), True) is None
            assert calls.peek(("k",)) == []
            assert raw.keys("stewrd:{default}:[bk]:*") == []
        assert set(calls.slots("pool")) == {"slot"}
        assert calls.note("n") == {"a": 1}
        assert calls.load("conversation") == ["line"]
        calls.put(binding("3", "k"), LONG)
        assert calls.take(("k",)) == binding("3", "k")


def follow(follower: Any, leader: RedisServer) -> None:
    """Make a replica of a server, and wait until it has all that its leader has."""
    follower.execute_command("REPLICAOF", "127.0.0.1", leader.port)
    until = time.monotonic() + PATIENCE
    while follower.info("replication")["master_link_status"] != "up":
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_failover_to_a_replica_that_lagged_brings_no_binding_back() -> None:
    with (
        RedisServer("--repl-diskless-sync-delay", "0") as one,
        RedisServer() as two,
        connected(two.url) as raw_two,
    ):
        follow(raw_two, one)
        before, after = (RedisStore(each.url, timeout=PATIENCE) for each in (one, two))
        before.put(binding("1", "k"), LONG)
        while not raw_two.keys("stewrd:{default}:k:*"):
            time.sleep(0.01)
        with pytest.raises(StoreError, match="only be read"):
            after.put(binding("2", "k"), LONG)
        raw_two.execute_command("REPLICAOF", "NO", "ONE")
        assert before.take(("k",)) == binding("1", "k")
        assert raw_two.keys("stewrd:{default}:b:*"), "the replica has not heard of it"
        assert after.take(("k",)) is None


def test_a_failover_and_back_to_the_same_process_brings_no_binding_back() -> None:
    with (
        RedisServer("--repl-diskless-sync-delay", "0") as one,
        RedisServer("--repl-diskless-sync-delay", "0") as two,
        connected(one.url) as raw_one,
        connected(two.url) as raw_two,
    ):
        follow(raw_two, one)
        store = RedisStore(one.url, timeout=PATIENCE)
        store.put(binding("1", "k"), LONG)
        run_id = raw_one.info("server")["run_id"]
        while not raw_two.keys("stewrd:{default}:k:*"):
            time.sleep(0.01)
        raw_two.execute_command("REPLICAOF", "NO", "ONE")  # the network is cut
        assert store.take(("k",)) == binding("1", "k")
        follow(raw_one, two)  # it is mended, and the old leader follows
        raw_one.execute_command("REPLICAOF", "NO", "ONE")
        assert raw_one.info("server")["run_id"] == run_id
        assert raw_one.keys("stewrd:{default}:b:*"), "Redis itself brings it back"
        assert store.take(("k",)) is None


def attach(server: RedisServer) -> None:
    """What `redis-cli --rdb` does, and the first half of what a replica does; then it goes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as line:
        line.sendall(b"SYNC\r\n")
        heard = b""
        while b"$" not in heard:  # empty lines keep it waiting until the dump begins
            some = line.recv(65_536)
            assert some
            heard += some


def history(raw: Any) -> str:
    return str(raw.info("replication")["master_replid"])


def let_it_save(raw: Any) -> None:
    until = time.monotonic() + PATIENCE
    while raw.info("persistence")["rdb_bgsave_in_progress"]:
        assert time.monotonic() < until
        time.sleep(0.02)


AT_ONCE = ("--repl-diskless-sync-delay", "0")


@pytest.mark.parametrize("colour", COLOURS)
def test_the_first_replica_begins_another_history(colour: str) -> None:
    with RedisServer(*AT_ONCE) as server, connected(server.url) as raw:
        store = RedisStore(server.url, timeout=PATIENCE)
        calls = coloured(store, colour)
        fill(calls)
        before = history(raw)
        attach(server)
        assert history(raw) != before, "so does Redis itself"
        assert calls.peek(("k",)) == []
        assert store.inventory().void == 0, "whoever looked for them has cleared them away"
        assert calls.take(("k",)) is None
        assert set(calls.slots("pool")) == {"slot"}, "the session that was lost keeps its slot"
        assert calls.load("conversation") == ["line"]
        calls.put(binding("2", "k"), LONG)
        assert calls.take(("k",)) == binding("2", "k")


def test_where_a_backlog_is_kept_a_replica_that_comes_and_goes_costs_nothing() -> None:
    with (
        RedisServer(*AT_ONCE, "--repl-backlog-ttl", "0") as server,
        RedisServer() as two,
        connected(server.url) as raw,
        connected(two.url) as raw_two,
    ):
        attach(server)
        store = RedisStore(server.url, timeout=PATIENCE)
        store.put(binding("1", "k"), LONG)
        attach(server)
        follow(raw_two, server)
        raw_two.execute_command("REPLICAOF", "NO", "ONE")
        let_it_save(raw)  # the dump for the replica
        raw.bgsave()
        let_it_save(raw)
        time.sleep(1.5)  # longer than the one second of the next test
        assert store.take(("k",)) == binding("1", "k")


def test_a_backlog_that_is_freed_begins_another_history() -> None:
    with (
        RedisServer(*AT_ONCE, "--repl-backlog-ttl", "1") as server,
        connected(server.url) as raw,
    ):
        attach(server)
        store = RedisStore(server.url, timeout=PATIENCE)
        store.put(binding("1", "k"), LONG)
        assert store.peek(("k",)) == [binding("1", "k")]
        before, until = history(raw), time.monotonic() + PATIENCE
        while history(raw) == before:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert store.inventory().bindings == ()
        assert store.inventory().void == 1
        assert store.take(("k",)) is None


@pytest.mark.parametrize("rights", ["+@all -info", "+@all -@dangerous"])
def test_without_info_nothing_is_guessed(rights: str) -> None:
    with RedisServer() as server, connected(server.url) as raw:
        raw.execute_command("ACL", "SETUSER", "blind", "on", ">sesame", "~*", *rights.split())
        url = server.url.replace("redis://", "redis://blind:sesame@")
        store = RedisStore(url, timeout=PATIENCE)
        calls: list[Callable[[], Any]] = [
            lambda: store.put(binding("1", "k"), LONG),
            lambda: store.take(("k",)),
            lambda: store.peek(("k",)),
            store.inventory,
        ]
        for call in calls:
            with pytest.raises(StoreError, match=r"permit this user INFO.*\+info") as caught:
                call()
            assert "blind" not in str(caught.value)
        assert raw.keys("stewrd:{default}:b:*") == []
        assert store.occupy("pool", "slot", 1, LONG), "what needs no INFO works"
        store.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_thousands_of_dead_bindings_are_cleared_away_in_steps(colour: str) -> None:
    with RedisServer() as server, connected(server.url) as raw:
        calls = coloured(RedisStore(server.url, timeout=PATIENCE), colour)
        for number in range(2_500):
            raw.zadd(f"stewrd:{{default}}:k:{digest('k')}", {f"dead-{number}": number + 10})
        calls.put(binding("1", "other"), LONG)
        raw.config_resetstat()
        assert calls.take(("k",)) is None
        assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] >= 3
        assert raw.keys(f"stewrd:{{default}}:k:{digest('k')}") == []
