"""Bodies read without FastAPI's machinery: once, straight from JSON, with the same errors."""

import asyncio
from typing import Any, Final, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from pydantic_core import from_json
from starlette.requests import Request

from tertulia.api.contents import BOM, refuse_crowd, refuse_nul
from tertulia.api.parsing import parse_json
from tertulia.api.wire.ignored import note

# A name of their own: what the framework documents under the model's is often the shape in a response.
_NAME: Final = "{model}-Body"
_REFERENCE: Final = "#/components/schemas/" + _NAME
_DOCUMENTED: Final[list[type[BaseModel]]] = []

_LARGE: Final = 64 * 1024
"""Bytes from which on a body is not worked on between the requests of others."""

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, model: type[M], *, optional: bool = False) -> M:
    """The request's body as the model; an ``optional`` one may be absent.

    :raises RequestValidationError: if it is not what the model takes.
    """
    raw = (await request.body()).removeprefix(BOM)
    if raw and not is_json(request.headers.get("content-type", "")):
        raise RequestValidationError([_no_json_type()])
    await refuse_crowd(raw)
    try:
        sent: Any = {} if optional and not raw else parse_json(raw)
    except ValueError as error:
        raise RequestValidationError([_not_json(raw, _complaint(raw) or str(error))]) from None
    refuse_nul(raw, sent)
    try:
        # Validating calls back into Python for every item, so that in a thread it lets others have their turn.
        large = len(raw) > _LARGE
        body = await asyncio.to_thread(model.model_validate, sent) if large else model.model_validate(sent)
    except ValidationError as error:
        raise RequestValidationError([_with_place(problem) for problem in error.errors(include_url=False)]) from None
    note(body.model_extra or ())
    return body


def _complaint(raw: bytes) -> str:
    """What a parser says that tells the place, if it has anything to say."""
    try:
        from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        return str(error)
    return ""


def is_json(content_type: str) -> bool:
    """Whether it says so. Pages of other origins may send other types without asking, but not this one."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _no_json_type() -> dict[str, Any]:
    return {
        "type": "content_type",
        "loc": ("header", "content-type"),
        "msg": "the body must be JSON: send it with content-type: application/json",
        "input": None,
    }


def document_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The ``openapi_extra`` of an operation that reads such a body."""
    _DOCUMENTED.append(model)
    reference = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": reference}}}}


def body_schemas() -> dict[str, Any]:
    """The schemas these bodies refer to, for the OpenAPI document: the framework does not see them."""
    _, definitions = models_json_schema([(model, "validation") for model in _DOCUMENTED], ref_template=_REFERENCE)
    return {_NAME.format(model=name): schema for name, schema in definitions["$defs"].items()}


def _with_place(problem: Any) -> dict[str, Any]:
    """The problem with its place in the body; the tags of unions (``~…``) are no place."""
    place = [step for step in problem["loc"] if not str(step).startswith("~")]
    return {**problem, "loc": ("body", *place)}


def _not_json(raw: bytes, complaint: str) -> dict[str, Any]:
    """``complaint`` is the parser's: what it found, then ``at line 1 column 7``."""
    what, _, where = complaint.partition(" at line ")
    what = what.replace("recursion limit exceeded", "it is nested too deeply")
    line, _, column = where.partition(" column ")
    before = raw.split(b"\n")[: int(line or 1) - 1]
    offset = sum(len(earlier) + 1 for earlier in before) + int(column or 0)
    return {"type": "json_invalid", "loc": ("body", offset), "msg": what, "input": None, "ctx": {"error": what}}
