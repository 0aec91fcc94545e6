"""YAML files and options as typed values: one reader for all, and one sentence for whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from .errors import ConfigurationError, close_to, short, unknown
from .files import regular_bytes

Model = TypeVar("Model", bound=BaseModel)
MOST = 1_000_000  # values of a file with its aliases written out: a few lines of aliases can state 9^9 of them

# What pydantic's kinds of errors say was expected, with the bounds of the field.
_EXPECTED = {
    "missing": "a value",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
    "string_too_short": "text of at least {min_length} letters",
    "string_pattern_mismatch": "text of the form {pattern}",
    "path_type": "a path",
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "keys with values"),
    "too_short": "at least {min_length} of them",
    "union_tag_not_found": "a value for {discriminator}",
    "union_tag_invalid": "{expected_tags}",
    "literal_error": "{expected}",
    "json_invalid": "JSON",
}


class _Loader(yaml.SafeLoader):
    """A safe loader that takes no key twice and no number that is not what it looks like: YAML reads 010 as 8, 12:30 as 750."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known = set()  # before the keys that `<<` merges in, which may be stated again
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in known:
                    raise ValueError(f"the key {short(key.value)} is stated again in line {key.start_mark.line + 1}")
                known.add(key.value)
        return dict(super().construct_mapping(node, deep))

    @override
    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if value.bit_length() <= 64 and str(value) != node.value.removeprefix("+"):
            raise ValueError(f"{short(node.value)} is read as the number {value}; put it in quotes, or write {value}")
        return value

    @override
    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = float(super().construct_yaml_float(node))
        if {"_", ":"} & set(node.value):
            raise ValueError(
                f"{short(node.value)} is read as the number {value:g}; put it in quotes, or write {value:g}"
            )
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def read_yaml(path: Path | Traversable, what: str) -> Any:
    """The content of a YAML file: null, true and false, numbers, texts, lists and mappings of these, nothing else.

    Args:
        path: of the file, or a card inside the package.
        what: the file is to be, as a sentence names it: "a dataset's card".

    Raises:
        ConfigurationError: it cannot be read, is no UTF-8 or no YAML, or holds another kind of value or too many.
    """
    try:
        content = regular_bytes(path) if isinstance(path, Path) else path.read_bytes()
        values = yaml.load(content.decode(), _Loader)  # noqa: S506 - a safe loader, stricter
        if _weigh(values, {}) > MOST:
            raise ValueError(f"it states more than {MOST:,} values")
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"Expected {what} in {path}, but it cannot be read: there is no such file; check the path."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"Expected {what} in {path}, but it cannot be read: {error.strerror or error}; check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"Expected {what} in {path}, but it cannot be read: byte {error.start} is not UTF-8; save it as UTF-8."
        ) from error
    except RecursionError as error:
        raise ConfigurationError(
            f"Expected {what} in {path}, but it cannot be read: its values are nested too deep; write them flatter."
        ) from error
    except (
        Exception
    ) as error:  # PyYAML's constructors raise what Python does: ValueError, KeyError, AttributeError, ...
        raise ConfigurationError(
            f"Expected {what} in {path}, but it cannot be read as YAML: {_reason(error)}; mend the file."
        ) from error
    return values


def checked(model: type[Model], values: Any, place: Callable[[tuple[int | str, ...]], str], hint: str) -> Model:
    """Values as a model.

    Args:
        model: a pydantic model that is closed to unknown names.
        values: as `read_yaml` gives them.
        place: what a sentence calls the value at a location: "--target", "mine.yaml, sections.0.id".
        hint: where to look, the last words of the sentence: "docs/own-data.md".

    Raises:
        ConfigurationError: values that the model refuses; names the first.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        where, words = fault(error, model)
        raise ConfigurationError(f"{place(where)}: {words} See {hint}.") from error


def read_model(path: Path | Traversable, model: type[Model], what: str, hint: str) -> Model:
    """A YAML file as a model; `what` and `hint` as above.

    Raises:
        ConfigurationError: see `read_yaml` and `checked`.
    """
    values = read_yaml(path, what)
    try:
        return model.model_validate(values)
    except ConfigurationError as error:  # of our own validators: a name that may not be one
        raise ConfigurationError(f"{path}: {error}") from error
    except ValidationError as error:
        where, words = fault(error, model)
        raise ConfigurationError(f"Expected {what} in {path}, but {dotted(where)}: {words} See {hint}.") from error


def dotted(where: tuple[int | str, ...]) -> str:
    """A location as a sentence names it: "sections.0.id"."""
    return _one_line(".".join(map(str, where))) if where else "the file"


def fault(error: ValidationError, model: type[BaseModel]) -> tuple[tuple[int | str, ...], str]:
    """Where the first fault is and what was expected and found there, as the end of a sentence with its full stop.

    An unknown key comes before all else, for it may be why another one is missing.
    """
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where, found = first["loc"], first["input"]
    if first["type"] == "extra_forbidden":
        return where[:-1], str(unknown("key", str(where[-1]), _fields_at(model, where[:-1])))
    if first["type"] == "value_error":  # of our own validators
        words = str(first.get("ctx", {}).get("error", first["msg"])).rstrip(".")
        return where, f"{words}." if "found" in words else f"{words}, found {short(found)}."
    # The members of a union complain one by one about the same value.
    same = [e for e in errors if e["input"] is found and e["loc"][:1] == where[:1] and e["type"] != "value_error"]
    if len(same) > 1:
        where = tuple(a for a, *b in zip(*(e["loc"] for e in same), strict=False) if all(a == other for other in b))
    expected = " or ".join(dict.fromkeys(_expected(e) for e in same))
    if first["type"] == "missing":
        return where, f"expected {expected}, found none."
    choices = [word for e in same for word in str(e.get("ctx", {}).get("expected", "")).split("'")[1::2]]
    return where, f"expected {expected}, found {short(found)}.{close_to(found, choices)}"


def _expected(error: Mapping[str, Any]) -> str:
    form = _EXPECTED.get(error["type"])
    if form is None:
        return str(error["msg"]).removeprefix("Input should be ")
    return form.format(**error.get("ctx", {})).replace("'", "")


def _fields_at(model: type[BaseModel], where: tuple[int | str, ...]) -> list[str]:
    """Keys that are known at a location; indices, keys of mappings and tags of unions name no field."""
    here = [model]
    for part in where:
        named = [m.model_fields[part].annotation for m in here if part in m.model_fields]
        if named:
            here = [inner for annotation in named for inner in _models(annotation)]
    return sorted({name for m in here for name in m.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models(argument)]


def _weigh(value: Any, known: dict[int, int]) -> int:
    """The number of values with every alias written out; each list and mapping is walked once."""
    if isinstance(value, dict | list):
        if id(value) in known:
            if not known[id(value)]:
                raise ValueError("a value contains itself")
            return known[id(value)]
        known[id(value)] = 0
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_weigh(part, known) for part in inner)
        return known[id(value)]
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"{short(str(value))} is read as a {type(value).__name__}; put it in quotes")
    if isinstance(value, int) and value.bit_length() > 64:
        raise ValueError("a number has more than 64 bits")
    return 1


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    words = getattr(error, "problem", None) or (
        str(error) if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
    )
    return _one_line(str(words)) + (f" in line {mark.line + 1}" if mark is not None else "")


def _one_line(text: str) -> str:
    """Words of another library on one line, cut short, without a full stop."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 120 else line[:117] + "..."
