"""The least that a Redis user may be given: the line of the documentation, no more and no less."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cryptography.fernet import Fernet

from stewrd_integrations.stores import Store, redis_scripts
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.redis_scripts import Script
from stewrd_integrations.testing.bindings import (
    PeekRules,
    PuttingRules,
    TakingRules,
    UniqueRules,
)
from stewrd_integrations.testing.inventories import InventoryRules
from stewrd_integrations.testing.notes import NoteRules
from stewrd_integrations.testing.slots import SlotRules
from stewrd_integrations.testing.transcripts import TranscriptSuite
from tests.redis_server import RedisServer, require

from .redis_stores import LONG, PATIENCE, binding, digest, fill

require()

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"


def rights() -> list[str]:
    """The words of the page's line after the password."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"ACL SETUSER app on >password (~[^`]+)", text)
    assert found is not None
    return found[1].split()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def least(server: RedisServer, namespace: str, *more: str) -> str:
    """The URL of a new user who has just these rights, in this namespace."""
    words = [word.replace("default", namespace) for word in rights()]
    with redis.Redis.from_url(server.url) as raw:
        raw.execute_command("ACL", "SETUSER", namespace, "reset", "on", ">sesame", *words, *more)
    return server.url.replace("redis://", f"redis://{namespace}:sesame@")


class TestWithTheLeastRights(
    TakingRules,
    UniqueRules,
    PeekRules,
    PuttingRules,
    SlotRules,
    NoteRules,
    TranscriptSuite,
    InventoryRules,
):
    @pytest.fixture
    def store(self, server: RedisServer) -> Store:
        namespace = uuid.uuid4().hex
        return RedisStore(least(server, namespace), namespace=namespace, timeout=PATIENCE)


def test_the_rest_needs_no_more_rights(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    url, start = least(server, namespace), f"stewrd:{{{namespace}}}:"
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    store = RedisStore(
        url, namespace=namespace, encryption_key=keys, transcript_ttl=LONG, timeout=PATIENCE
    )
    fill(store)
    store.put(binding("2", "k"), LONG)
    with redis.Redis.from_url(server.url) as raw:
        raw.script_flush()
        raw.zadd(f"{start}k:{digest('k')}", {"dead": 100})
    assert store.reencrypt() == 1
    assert store.take(("k",)) == binding("2", "k")
    with redis.Redis.from_url(server.url) as raw:
        raw.delete(f"{start}schema")
        raw.lpush(f"{start}schema", "of something else")
    with pytest.raises(Exception, match="a schema key that is not ours"):
        store.take(("k",))
    store.close()


def test_none_of_the_rights_is_idle() -> None:
    scripts = [each.text for each in vars(redis_scripts).values() if isinstance(each, Script)]
    asked = {word.lower() for text in scripts for word in re.findall(r"call\('([A-Z]+)'", text)}
    beside = {"eval", "evalsha", "scan"}
    assert {word[1:] for word in rights()[1:]} == asked | beside
    assert rights()[0] == "~stewrd:{default}:*"


def test_two_settings_of_the_url_need_one_right_more_each(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    url = least(server, namespace, "+select", "+ping")
    url = f"{url.removesuffix('0')}1?health_check_interval=1&socket_keepalive=true"
    store = RedisStore(url, namespace=namespace, timeout=PATIENCE)
    fill(store)
    assert store.inventory().notes == 1
    store.close()


def test_another_namespace_is_out_of_reach(server: RedisServer) -> None:
    store = RedisStore(least(server, uuid.uuid4().hex), timeout=PATIENCE)
    with pytest.raises(Exception, match=r"not permit this user enough.*Redis in production"):
        store.note("n", dict)
    store.close()
