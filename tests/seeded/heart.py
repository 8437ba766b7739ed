"""Mistakes in the heart: the decisions, the memory store and the drivers."""

from __future__ import annotations

from . import Mutant

TURN, OPENING, ALIGN = "sessions/turn.py", "sessions/opening.py", "sessions/align.py"
ROADS, KEEPING, TOOLS = "sessions/roads.py", "sessions/keeping.py", "sessions/tools.py"
EXCHANGE, NOTES = "sessions/exchange.py", "sessions/notes.py"
KEYS, FAILURES, REPLAY = "sessions/keys.py", "sessions/failures.py", "sessions/replay.py"
LEARNING = "sessions/learning.py"
FINDING, SPEAKING = "sessions/finding.py", "sessions/speaking.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "put before send",
        ROADS,
        "        session_id = str(send.session_id)\n        try:\n",
        "        session_id = str(send.session_id)\n"
        "        if binding is not None:\n"
        "            yield put_back(self.keys, binding)\n        try:\n",
    ),
    Mutant(
        "the digest ignores the assistant's text",
        "sessions/digest.py",
        'text, role, kind = normalise(text), message.role, ""\n',
        'text, role, kind = normalise(text), message.role, ""\n'
        '        text = "" if role == "assistant" else text\n',
    ),
    Mutant(
        "a name falls through to a mark",
        KEYS,
        '        if self.call.name is not None:\n            return "name"\n        if any(',
        "        if any(",
    ),
    Mutant("the tenant is forgotten", KEYS, '("tenant", tenant)', '("any",)'),
    Mutant("content matches in any model object", KEYS, "self.call.scope, instr", '"", instr'),
    Mutant(
        "content ignores the instructions",
        KEYS,
        "self.call.scope, instructions, rolled",
        'self.call.scope, "", rolled',
    ),
    Mutant(
        "off by one at the cap",
        TURN,
        "binding.used + 2 + reserve > limit",
        "binding.used + reserve > limit",
    ),
    Mutant(
        "a read time-out is tried again",
        FAILURES,
        "        case SessionExpiredError() |",
        "        case SessionExpiredError() | TimeoutError() |",
    ),
    Mutant(
        "put back after an unknown outcome",
        FAILURES,
        '        case _:\n            return "drop"',
        '        case _:\n            return "keep"',
    ),
    Mutant(
        "402 keeps the session",
        FAILURES,
        "    AuthenticationError,\n    NeverSentError,\n    InvalidInputError,\n    Conf",
        "    AuthenticationError,\n    NeverSentError,\n    InvalidInputError,\n"
        "    __import__('stewrd_integrations.errors').errors.InsufficientCreditsError,\n    Conf",
    ),
    Mutant(
        "a quota keeps the session",
        FAILURES,
        '        case QuotaExceededError():\n            return "drop"',
        '        case QuotaExceededError():\n            return "keep"',
    ),
    Mutant(
        "a turn is sent again after a part was shown",
        FAILURES,
        '        case _ if shown:\n            return "drop"\n',
        '        case _ if shown:\n            return "anew"\n',
    ),
    Mutant(
        "a 410 leaves its slot taken",
        ROADS,
        '        if why.word == "gone":\n',
        "        if False:\n",
    ),
    Mutant(
        "no ghost after a create of unknown outcome",
        OPENING,
        "        return None  # the slot stays",
        "        yield Vacate(keys.project, reserved)\n        return None  # the slot stays",
    ),
    Mutant(
        "a ghost is taken for the next slot of the same call",
        OPENING,
        'f"opening-{keys.call.ids.call}-{serial}"',
        'f"opening-{keys.call.ids.call}"',
    ),
    Mutant(
        "slots are not refreshed",
        ROADS,
        "        yield refresh(self.keys.project, str(binding.session_id), self.policy)\n"
        "        send = self._send(",
        "        send = self._send(",
    ),
    Mutant(
        "two calls of one name at once",
        "sessions/notes.py",
        "    return bool(held) and held != arrival.call and",
        "    return False and bool(held) and held != arrival.call and",
    ),
    Mutant(
        "take leaves the binding",
        "stores/memory.py",
        "self._bindings.remove(live[-1])",
        "self._bindings[live[-1]]",
    ),
    Mutant(
        "ambiguous content is taken",
        "stores/memory.py",
        "if live and (len(live) == 1 or not unique):",
        "if live:",
    ),
    Mutant(
        "no tombstone where content matched",
        FINDING,
        "    if binding is not None and unique:",
        "    if False:",
    ),
    Mutant(
        "a covered extra is let through",
        ALIGN,
        "        elif digests[at - 1] in known:",
        "        elif False:",
    ),
    Mutant(
        "an edited front is taken for a summary",
        ALIGN,
        "if front >= walk.left:",
        "if front > walk.left:",
    ),
    Mutant(
        "long histories are not looked at",
        ALIGN,
        "        walk.at == covered.base_count and",
        "        walk.at == covered.base_count or",
    ),
    Mutant("a rewind is taken for a trim", ALIGN, "if digests[0] == covered.first:", "if False:"),
    Mutant(
        "any trimmed history continues a name",
        KEYS,
        "TrimRule(0 if marked else 2)",
        "TrimRule(0)",
    ),
    Mutant(
        "changed instructions are not said",
        SPEAKING,
        "    return binding.instructions != keys.history.instructions_digest",
        "    return False",
    ),
    Mutant("left-out messages count as held", ROADS, " - speech.omitted + 1", " + 1"),
    Mutant(
        "every replayed message is the user's",
        REPLAY,
        '{"role": message.role, "text"',
        '{"role": "user", "text"',
    ),
    Mutant("a nonce may stand in a text", REPLAY, "    while nonce in bodies:", "    while False:"),
    Mutant(
        "a forged envelope is sent as it is",
        REPLAY,
        "message.name is None and _ENVELOPE",
        "message.name is None or _ENVELOPE",
    ),
    Mutant(
        "a streamed answer is remembered from its last event",
        "sessions/exchange.py",
        'return done.reply, "".join(pieces.texts)',
        "return done.reply, done.reply.message",
    ),
    Mutant(
        "an abandoned stream gets no last word",
        "drivers.py",
        "        for effect in last:\n            last.answer = self.perform(effect)\n",
        "",
    ),
    Mutant(
        "a failing store is never noticed",
        "surroundings.py",
        "            return False\n        case ReadNote",
        "            return True\n        case ReadNote",
    ),
    Mutant(
        "idle time is not looked at",
        OPENING,
        "    return now > sent_at +",
        "    return False and now > sent_at +",
    ),
    Mutant(
        "first turns without a name take every slot",
        OPENING,
        "limit = min(policy.max_active_sessions, policy.max_active_sessions // 2 + 1)",
        "limit = policy.max_active_sessions",
    ),
    Mutant("churn is never noticed", "sessions/notes.py", ">= CHURN_LIMIT", ">= 10_000"),
    Mutant(
        "side calls are never learnt", "sessions/notes.py", "if passed_over and", "if False and"
    ),
    Mutant(
        "a session that failed is put back by the next failure",
        ROADS,
        "self.anew(why, without_session(binding), again=False)",
        "self.anew(why, binding, again=False)",
    ),
    Mutant(
        "a session that was sent something is anybody's",
        ROADS,
        "        if not sent:\n",
        "        if True:\n",
    ),
    Mutant(
        "another's mark under the same name is ignored",
        FINDING,
        "    if marked is False:",
        "    if False:",
    ),
    Mutant(
        "namesakes are not told apart by their instructions",
        KEYS,
        'self._named("whole", instructions, rolled)',
        'self._named("whole", rolled)',
        times=2,
    ),
    Mutant("a summary may hide an edit", ALIGN, "    if walk.tip <= front:", "    if False:"),
    Mutant(
        "what a stream left out is never shown",
        "sessions/exchange.py",
        'message[len(said) :] if message.startswith(said) else ""',
        '""',
    ),
    Mutant(
        "content leads to another's file",
        KEYS,
        "plain and self.policy.match_by_content",
        "self.policy.match_by_content",
    ),
    Mutant(
        "a long failed answer loses its slot",
        ROADS,
        "ttl=held.ttl + self.call.allowance",
        "ttl=held.ttl",
    ),
    Mutant(
        "a forked child keeps its parent's bindings",
        "stores/memory.py",
        "    os.register_at_fork(after_in_child=_after_fork)",
        "    pass",
    ),
    Mutant(
        "content leads to a session that knows more",
        ROADS,
        "plain=binding.plain and not changed and alignment.heard_no_more,",
        "plain=True,",
    ),
    Mutant(
        "a failing store loses an answer that was paid for",
        "surroundings.py",
        '        if self.store_errors == "error" and not sent:',
        '        if self.store_errors == "error":',
    ),
    Mutant(
        "a session whose slot was not swapped in is not counted",
        OPENING,
        "        if (yield refresh(keys.project, session.id, policy)):\n",
        "        yield refresh(keys.project, session.id, policy)\n        if True:\n",
    ),
    Mutant("tool outputs may be cut", SPEAKING, "call.demand, history.outputs)", "call.demand)"),
    Mutant(
        "a refunded run is repeated more than once",
        ROADS,
        '            if fate == "anew" and not again:\n',
        "            if False:\n",
    ),
    Mutant(
        "an earlier attempt that arrived is forgotten",
        "api/calls.py",
        "        result.sent = arrived",
        "        pass",
        "tests/api/test_calls.py",
    ),
    Mutant(
        "a run outlives the session it was on",
        ROADS,
        "session_id=None, run=None)",
        "session_id=None)",
    ),
    Mutant(
        "some of the outputs are enough",
        TOOLS,
        "set(ids) == set(run.calls)",
        "set(ids) <= set(run.calls)",
    ),
    Mutant(
        "tools may change in the midst of a run",
        TOOLS,
        " or run.offered != offered)",
        ")",
    ),
    Mutant(
        "what is demanded may change in a run",
        TOOLS,
        "if not call.demand or run.demanded ==",
        "if True or run.demanded ==",
    ),
    Mutant(
        "a run that is gone by our clock is tried",
        TOOLS,
        "if now > run.deadline:",
        "if now > run.deadline + 60:",
    ),
    Mutant(
        "outputs go to a run of another history",
        TOOLS,
        "if run.rolled == history.rolled else None",
        "if run.rolled else None",
    ),
    Mutant(
        "messages put in before the calls are passed over",
        TOOLS,
        "if any(fresh.before is not None for",
        "if any(fresh.summary for",
    ),
    Mutant("a hidden answer is streamed", EXCHANGE, "and text and not hidden", "and text"),
    Mutant(
        "a hidden answer's calls are passed over",
        ROADS,
        "if not isinstance(answer, Why) and task.then and answer.reply.tool_calls:",
        "if isinstance(answer, str):",
    ),
    Mutant(
        "places are counted across a run",
        ROADS,
        "provisional=False, held=0)",
        "provisional=False, held=binding.covered.count + 9)",
    ),
    Mutant(
        "the user's message after outputs passes the cap",
        ROADS,
        "if used + 2 * task.then > limit:",
        "if used > limit:",
    ),
    Mutant(
        "outputs are not counted",
        ROADS,
        "used, limit = binding.used + len(task.outputs) + 1,",
        "used, limit = binding.used + 1,",
    ),
    Mutant(
        "no room is kept for rounds",
        TURN,
        "if binding.used + 2 + reserve > limit:",
        "if binding.used + 2 > limit:",
    ),
    Mutant(
        "a new run inherits the rounds of the old one",
        ROADS,
        "        self.rounds, self.former = 0, None\n        tools",
        "        tools",
    ),
    Mutant(
        "calls keep a session nobody can give outputs to",
        KEEPING,
        "if answer.cut or (answer.reply.tool_calls and run is None):",
        "if answer.cut:",
    ),
    Mutant(
        "outputs of unknown outcome may be given again",
        ROADS,
        'put_back(self.keys, kept if fate == "keep" else rest)',
        "put_back(self.keys, binding)",
    ),
    Mutant(
        "a session that did not answer is kept",
        ROADS,
        "kept = binding if answer.word in UNHEARD else without_session(binding)",
        "kept = binding",
    ),
    Mutant(
        "that sessions take no tools is forgotten",
        ROADS,
        "        if learnt is not None:\n",
        "        if learnt is not None and not self.call.tools:\n",
    ),
    Mutant(
        "what was said beside the session is not found by content",
        KEEPING,
        "plain=binding.plain), *binding",
        "plain=False), *binding",
    ),
    Mutant(
        "outputs count as messages that keep a session",
        ROADS,
        "        heard = replace(binding, used=used, run=None",
        "        heard = replace(binding, sent_at=now, used=used, run=None",
    ),
    Mutant(
        "names are not mapped back", TOOLS, "name=names.get(call.name, call.name)", "name=call.name"
    ),
    Mutant(
        "a stateless run is given what a user's message follows",
        TURN,
        "            if isinstance(task, Outputs) and not task.then:\n"
        "                return (yield from self.roads.submit_apart(task, binding.run, binding))\n"
        "            if binding.run.on_session:",
        "            if isinstance(task, Outputs):\n"
        "                return (yield from self.roads.submit_apart(task, binding.run, binding))\n"
        "            if binding.run.on_session:",
    ),
    Mutant(
        "a cleared conversation is continued",
        TURN,
        "if notes.is_forgotten(self",
        "if False and notes.is_forgotten(self",
    ),
    Mutant(
        "an empty answer tells, whatever was seen of tools on sessions",
        LEARNING,
        "        note = yield ReadNote(self.keys.project_note)\n"
        "        if notes.takes_tools(note, now):",
        "        note = yield ReadNote(self.keys.project_note)\n        if False:",
    ),
    Mutant(
        "that sessions take tools is not noted",
        LEARNING,
        "        if not notes.takes_tools(note, now, n",
        "        if False and not notes.takes_tools(note, now, n",
    ),
    Mutant("one doubt counts for a day", NOTES, "if doubts else DOUBTED", "if True else 0"),
    Mutant(
        "calls at once are many doubts",
        NOTES,
        "now) or takes_no_tools(note, now):\n            return note\n        doubts",
        "now):\n            return note\n        doubts",
    ),
    Mutant("nine rounds of tools", TOOLS, "run.rounds > ROUNDS:", "run.rounds >= ROUNDS:"),
    Mutant("eleven rounds of tools", TOOLS, "run.rounds > ROUNDS:", "run.rounds > ROUNDS + 1:"),
    Mutant(
        "a round too many is an error", TOOLS, "refused and rounds >= ROUNDS", "rounds > ROUNDS + 9"
    ),
    Mutant(
        "what a run waits for must fit into a replay",
        TURN,
        "check_budget(history, policy, call.demand)",
        "check_budget(history, policy, call.demand, history.outputs)",
    ),
    Mutant(
        "a summary made in a run is never told",
        ROADS,
        "covered=binding.covered.extended(self.keys.digester, digests))",
        "covered=alignment.covered)",
    ),
    Mutant(
        "nor with a user's message",
        ROADS,
        "alignment.summaries + unheard[g",
        "unheard[g",
    ),
    Mutant(
        "a run without a session outlives a clear",
        TURN,
        "(binding.session_id or binding.run)",
        "binding.session_id",
    ),
    Mutant(
        "a cleared session is told of",
        NOTES,
        "{} if is_forgotten(note, epoch, began)",
        "{} if False",
    ),
    Mutant(
        "errors name tools as the API does",
        EXCHANGE,
        "own_names(error.message, call.tools)",
        "str(error)",
    ),
    Mutant(
        "the same outputs are given for ever",
        ROADS,
        "refused=told(digester, send.outputs)",
        'refused=""',
    ),
    Mutant("bad requests take every slot", OPENING, "notes.hold_nothing(note, now) >=", "0 >"),
]
