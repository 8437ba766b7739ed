"""Mistakes in the models and the memories of both frameworks."""

from __future__ import annotations

from . import Mutant

CHAT_MODELS, MESSAGES = "langchain/chat_models.py", "langchain/messages.py"
ENTRANCES, HISTORY = "langchain/entrances.py", "langchain/history.py"
LLM, THEIRS = "llama_index/llm.py", "llama_index/messages.py"
MEMORY, PENDING = "llama_index/memory.py", "llama_index/pending.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "a call with tenant=None reads as nobody's, whosever model it is",
        CHAT_MODELS,
        "if given.get(option) is not None}",
        "if option in given}",
        "tests/langchain/test_entrances.py",
    ),
    Mutant(
        "a batch of named conversations continues none of them",
        CHAT_MODELS,
        "(entrance.one_shot and not named)",
        "entrance.one_shot",
        "tests/langchain/test_entrances.py",
    ),
    Mutant(
        "the model's own stop texts are passed over",
        CHAT_MODELS,
        "        stop = self.stop if stop is None else stop\n",
        "",
        "tests/langchain/test_chat_models.py",
    ),
    Mutant(
        "a tool that failed is told as one that answered",
        MESSAGES,
        'error=message.status == "error",',
        "",
        "tests/langchain/test_messages.py",
    ),
    Mutant(
        "a replay leaves out the files that the agent has made",
        MESSAGES,
        "for file in (listed if isinstance(listed, list) else ())",
        "for file in ()",
        "tests/langchain/test_messages.py",
    ),
    Mutant(
        "calls whose arguments were no JSON are dropped",
        MESSAGES,
        "for call in message.invalid_tool_calls\n",
        "for call in ()\n",
        "tests/langchain/test_messages.py",
    ),
    Mutant(
        "async: each input of a batch takes a session",
        ENTRANCES,
        "inputs, config, return_exceptions=return_exceptions, **_alone(kwargs)\n        )",
        "inputs, config, return_exceptions=return_exceptions, **kwargs\n        )",
        "tests/langchain/test_entrances.py",
    ),
    Mutant(
        "async: a stream that was left is not ended",
        ENTRANCES,
        "            await given[ENTRANCE].aclose()\n",
        "            pass\n",
        "tests/langchain/test_abandoned.py",
    ),
    Mutant(
        "a session_id in the config counts more than our conversation_id",
        ENTRANCES,
        "if configurable.get(key) is not None\n",
        "if configurable.get(key) is not None and "
        '(key != "conversation_id" or not configurable.get("session_id"))\n',
        "tests/langchain/test_entrances.py",
    ),
    Mutant(
        "async: a cleared history's unnamed turns are still found",
        HISTORY,
        "await self._conversation.aforget(_heard(lines))",
        "await self._conversation.aforget(())",
        "tests/langchain/histories/test_histories.py",
    ),
    Mutant(
        "middleware repeats a turn that may have been charged",
        "langchain/errors.py",
        'error.retryable and error.charged == "no"',
        "error.retryable",
        "tests/langchain/test_errors.py",
    ),
    Mutant(
        "to ask what a call would do uses up the memory's turn",
        LLM,
        "None if one_shot or only_looking else claimed",
        "None if one_shot else claimed",
        "tests/llama_index/memory/test_pending.py",
    ),
    Mutant(
        "a condenser's prediction takes a session",
        LLM,
        "one_shot or (pending is None and stands_alone())",
        "one_shot",
        "tests/llama_index/engines/test_histories.py",
    ),
    Mutant(
        "the deltas of a stream say the answer twice",
        THEIRS,
        'model_copy(update={"delta": ""})',
        'model_copy(update={"delta": item.reply.message})',
        "tests/llama_index/test_streams.py",
    ),
    Mutant(
        "a document without a title hides the name of its file",
        THEIRS,
        "if title == UNTITLED and block.path is not None:",
        "if not block.title and block.path is not None:",
        "tests/llama_index/test_messages.py",
    ),
    Mutant(
        "async: a memory that is reset is still heard by its session",
        MEMORY,
        "await self._conversation.aforget(heard(lines))",
        "await self._conversation.aforget(())",
        "tests/llama_index/memory/test_sessions.py",
    ),
    Mutant(
        "async: set goes on with what was replaced",
        MEMORY,
        "await self._conversation.aforget(heard(kept), lines)",
        "await self._conversation.aforget((), lines)",
        "tests/llama_index/memory/test_sessions.py",
    ),
    Mutant(
        "async: what was left for one call is taken by a later one",
        MEMORY,
        "        self._leave(None)\n        return self._handed_out(await",
        "        return self._handed_out(await",
        "tests/llama_index/memory/test_pending.py",
    ),
    Mutant(
        "each call of an engine that refines is a turn of the conversation",
        PENDING,
        "return next(self._claims) == 0 and",
        "return next(self._claims) >= 0 and",
        "tests/llama_index/memory/test_pending.py",
    ),
    Mutant(
        "who calls the model after an engine has failed speaks in its conversation",
        PENDING,
        "    _open.discard(id_)\n",
        "",
        "tests/llama_index/memory/test_engines_own.py",
    ),
    Mutant(
        "agents write their state into what the memory tells of a message",
        "llama_index/stamps.py",
        "newest=at == last)",
        "newest=False)",
        "tests/llama_index/memory/test_stamps.py",
    ),
    Mutant(
        "two stores of one project are taken for one",
        "llama_index/places.py",
        "known = (project, id(place.store))",
        "known = (project, 0)",
        "tests/llama_index/memory/test_places.py",
    ),
]
