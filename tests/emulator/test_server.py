from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from stewrd_integrations.emulator import Emulator, Settings

from .conftest import client, sse


def create(http: httpx.Client) -> str:
    return str(http.post("/v1/sessions").raise_for_status().json()["id"])


def say(http: httpx.Client, session: str, text: str = "hi", **more: Any) -> httpx.Response:
    return http.post(f"/v1/sessions/{session}/messages", json={"message": text, **more})


def test_a_conversation_over_the_socket(emulator: Emulator, http: httpx.Client) -> None:
    session = create(http)
    say(http, session, "My name is Ada.")
    assert say(http, session, "Who am I?").json()["message"] == "Your name is Ada."
    assert emulator.heard(session)[-1] == ("assistant", "Your name is Ada.")
    assert emulator.context(session).messages[0].text == "My name is Ada."
    assert emulator.sessions[session].messages == 4
    assert (emulator.active_sessions, emulator.credits, emulator.over_limit) == (
        1,
        998,
        0,
    )
    assert [run.answer for run in emulator.runs][1:] == ["Your name is Ada."]
    assert (len(emulator.requests), emulator.refused, emulator.overlaps) == (3, [], [])


def asked_for_outputs(http: httpx.Client) -> tuple[str, dict[str, Any]]:
    """A run that waits: the path for its outputs, and a body with them."""
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tool = {"name": "twice", "description": "doubles", "parameters": parameters}
    asked = http.post("/v1/agent", json={"message": "twice(4)", "tools": [tool]}).json()
    outputs = [{"tool_call_id": call["id"], "output": "8"} for call in asked["tool_calls"]]
    body = {"tool_outputs": outputs, "_compute_instance": asked["_compute_instance"]}
    return f"/v1/agent/{asked['id']}/tool-outputs", body


def test_tools_over_the_socket(emulator: Emulator, http: httpx.Client) -> None:
    path, body = asked_for_outputs(http)
    assert emulator.waiting_runs == [path.split("/")[3]]
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["message"]) == (200, "The tool twice answered: 8")
    assert http.post(path, json=body).json()["error"]["code"] == "context_expired"
    assert [run.outputs for run in emulator.runs][1][0].output == "8"


def test_runs_expire_by_time_and_by_hand(emulator: Emulator, http: httpx.Client) -> None:
    late, by_hand, all_of_them = (asked_for_outputs(http) for _ in range(3))
    emulator.expire_run(by_hand[0].split("/")[3])
    assert http.post(by_hand[0], json=by_hand[1]).status_code == 404
    emulator.advance(301)
    assert http.post(late[0], json=late[1]).status_code == 404
    path, body = asked_for_outputs(http)
    emulator.expire_run()
    assert http.post(path, json=body).status_code == 404
    with pytest.raises(KeyError):
        emulator.expire_run(all_of_them[0].split("/")[3])


def test_tool_outputs_that_are_cut_or_hung_up_on(emulator: Emulator, http: httpx.Client) -> None:
    path, body = asked_for_outputs(http)
    emulator.fail_next("hang_up", on="tool_outputs")
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(path, json=body)
    assert len(emulator.runs) == 1
    emulator.fail_next("cut", on="tool_outputs")
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(path, json=body)
    assert len(emulator.runs) == 2
    assert http.post(path, json=body).status_code == 404


def test_time_is_advanced(emulator: Emulator, http: httpx.Client) -> None:
    session = create(http)
    emulator.advance(1799)
    assert say(http, session).status_code == 200
    emulator.advance(1801)
    assert say(http, session).status_code == 410
    with pytest.raises(ValueError, match="backwards"):
        emulator.advance(-1)


def test_sessions_are_expired_by_hand(emulator: Emulator, http: httpx.Client) -> None:
    one, two = create(http), create(http)
    emulator.expire(one)
    assert (say(http, one).status_code, say(http, two).status_code) == (410, 200)
    emulator.expire()
    assert say(http, two).status_code == 410


def test_a_stream_over_the_socket(http: httpx.Client) -> None:
    with http.stream("POST", "/v1/agent", json={"message": "Thanks", "stream": True}) as got:
        assert got.headers["content-type"] == "text/event-stream"
        events = sse(got.read())
    assert "".join(data["text"] for name, data in events if name == "token") == "You are welcome."


def test_other_methods_and_paths(http: httpx.Client) -> None:
    assert http.get("/v1/sessions").status_code == 405
    assert http.delete("/v1/sessions/x").status_code == 404


ERRORS = ["error", "html", "empty"]


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_over_the_socket(emulator: Emulator, http: httpx.Client, kind: Any) -> None:
    emulator.fail_next(kind, on="send", status=503, retry_after=3, message="later", times=2)
    for stream in (False, True):
        got = http.post("/v1/agent", json={"message": "a", "stream": stream})
        assert (got.status_code, got.headers["retry-after"]) == (503, "3")
        assert ("later" in got.text, "<html>" in got.text) == (
            kind == "error",
            kind == "html",
        )
    assert emulator.pending_faults == 0


@pytest.mark.parametrize("after", [False, True])
def test_a_hang_up_is_a_protocol_error(emulator: Emulator, http: httpx.Client, after: bool) -> None:
    session = create(http)
    emulator.fail_next("hang_up", after=after)
    with pytest.raises(httpx.RemoteProtocolError):
        say(http, session)
    assert len(emulator.heard(session)) == 2 * after
    assert say(http, session).status_code == 200
    assert emulator.overlaps == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_is_a_protocol_error(
    emulator: Emulator, http: httpx.Client, stream: bool
) -> None:
    session = create(http)
    emulator.fail_next("cut", chunks=2)
    raw = b""
    with http.stream(
        "POST",
        f"/v1/sessions/{session}/messages",
        json={"message": "a", "stream": stream},
    ) as got:
        assert got.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            for piece in got.iter_raw():
                raw += piece
    assert raw
    if stream:
        assert [name for name, _ in sse(raw)] == ["token"] * 2
    assert len(emulator.heard(session)) == 2
    assert say(http, session).status_code == 200


def test_a_cut_create(emulator: Emulator, http: httpx.Client) -> None:
    emulator.fail_next("cut", on="create")
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/v1/sessions")


def test_garbage_and_wrong_shape(emulator: Emulator, http: httpx.Client) -> None:
    emulator.fail_next("garbage", on="agent")
    with pytest.raises(ValueError, match="decode"):
        http.post("/v1/agent", json={"message": "a"}).raise_for_status().json()
    emulator.fail_next("wrong_shape", on="create")
    assert "id" not in http.post("/v1/sessions").json()
    emulator.fail_next("wrong_shape", on="agent", shape="list")
    assert isinstance(http.post("/v1/agent", json={"message": "a"}).json(), list)


def test_a_slow_answer_times_out_and_its_end_is_noticed(emulator: Emulator) -> None:
    with client(emulator, timeout=0.1) as http:
        session = create(http)
        emulator.fail_next("slow")
        with pytest.raises(httpx.ReadTimeout):
            say(http, session)
        time.sleep(0.05)
        assert say(http, session).status_code == 200
    assert len(emulator.heard(session)) == 4
    assert emulator.overlaps == []


def test_a_stream_that_stalls(emulator: Emulator) -> None:
    emulator.fail_next("slow", on="agent", chunks=1)
    raw = b""
    body = {"message": "a", "stream": True}
    with (
        client(emulator, timeout=0.1) as http,
        http.stream("POST", "/v1/agent", json=body) as got,
        pytest.raises(httpx.ReadTimeout),
    ):
        for piece in got.iter_raw():
            raw += piece
    assert [name for name, _ in sse(raw)] == ["token"]


def test_streams_that_go_wrong(emulator: Emulator, http: httpx.Client) -> None:
    body = {"message": "a", "stream": True}
    emulator.fail_next("stream_error", on="agent", code="compute_error", chunks=0)
    assert [name for name, _ in sse(http.post("/v1/agent", json=body).content)] == ["error"]
    emulator.fail_next("no_done", on="agent")
    assert "done" not in [name for name, _ in sse(http.post("/v1/agent", json=body).content)]
    emulator.fail_next("json_instead_of_stream", on="agent")
    assert http.post("/v1/agent", json=body).json()["status"] == "completed"


def test_expire_next(emulator: Emulator, http: httpx.Client) -> None:
    session = create(http)
    emulator.fail_next("expire")
    assert say(http, session).status_code == 410


def test_wrong_orders(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="kind"):
        emulator.fail_next("explode")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        emulator.fail_next("error", when="now")  # type: ignore[call-arg]


def test_delays_are_real() -> None:
    with (
        Emulator(latency=0.1, chunk_delay=0.03, token_split="whole", extra_fields=False) as slow,
        client(slow) as http,
    ):
        start = time.monotonic()
        http.post("/v1/agent", json={"message": "a", "stream": True})
        assert time.monotonic() - start >= 0.13


def test_requests_at_once_on_one_session() -> None:
    meet = threading.Barrier(2, timeout=5)

    def agent(context: object) -> str:
        meet.wait()
        return "ok"

    with Emulator(agent=agent) as emulator, client(emulator) as http:
        session = create(http)
        threads = [threading.Thread(target=say, args=(http, session)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [overlap] = emulator.overlaps
        assert overlap.session_id == session


async def test_it_serves_async_code_of_the_same_loop(emulator: Emulator) -> None:
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    async with httpx.AsyncClient(base_url=emulator.url, headers=headers, trust_env=False) as http:
        posts = [http.post("/v1/agent", json={"message": f"{n}"}) for n in range(20)]
        answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {200}
    assert len(emulator.runs) == 20


def test_an_abandoned_stream_ends_on_the_server() -> None:
    with Emulator(chunk_delay=5) as emulator, client(emulator) as http:
        session = create(http)
        path = f"/v1/sessions/{session}/messages"
        with http.stream("POST", path, json={"message": "a", "stream": True}) as got:
            next(got.iter_raw())
        time.sleep(0.05)
        assert say(http, session).status_code == 200
        assert emulator.overlaps == []


def test_start_and_stop_are_quick_even_with_open_connections() -> None:
    emulator = Emulator(latency=60)
    begin = time.monotonic()
    emulator.start()
    assert emulator.start() is emulator
    assert time.monotonic() - begin < 0.3
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            with client(emulator, timeout=30) as http:
                http.post("/v1/agent", json={"message": "a"})
        except httpx.HTTPError as error:
            failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not emulator.runs:
        time.sleep(0.01)
    begin = time.monotonic()
    emulator.stop()
    emulator.stop()
    assert time.monotonic() - begin < 0.3
    waiting.join(timeout=5)
    assert len(failures) == 1
    assert len(emulator.runs) == 1


def test_a_client_that_leaves_in_the_midst_of_its_request(
    emulator: Emulator, http: httpx.Client
) -> None:
    port = int(emulator.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"POST /v1/agent HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
    assert http.post("/v1/agent", json={"message": "a"}).status_code == 200
    assert len(emulator.requests) == 1


def test_the_port_is_free_again_and_can_be_chosen() -> None:
    with Emulator() as one:
        port = int(one.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            Emulator(port=port).start()
    with Emulator(port=port) as two:
        assert two.url == one.url
        assert two.api_key != one.api_key


def test_keys_and_addresses() -> None:
    assert Emulator().api_key.startswith("sk-stw_emulator_")
    assert Emulator(api_key="sk-stw_mine").api_key == "sk-stw_mine"
    assert Emulator(port=99, host="::1").url == "http://[::1]:99"
    with pytest.raises(RuntimeError, match="started"):
        _ = Emulator().url


def test_settings_come_as_a_record_or_as_arguments() -> None:
    assert Emulator(Settings(max_sessions=3), history_limit=6).settings == Settings(
        max_sessions=3, history_limit=6
    )
    with pytest.raises(TypeError):
        Emulator(max_session=3)


def test_no_rate_limit_unless_asked_for(http: httpx.Client) -> None:
    assert {http.post("/v1/agent", json={"message": "a"}).status_code for _ in range(61)} == {200}
    with Emulator(rate_limit=1) as strict, client(strict) as other:
        got = [other.post("/v1/agent", json={"message": "a"}).status_code for _ in range(2)]
    assert got == [200, 429]
