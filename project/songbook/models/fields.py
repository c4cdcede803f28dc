"""Fields: from a plain annotation to a field type."""

import re
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, ForwardRef, Literal, Optional, Union, get_args, get_origin
from uuid import UUID

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, SchemaError
from sqlalchemy import BigInteger, Column, TypeDecorator
from sqlalchemy.types import NullType, TypeEngine
from sqlmodel import SQLModel
from sqlmodel.main import FieldInfoMetadata

from songbook.models.field_types import (
    BooleanType,
    ChoiceType,
    DateTimeType,
    DateType,
    DecimalType,
    FieldType,
    FloatType,
    IntegerType,
    TextType,
    TimeType,
    UuidType,
)
from songbook.models.json_types import ListType, ObjectType

_TYPES: dict[Any, type[FieldType]] = {
    str: TextType,
    int: IntegerType,
    bool: BooleanType,
    float: FloatType,
    Decimal: DecimalType,
    date: DateType,
    datetime: DateTimeType,
    time: TimeType,
    UUID: UuidType,
    list[str]: ListType,
    dict[str, Any]: ObjectType,
}
_SUPPORTED = (
    "str, int, bool, float, Decimal with max_digits and decimal_places, date, datetime, time, UUID,"
    " Literal of strings, StrEnum, list[str] and dict[str, Any], each also with `| None`; in bodies"
    " that no table has, classes derived from Schema and lists of them, too"
)
_MODULE = re.compile(r"\b([A-Za-z_]\w*\.)+(?=[A-Za-z_])")
_INTERNAL = {"choices", "enum", "example", "ignores_case", "is_wide"}
_ONE_NAME = ("alias", "validation_alias", "serialization_alias")


class CaseInsensitive:
    """In `Annotated[str, CaseInsensitive()]`: unique constraints on the field ignore case."""


# https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(\.{_LABEL})*$"
_HOST = r"([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.?|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\])(:[0-9]{1,5})?"
_URL = rf"^https?://{_HOST}([/?#][!-~]*)?$"

Email = Annotated[
    str, TextType(max_length=254, pattern=_EMAIL, example="ada@example.org", ignores_case=True)
]
"""An e-mail address; unique constraints ignore case."""

Url = Annotated[str, TextType(max_length=2000, pattern=_URL, example="https://example.org/a")]
"""An absolute URL with `http` or `https`, without a user or a password."""


def field_type_of(annotation: Any) -> FieldType | None:
    """Return the field type in an annotation, also in an optional one; None without one."""
    if isinstance(annotation, FieldType):
        return annotation
    return next(filter(None, map(field_type_of, get_args(annotation))), None)


def is_nullable(annotation: Any) -> bool:
    """Return whether a field of this type may be null."""
    return NoneType in get_args(annotation)


def type_of_column(column: Column[Any]) -> FieldType | None:
    """Return the field type of a column that no Schema declares, such as the primary key."""
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    try:
        python_type = kind.python_type
    except NotImplementedError:
        return None
    if python_type is int:
        return IntegerType(is_wide=isinstance(kind, BigInteger))
    if python_type is str:
        return TextType(max_length=getattr(kind, "length", None) or TextType.max_length)
    if python_type is Decimal or python_type not in _TYPES:
        return None
    return _TYPES[python_type]()


@dataclass
class _TypedColumn(FieldInfoMetadata):
    """The options of a column whose type `set_field_type` has chosen."""


def is_typed(field: FieldInfo) -> bool:
    """Return whether `set_field_type` has seen a field; subclasses inherit what it did."""
    return any(isinstance(each, _TypedColumn) for each in field.metadata)


def set_field_type(owner: type[BaseModel], name: str, field: FieldInfo) -> None:
    """Give a field its field type and the type of its column.

    A Schema, a list of them, and a secret have none: they can be in bodies, but in no table. Raises
    TypeError, with the names of the class and the field, for what is not supported.
    """
    annotation, metadata = field.annotation, [*field.metadata]
    if get_origin(annotation) in {Union, UnionType}:
        arms = [each for each in get_args(annotation) if each is not NoneType]
        annotation = arms[0] if len(arms) == 1 else annotation
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [*inner, *metadata]
    try:
        _check_names(name, field)
        options = _column_options(metadata)
        if _is_body_only(annotation):
            rules = [each for each in field.metadata if each is not options]
            field.metadata = [*rules, _typed_column(options, NullType())]
            return
        constraints, others = _split(field, metadata, options)
        type_ = _field_type(annotation, metadata, constraints)
        typed: Any = Annotated[annotation, type_, *others]
        _set_default(typed, field)
    except TypeError as error:
        raise TypeError(f"{owner.__name__}.{name}: {error}") from None
    field.annotation = Optional[typed] if is_nullable(field.annotation) else typed  # noqa: UP045
    field.metadata = [_typed_column(options, type_.column_type())]


def _check_names(name: str, field: FieldInfo) -> None:
    """Raise TypeError for a name of SQLModel's, for an alias, and for a type not defined yet."""
    if name in {"metadata", "registry"}:
        raise TypeError("SQLModel uses this name: choose another")
    if given := [each for each in _ONE_NAME if getattr(field, each) is not None]:
        raise TypeError(f"leave out {', '.join(given)}: requests, table and responses share a name")
    if isinstance(field.annotation, ForwardRef):
        raise TypeError(f"{field.annotation.__forward_arg__} is not defined: define it before")


def _column_options(metadata: list[Any]) -> FieldInfoMetadata:
    """Return the options of the column in `Field(…)`; a foreign key has an index.

    Raises TypeError for those that the annotation decides.
    """
    found = (each for each in metadata if isinstance(each, FieldInfoMetadata))
    options = next(found, None) or FieldInfoMetadata()
    for name in ("sa_type", "sa_column", "nullable"):
        if getattr(options, name) is not PydanticUndefined:
            raise TypeError(f"leave out {name}: the annotation says what the column is")
    if options.foreign_key is PydanticUndefined:
        return options
    if not str(options.foreign_key).endswith(".id"):
        raise TypeError("foreign_key should be the id of a table, such as `artist.id`")
    # the parent must not disappear unnoticed, and PostgreSQL looks for children when it is deleted
    ondelete = "RESTRICT" if options.ondelete is PydanticUndefined else options.ondelete
    return replace(options, index=options.unique is not True, ondelete=ondelete)


def _typed_column(options: FieldInfoMetadata, type_: TypeEngine[Any]) -> _TypedColumn:
    return _TypedColumn(**{**vars(options), "sa_type": type_})


def _is_body_only(annotation: Any) -> bool:
    element = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return isinstance(element, type) and issubclass(element, SQLModel | SecretStr)


def _split(
    field: FieldInfo, metadata: list[Any], options: FieldInfoMetadata
) -> tuple[dict[str, Any], list[Any]]:
    """Return the constraints of a field by name, and the other annotations, such as validators."""
    constraints: dict[str, Any] = {}
    others: list[Any] = []
    for each in metadata:
        if isinstance(each, FieldInfo):
            more, beside = _split(each, each.metadata, options)
            constraints, others = {**constraints, **more}, [*others, *beside]
        elif isinstance(each, CaseInsensitive) or each is CaseInsensitive:
            constraints["ignores_case"] = True
        elif isinstance(each, BaseMetadata | GroupedMetadata):
            constraints |= _attributes(each)
        elif not isinstance(each, FieldType | FieldInfoMetadata):
            others.append(each)
    # SQLModel does not pass them on
    if regex := field._attributes_set.get("regex"):  # noqa: SLF001
        constraints["pattern"] = regex
    if field._attributes_set.get("unique_items"):  # noqa: SLF001
        constraints["unique_items"] = True
    if field.examples and "pattern" in constraints:
        constraints["example"] = field.examples[0]
    if options.foreign_key is not PydanticUndefined:
        constraints["foreign_key"] = True
    return constraints, others


def _attributes(constraint: Any) -> dict[str, Any]:
    names = [each.name for each in fields(constraint)] if is_dataclass(constraint) else []
    values = {name: getattr(constraint, name) for name in names} or vars(constraint)
    return {name: value for name, value in values.items() if value is not None}


def _field_type(annotation: Any, metadata: list[Any], constraints: dict[str, Any]) -> FieldType:
    """Return the field type of an annotation without `None`. Raises TypeError."""
    given = next((each for each in metadata if isinstance(each, FieldType)), None)
    type_ = type(given) if given else _TYPES.get(annotation)
    choices: dict[str, Any] = {}
    if get_origin(annotation) is Literal:
        type_, choices = ChoiceType, {"choices": get_args(annotation)}
    elif isinstance(annotation, type) and issubclass(annotation, StrEnum):
        values = tuple(each.value for each in annotation)
        type_, choices = ChoiceType, {"choices": values, "enum": annotation}
    if type_ is None:
        raise TypeError(f"{name_of(annotation)} is not supported. There are {_SUPPORTED}.")
    if type_ is IntegerType and constraints.pop("foreign_key", False):
        constraints["is_wide"] = True
    _check_applicable(type_, name_of(annotation), constraints)
    return replace(given, **constraints) if given else type_(**choices, **constraints)


def _check_applicable(type_: type[FieldType], name: str, constraints: dict[str, Any]) -> None:
    """Raise TypeError for constraints that a type does not have, and for those it needs."""
    known = [each.name for each in fields(type_)]
    if unknown := sorted(constraints.keys() - {*known}):
        others = ", ".join(each for each in known if each not in _INTERNAL)
        advice = f", only {others}" if others else ": leave it out"
        raise TypeError(f"{', '.join(unknown)} does not apply to {name}{advice}")
    if type_ is DecimalType and not {"max_digits", "decimal_places"} <= constraints.keys():
        raise TypeError("Decimal needs max_digits and decimal_places, as NUMERIC has them")


def name_of(annotation: Any) -> str:
    """Return the name of a type as a class has it, without modules."""
    if not get_args(annotation):
        return getattr(annotation, "__name__", str(annotation))
    return _MODULE.sub("", str(annotation))


def _set_default(typed: Any, field: FieldInfo) -> None:
    """Make the default a value of the field, which pydantic does not.

    Raises TypeError for a default that the field would refuse, and for a pattern that is not valid.
    """
    try:
        adapter = TypeAdapter[Any](typed)
    except SchemaError as error:
        reason = str(error).rpartition("error: ")[2]
        raise TypeError(f"the regular expression is not valid: {reason}") from None
    if field.default_factory:
        field.validate_default = True
    # the classes of `Partial` have None for what is left out
    declared = field._attributes_set.get("default", PydanticUndefined)  # noqa: SLF001
    if declared is None and not is_nullable(field.annotation):
        raise TypeError("the default None is not valid: write `| None`")
    if field.default is PydanticUndefined or field.default is None:
        return
    try:
        field.default = adapter.validate_python(field.default)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"]
        raise TypeError(f"the default {field.default!r} is not valid: {message}") from None
