"""The OpenAPI document: made of the routes and the table of operations when it is first asked for."""

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tertulia.api.bodies import body_schemas
from tertulia.api.operations import OPERATIONS, Operation
from tertulia.api.unsupported import refusal

_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Why a request failed. Failed runs have `error` instead, as in the reply to a blocking message.",
    "properties": {
        "detail": {"type": "string", "description": "What is wrong and what to change."},
        "errors": {
            "type": "array",
            "description": "For 422: each place that does not validate.",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
                "required": ["loc", "msg", "type"],
            },
        },
        "error": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "detail": {"type": "string"},
            },
            "required": ["type", "message", "detail"],
        },
    },
}
_FAILURE: Final[dict[str, Any]] = {
    "description": "Failure",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_METHODS: Final = ("get", "post", "put", "patch", "delete")


async def document_endpoint(request: Request) -> Response:
    """The document as bytes, kept after the first request."""
    app: FastAPI = request.app
    if not hasattr(app.state, "openapi_document"):
        # Making it takes some tenths of a second, in which replies go on streaming.
        app.state.openapi_document = msgspec.json.encode(await run_in_threadpool(document, app))
    return Response(app.state.openapi_document, media_type="application/json")


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application, with the paths as SDKs ask for them and every known operation in it."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=True,
    )
    sdk_paths = {operation.route_path: operation.path for operation in OPERATIONS}
    paths: dict[str, dict[str, Any]] = {
        sdk_paths.get(str(path), str(path)): item for path, item in made["paths"].items()
    }
    for operation in OPERATIONS:
        if not operation.built:
            paths.setdefault(operation.path, {})[operation.method.lower()] = _unsupported(operation)
    for item in paths.values():
        for method in _METHODS:
            if method in item:
                _document_failures(item[method])
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= body_schemas()
    schemas["Error"] = _ERROR_SCHEMA
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{}, {"key": []}]  # the key is needed only where the server has one
    made["paths"] = dict(sorted(paths.items()))
    return made


def _document_failures(operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    operation["responses"] |= {"4XX": _FAILURE, "5XX": _FAILURE}


def _unsupported(operation: Operation) -> dict[str, Any]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return {
        "tags": [operation.sdk.partition(".")[0]],
        "summary": f"{operation.sdk} (not in this release)",
        "description": refusal(operation),
        "operationId": operation.id,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {"501": _FAILURE},
    }
