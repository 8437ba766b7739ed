"""The annotations of public methods can be evaluated, as frameworks and tools do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, get_type_hints

import pytest

from stewrd_integrations import langchain, llama_index
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

from .tooling import Make, add_numbers, emulated

OURS = "stewrd_integrations"


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


def functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function and method of a package that is written here."""
    for name in module.__all__:
        public = getattr(module, name)
        if not inspect.isclass(public):
            yield name, public
            continue
        for method in dir(public):
            found = inspect.getattr_static(public, method)
            function = getattr(found, "fget", None) or getattr(found, "__func__", found)
            is_ours = inspect.isfunction(function) and function.__module__.startswith(OURS)
            if is_ours and (not method.startswith("_") or method == "__init__"):
                yield f"{name}.{method}", function


@pytest.mark.parametrize("module", [langchain, llama_index], ids=["langchain", "llama_index"])
def test_annotations_can_be_evaluated(module: ModuleType) -> None:
    failed = {}
    looked_at = 0
    for name, function in functions(module):
        looked_at += 1
        try:
            get_type_hints(function)
        except NameError as error:
            failed[name] = str(error)
    assert failed == {}
    assert looked_at > 20


def test_tools_are_bound_to_a_model_with_fallbacks(stewrd: Emulator, make: Make) -> None:
    # Core asks the annotations whether the method gives back a runnable.
    wrong = ChatStewrd(api_key="sk-stw_wrong", base_url=stewrd.url, sessions="never")
    bound = wrong.with_fallbacks([make()]).bind_tools([add_numbers])
    answer = bound.invoke("add_numbers(19, 23)")
    assert [call["args"] for call in answer.tool_calls] == [{"a": 19, "b": 23}]
    wrong.close()
