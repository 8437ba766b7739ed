from __future__ import annotations

import signal
import socket
import subprocess
import sys
from dataclasses import replace
from typing import Any

import httpx
import pytest

from stewrd_integrations.api.credentials import check_base_url
from stewrd_integrations.emulator.__main__ import from_here, line, main
from stewrd_integrations.emulator.records import Exchange


def exchange(**changes: Any) -> Exchange:
    usual = Exchange(
        number=0,
        time=0.0,
        method="POST",
        path="/v1/sessions/3f9c0000-aaaa/messages",
        session_id="x",
        body={"message": 'My name\nis "Ada"'},
        status=200,
        note="2/50 messages 1 credit",
    )
    return replace(usual, **changes)


def test_a_line_for_each_request() -> None:
    _, rest = line(exchange()).split(" ", 1)
    assert rest == 'POST …/sessions/3f9c/messages 200 2/50 messages 1 credit "My name is "Ada""'


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"status": None, "note": "hung up"}, "--- hung up"),
        ({"status": 410, "code": "not_found"}, "410 not_found"),
        ({"body": {"message": "x" * 99}}, "x" * 59 + "…"),
        ({"body": "not JSON"}, "1 credit"),
        ({"body": {"message": "\x1b[2J"}}, '"�[2J"'),
        ({"path": "/v1/agent"}, "POST …/agent 200"),
        ({"path": "/v1/agent/3f9c0000-aaaa/tool-outputs"}, "POST …/agent/3f9c/tool-outputs 200"),
        ({"body": {"tool_outputs": [{"output": "3"}, {"output": "a\nb"}]}}, 'credit "3" "a b"'),
        ({"body": {"tool_outputs": ["x", {"output": 3}]}}, "1 credit"),
        ({"body": {"tool_outputs": "x"}}, "1 credit"),
    ],
)
def test_what_a_line_says(changes: dict[str, object], part: str) -> None:
    assert part in line(exchange(**changes))


def test_colours_only_if_wanted() -> None:
    assert "\033" not in line(exchange())
    assert "\033[32m200\033[0m" in line(exchange(), colour=True)
    assert "\033[31m410\033[0m" in line(exchange(status=410), colour=True)


def test_it_serves_from_a_shell() -> None:
    options = [
        "--port",
        "0",
        "--credits",
        "7",
        "--api-key",
        "sk-stw_mine",
        "--chunk-delay",
        "0",
        "--session-tools",
        "refused",
    ]
    command = [sys.executable, "-m", "stewrd_integrations.emulator", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None and shell.stderr is not None
        try:
            heads = [shell.stdout.readline() for _ in range(6)]
            [url] = [text.strip().split("=")[1] for text in heads if "STEWRD_BASE_URL=" in text]
            assert any("STEWRD_API_KEY=sk-stw_mine" in text for text in heads)
            headers = {"Authorization": "Bearer sk-stw_mine"}
            body = {"message": "My name is Ada", "stream": True}
            got = httpx.post(f"{url}/v1/agent", json=body, headers=headers, trust_env=False)
            assert got.status_code == 200
            assert 'POST …/agent 200 stream 1 credit "My name is Ada"' in shell.stdout.readline()
            created = httpx.post(f"{url}/v1/sessions", headers=headers, trust_env=False)
            path = f"{url}/v1/sessions/{created.json()['id']}/messages"
            tool = {"name": "a", "description": "", "parameters": {"type": "object"}}
            body = {"message": "a", "tools": [tool]}
            got = httpx.post(path, json=body, headers=headers, trust_env=False)
            assert (got.status_code, got.json()["error"]["code"]) == (400, "invalid_tools")
            shell.send_signal(signal.SIGINT)
            assert shell.wait(timeout=5) == 0
            assert shell.stderr.read() == ""
        finally:
            shell.kill()


def test_a_port_that_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    told = capsys.readouterr().err
    assert "cannot serve" in told and "--port" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("--port=99999", "'99999' is not a port: 0 to 65535"),
        ("--port=x", "'x' is not a port: 0 to 65535"),
        ("--session-tools=yes", "session_tools must be one of"),
        ("--credits=-1", "credits must be a number of 0 or more"),
        ("--api-key=mine", "api_key must begin with sk-stw_"),
    ],
)
def test_wrong_settings_are_told_in_a_line(
    wrong: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([wrong])
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and told in shown
    assert shown.startswith("usage: python -m stewrd_integrations.emulator")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://0.0.0.0:8787", "http://127.0.0.1:8787"),
        ("http://[::]:8787", "http://[::1]:8787"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
    ],
)
def test_the_address_that_is_shown_is_one_that_clients_take(url: str, shown: str) -> None:
    assert from_here(url) == shown
    assert check_base_url(shown) == shown
