"""Structured output: an answer that fits a schema, or the error that says why it does not.

The API can't force a form upon an answer. It is asked for in words or as the call of a tool,
and checked here; a wrong one is shown to the agent once, with what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig
from langchain_core.utils.function_calling import (
    convert_to_json_schema,
    convert_to_openai_tool,
)
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ValidationError
from pydantic.v1 import ValidationError as OldValidationError
from typing_extensions import is_typeddict, override

from ..errors import ConfigurationError
from ..values import dataclass

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Method: TypeAlias = Literal["function_calling", "json_schema", "json_mode"]
METHODS: tuple[Method, ...] = ("function_calling", "json_schema", "json_mode")
DEMAND = "Answer with JSON only that matches this JSON Schema: "
ANY_FORM = "Answer with JSON only."
IN_WORDS = (
    'Use method="json_schema", which asks for the form in words and goes with any capability, or '
    'bind capabilities=["chat"].'
)
_IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else"})
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Form:
    """The form that an answer shall have.

    Attributes:
        schema: What the user gave: a pydantic class, a TypedDict or a JSON Schema; None for
            whatever JSON there is.
        method: How it is asked for.
        json_schema: The same as JSON Schema.
    """

    schema: dict[str, Any] | type | None
    method: Method
    json_schema: dict[str, Any]

    @property
    def words(self) -> str:
        """How it is asked for beside the message."""
        if self.by_tool:
            return ""
        if self.schema is None:
            return ANY_FORM
        return DEMAND + json.dumps(self.json_schema, ensure_ascii=False)

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.json_schema.get("title", "any JSON"))

    @property
    def output_type(self) -> Any:
        """What an answer is."""
        if isinstance(self.schema, type) or is_typeddict(self.schema):
            return self.schema
        return Any if self.schema is None else dict[str, Any]

    def read(self, raw: AIMessage) -> Any:
        """The answer in its form.

        Raises:
            OutputParserException: It has another.
        """
        return self._checked(self._called(raw) if self.by_tool else self._written(raw.text))

    @property
    def by_tool(self) -> bool:
        """Whether it is asked for as the call of a tool."""
        return self.method == "function_calling"

    @property
    def tool_name(self) -> str:
        """The tool that stands for the form."""
        assert self.schema is not None  # without one, it is asked for in words
        name: str = convert_to_openai_tool(self.schema)["function"]["name"]
        return name

    def _called(self, raw: AIMessage) -> Any:
        for call in raw.tool_calls:
            if call["name"] == self.tool_name:
                return call["args"]
        raise OutputParserException(
            f"The tool {self.tool_name!r} was not called.", llm_output=raw.text
        )

    @staticmethod
    def _written(text: str) -> Any:
        fenced = _FENCED.search(text)
        try:
            return json.loads(fenced[1] if fenced else text)
        except ValueError as error:
            raise OutputParserException(f"It is not JSON: {error}.", llm_output=text) from None

    def _checked(self, value: Any) -> Any:
        if self.schema is None:
            return value
        told = json.dumps(value, ensure_ascii=False, default=str)
        if _is_pydantic(self.schema):
            try:
                return _validate(self.schema, value)
            except (ValidationError, OldValidationError) as error:
                raise OutputParserException(str(error), llm_output=told) from error
        found = next(_validator(self.json_schema).iter_errors(value), None)
        if found is not None:
            raise OutputParserException(f"{found.json_path}: {found.message}", llm_output=told)
        return value

    def correction(self, raw: AIMessage, error: OutputParserException) -> HumanMessage:
        """What is said to an answer of another form."""
        called = [call["args"] for call in raw.tool_calls]
        given = json.dumps(called[0], ensure_ascii=False) if called else raw.text
        how = f'Call the tool "{self.tool_name}"' if self.by_tool else "Answer with JSON"
        return HumanMessage(
            f"Your answer was:\n{given}\n\nIt does not have the form that was asked for: "
            f"{error}\n\n{how} again, in the right form."
        )


def _validate(schema: Any, value: Any) -> Any:
    validate: Callable[[Any], Any] = getattr(schema, "model_validate", None) or schema.parse_obj
    return validate(value)


def _is_pydantic(schema: dict[str, Any] | type) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _validator(schema: Mapping[str, Any]) -> Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - imports take their time
    from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415 - as above

    # Without a registry of its own, jsonschema fetches what a schema refers to from the web.
    return Draft202012Validator(schema, registry=EMPTY_REGISTRY)


def _check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that no answer could be held against, before an answer is paid for."""
    from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY  # noqa: PLC0415 - as above

    _check_form(schema)
    root = DRAFT202012.create_resource(schema)
    todo = [(root, EMPTY_REGISTRY.resolver_with_root(root))]
    told: set[str] = set()
    while todo:
        resource, resolver = todo.pop()
        for target, its_resolver in _targets(resource.contents, resolver):
            # A target need not stand where a schema is looked for, and so was not looked at.
            if (text := json.dumps(target, sort_keys=True, default=str)) not in told:
                told.add(text)
                _check_form(target)
                todo.append((DRAFT202012.create_resource(target), its_resolver))
        _check_end(resource.contents, resolver, ())
        todo += [(one, resolver.in_subresource(one)) for one in resource.subresources()]


def _check_form(schema: Any) -> None:
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - as above

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{error.json_path}: {error.message}") from error


def _targets(schema: Any, resolver: Any) -> list[tuple[Any, Any]]:
    """What a schema refers to by itself, and how to go on from there."""
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - as above

    targets = []
    for keyword in ("$ref", "$dynamicRef"):
        if isinstance(schema, Mapping) and keyword in schema:
            try:
                found = resolver.lookup(schema[keyword])
            except Unresolvable as error:
                raise ValueError(
                    f"it refers to {schema[keyword]!r}, which is not in it, and nothing is fetched"
                ) from error
            targets.append((found.contents, found.resolver))
    return targets


def _check_end(schema: Any, resolver: Any, above: tuple[Any, ...]) -> None:
    """Refuse a schema that leads back to itself without a step into what it describes."""
    if not isinstance(schema, Mapping):
        return
    if any(schema is one for one in above):
        raise ValueError("it refers to itself without an end")
    above = (*above, schema)
    for target, its_resolver in _targets(schema, resolver):
        _check_end(target, its_resolver, above)
    for keyword in _IN_PLACE & set(schema):
        parts = schema[keyword]
        for part in parts if isinstance(parts, list) else [parts]:
            _check_end(part, resolver, above)


def form_of(schema: dict[str, Any] | type | None, method: Method, strict: bool | None) -> Form:
    """The form of a schema.

    Raises:
        ConfigurationError: The method is unknown, or the schema can't be used.
    """
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise ConfigurationError(f"method={method!r} is unknown.", advice=f"Use one of {known}.")
    if method == "json_mode" and strict is not None:
        raise ConfigurationError(
            "strict has no meaning with json_mode.", advice='Use method="json_schema".'
        )
    if schema is None:
        if method == "json_mode":
            return Form(None, method, {})
        raise ConfigurationError(
            f"There is no schema for method={method!r}.",
            advice='Pass one, or method="json_mode", which takes any JSON.',
        )
    try:
        json_schema = convert_to_json_schema(schema, strict=strict)
        if not _is_pydantic(schema):
            _check_schema(json_schema)
            if isinstance(schema, Mapping) and "title" in schema:
                _check_schema(schema)  # of which not all needs to be in the other
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"The schema can't be used: {error}",
            advice="Pass a pydantic class, a TypedDict, or a JSON Schema with a title.",
        ) from error
    return Form(schema, method, json_schema)


class StructuredOutput(Runnable[LanguageModelInput, Any]):
    """A model that answers in a form; made by `ChatStewrd.with_structured_output`.

    It pickles where the form's schema does, without the API key.

    Args:
        model: Asks for the form; each call of it stands alone.
        form: The form.
        include_raw: Give the message too, and an error instead of raising it.
    """

    def __init__(
        self, model: Runnable[LanguageModelInput, AIMessage], form: Form, include_raw: bool
    ) -> None:
        self.name = "StewrdStructuredOutput"
        self.model = model
        self.form = form
        self.include_raw = include_raw

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.form.name}, method={self.form.method!r})"

    @property
    @override
    def InputType(self) -> Any:
        return self.model.InputType

    @property
    @override
    def OutputType(self) -> Any:
        """What an answer is: the schema's class, or a dict."""
        return dict[str, Any] if self.include_raw else self.form.output_type

    @property
    @override
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        return self.model.config_specs

    @override
    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        """Answer in the form.

        Raises:
            OutputParserException: Two answers have another.
        """
        return self._call_with_config(self._answer, input, config, **kwargs)

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        """`invoke` for the event loop."""
        return await self._acall_with_config(self._aanswer, input, config, **kwargs)

    def _answer(
        self,
        shown: LanguageModelInput,
        run_manager: CallbackManagerForChainRun,  # noqa: ARG002 - the config has it too
        config: RunnableConfig,
        **given: Any,
    ) -> Any:
        raw = self.model.invoke(shown, config, **given)
        try:
            return self._read(raw)
        except OutputParserException as error:
            again = [*_listed(shown), self.form.correction(raw, error)]
        return self._read_at_last(self.model.invoke(again, config, **given))

    async def _aanswer(
        self,
        shown: LanguageModelInput,
        run_manager: AsyncCallbackManagerForChainRun,  # noqa: ARG002 - as above
        config: RunnableConfig,
        **given: Any,
    ) -> Any:
        raw = await self.model.ainvoke(shown, config, **given)
        try:
            return self._read(raw)
        except OutputParserException as error:
            again = [*_listed(shown), self.form.correction(raw, error)]
        return self._read_at_last(await self.model.ainvoke(again, config, **given))

    def _read(self, raw: AIMessage) -> Any:
        parsed = self.form.read(raw)
        return _with_raw(raw, parsed, None) if self.include_raw else parsed

    def _read_at_last(self, raw: AIMessage) -> Any:
        try:
            return self._read(raw)
        except OutputParserException as error:
            if not self.include_raw:
                raise
            return _with_raw(raw, None, error)


def _listed(shown: LanguageModelInput) -> Sequence[BaseMessage]:
    if isinstance(shown, PromptValue):
        return shown.to_messages()
    return [HumanMessage(shown)] if isinstance(shown, str) else convert_to_messages(shown)


def _with_raw(raw: AIMessage, parsed: Any, error: BaseException | None) -> Mapping[str, Any]:
    return {"raw": raw, "parsed": parsed, "parsing_error": error}
