"""Saving the files of an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.tools import ToolOutput

from stewrd_integrations.emulator import Answer, Context, Emulator, File
from stewrd_integrations.errors import InvalidInputError, StewrdError
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.llama_index.saving import asave_files, save_files
from stewrd_integrations.llama_index.tools import StewrdToolSpec
from tests.servers import serve

from .asking import Make, only


def writes(context: Context) -> Answer:
    return Answer("Here.", files=(File("report.md", "# Lisbon"), File("b/../c.csv", "")))


async def test_files_are_saved_from_whatever_holds_them(tmp_path: Path) -> None:
    with serve(agent=writes) as stewrd:
        here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
        spec, llm = StewrdToolSpec(["documents"], **here), StewrdLLM(**here)
        output = only(spec)("Write a report")
        response = llm.chat([ChatMessage("Write a report")])
        whole = [output, output.raw_output, response, response.raw, llm.complete("Write it")]
        for number, answer in enumerate(whole):
            paths = save_files(answer, tmp_path / f"{number}")
            paths += await asave_files(answer, tmp_path / f"{number}")
            assert [path.name for path in paths] == [
                "01-report.md",
                "02-c.csv",
                "01-report-2.md",
                "02-c-2.csv",
            ]
            assert [path.read_text() for path in paths] == ["# Lisbon", ""] * 2
        await spec.aclose()
        await llm.aclose()


async def test_addresses_of_files_are_not_trusted(stewrd: Emulator, tmp_path: Path) -> None:
    file = {"name": "x", "content": None, "url": f"https://localhost:{stewrd.url[-5:]}/x"}
    output = ToolOutput("stewrd_documents", "Here.", raw_input={}, raw_output={"files": [file]})
    with pytest.raises(StewrdError, match="not a public server"):
        save_files(output, tmp_path)
    with pytest.raises(StewrdError, match="not a public server"):
        await asave_files(output, tmp_path)


async def test_what_is_no_answer_is_refused(stewrd: Emulator, spec: Make, tmp_path: Path) -> None:
    tool = only(spec())
    answer = tool("Hello")
    assert save_files(answer, tmp_path) == await asave_files(answer, tmp_path) == []
    stewrd.fail_next("error", on="agent", status=402)
    others: list[Any] = [
        tool("Hello"),
        ChatResponse(message=ChatMessage("Hi")),
        ChatResponse(message=ChatMessage("Hi"), raw={"files": ["x"]}),
        {"files": None},
        {"stewrd": {}},
        {},
        None,
        "x",
    ]
    for other in others:
        with pytest.raises(InvalidInputError, match="no answer of Stewrd"):
            save_files(other, tmp_path)
        with pytest.raises(InvalidInputError, match="no answer of Stewrd"):
            await asave_files(other, tmp_path)
