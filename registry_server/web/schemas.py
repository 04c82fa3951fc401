"""The wire's messages for FastAPI: msgspec structs, validated and described by pydantic.

The client reads the same structs without pydantic, which would double its loading time. Here pydantic reports every
mistake of a body at once, and provides the OpenAPI schemas.
"""

from __future__ import annotations

from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidatorFunctionWrapHandler, create_model
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

T = TypeVar("T")


class _AsWritten:
    """Marks a type, a struct or made of structs: pydantic reads it as msgspec would."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            _check_text, handler.generate_schema(_for_pydantic(source))
        )


class _OfModel:
    """Marks a struct: pydantic validates it as a model of the same fields."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any, checked: ValidatorFunctionWrapHandler) -> Any:
            return value if isinstance(value, source) else source(**dict(checked(value)))

        return core_schema.no_info_wrap_validator_function(
            read,
            handler.generate_schema(_model(source)),
            serialization=core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins),
        )


Sent = Annotated[T, Body(), _AsWritten()]
Reply = Annotated[T, _AsWritten()]


def _check_text(value: Any) -> Any:
    """Return the value itself; raises for text with a lone surrogate, which JSON can write and nothing can store."""
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise PydanticCustomError("text", "a lone surrogate (\\ud800 to \\udfff) is not text") from None
    except (TypeError, ValueError, RecursionError, OverflowError):
        return value  # a response of ours, or a number that its own validation rejects
    return value


@cache
def _model(struct: type[msgspec.Struct]) -> type[BaseModel]:
    extra = ConfigDict(extra="forbid" if struct.__struct_config__.forbid_unknown_fields else "ignore")
    fields: dict[str, Any] = {
        field.name: (_for_pydantic(field.type), _default(field)) for field in msgspec.structs.fields(struct)
    }
    return create_model(struct.__name__, __config__=extra, __doc__=struct.__doc__, **fields)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return ... if field.default is msgspec.NODEFAULT else field.default


def _for_pydantic(annotation: Any) -> Any:
    """Return the same type in pydantic's terms."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return Annotated[annotation, _OfModel()]
    if origin is Annotated:
        inner, *limits = arguments
        return Annotated[(_for_pydantic(inner), *map(_limits, limits))]
    if origin in (Union, UnionType):
        return reduce(or_, map(_for_pydantic, arguments))
    if origin in (list, dict):
        return origin[tuple(map(_for_pydantic, arguments))]
    return annotation


def _limits(meta: msgspec.Meta) -> Any:
    # Pydantic and OpenAPI write the end of the text as `$`.
    pattern = meta.pattern.replace(r"\Z", "$") if meta.pattern else None
    return Field(pattern=pattern, max_length=meta.max_length)
