"""Mistakes in tools, structured output, files, progress and what is counted, in both frameworks."""

from __future__ import annotations

from . import Mutant

SPEC, SINGLE = "llama_index/tools.py", "llama_index/single_calls.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "each tool of a toolkit may spend the whole limit",
        "langchain/tools.py",
        "tool._source = tools[0]._source",
        "pass",
        "tests/langchain/capabilities/test_failures.py",
    ),
    Mutant(
        "async: a failed tool is not counted",
        "langchain/tools.py",
        "            outcome = await self._source.asker.aask(asked, self.capabilities, listener)\n"
        "        except BaseException as error:\n"
        "            tell_of_failure(run_manager, error)\n",
        "            outcome = await self._source.asker.aask(asked, self.capabilities, listener)\n"
        "        except BaseException as error:\n",
        "tests/langchain/test_credits.py",
    ),
    Mutant(
        "async: the second try at a form forgets the options of the call",
        "langchain/structured.py",
        "await self.model.ainvoke(again, config, **given)",
        "await self.model.ainvoke(again, config)",
        "tests/langchain/test_structured.py",
    ),
    Mutant(
        "a form that is missing from the answer is a success, if raw is included",
        "langchain/structured.py",
        "return _with_raw(raw, None, error)",
        "return _with_raw(raw, None, None)",
        "tests/langchain/test_structured.py",
    ),
    Mutant(
        "an answer from the cache is counted once more",
        "langchain/credits.py",
        " and not _was_cached(message, run_id):",
        ":",
        "tests/langchain/test_credits.py",
    ),
    Mutant(
        "a failure that was likely charged is not counted",
        "langchain/credits.py",
        'return error.charged != "no"',
        'return error.charged == "yes"',
        "tests/langchain/test_credits.py",
    ),
    Mutant(
        "the third file of one name takes the place of the second in a message",
        "langchain/files.py",
        "while name in taken:",
        "if name in taken:",
        "tests/langchain/test_files.py",
    ),
    Mutant(
        "async: callback handlers hear nothing of a tool's progress",
        "langchain/progress.py",
        "            await manager.on_custom_event(PROGRESS, told, self._run_id)\n",
        "            manager.copy()\n",
        "tests/langchain/capabilities/test_progress.py",
    ),
    Mutant(
        "a tool that is bound twice in two forms is refused",
        "langchain/tool_calling.py",
        'if key != "title" or not isinstance(value, str)',
        "if True",
        "tests/langchain/test_tool_calling.py",
    ),
    Mutant(
        "a PDF that a tool gave back ends its thread",
        "langchain/tool_outputs.py",
        "    except Unusable:\n        return None\n",
        "    except KeyError:\n        return None\n",
        "tests/langchain/test_tool_content.py",
    ),
    Mutant(
        "async: who asks for data is answered by code",
        SPEC,
        'return await self._aask("data", message, files)',
        'return await self._aask("code", message, files)',
        "tests/llama_index/capabilities/test_tools.py",
    ),
    Mutant(
        "arguments by place and by name overwrite each other",
        SPEC,
        "if len(placed) < len(args) or placed.keys() & named.keys():",
        "if len(placed) < len(args):",
        "tests/llama_index/capabilities/test_failures.py",
    ),
    Mutant(
        "async: an answer that a parser rewrote is taken for the conversation's turn",
        SINGLE,
        "standing_alone(rewritten=self.output_parser is not None):\n            return await",
        "standing_alone():\n            return await",
        "tests/llama_index/engines/test_prompts.py",
    ),
    Mutant(
        "async: predict_and_call runs in the conversation",
        SINGLE,
        '        """`predict_and_call` for the event loop."""\n'
        "        return await super().apredict_and_call(\n"
        "            tools,\n"
        "            user_msg,\n"
        "            chat_history,\n"
        "            verbose,\n"
        "            allow_parallel_tool_calls,\n"
        "            error_on_no_tool_call,\n"
        "            error_on_tool_error,\n"
        "            **{ALONE: CALLS, **kwargs},\n",
        "        return await super().apredict_and_call(\n"
        "            tools,\n"
        "            user_msg,\n"
        "            chat_history,\n"
        "            verbose,\n"
        "            allow_parallel_tool_calls,\n"
        "            error_on_no_tool_call,\n"
        "            error_on_tool_error,\n"
        "            **kwargs,\n",
        "tests/llama_index/test_tool_outputs.py",
    ),
    Mutant(
        "of several calls the last one is made, not the first",
        "llama_index/tool_calling.py",
        "[*others, calls[0]]",
        "[*others, calls[-1]]",
        "tests/llama_index/test_tool_outputs.py",
    ),
    Mutant(
        "handlers of the whole application hear nothing of progress",
        "llama_index/events.py",
        "return dispatcher.propagate and _is_heard(dispatcher.parent)",
        "return False",
        "tests/llama_index/capabilities/test_progress.py",
    ),
]
