"""``/docs``: Swagger UI over the OpenAPI document, with its scripts from an installed package instead of a CDN."""

from importlib.resources import files
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tertulia API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  persistAuthorization: true,
  validatorUrl: null,
});
</script>
</body>
</html>
"""
_ASSETS: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon.png")


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:
        raise HTTPException(404, f"There is no {name} in the documentation.")
    return FileResponse(str(files("fastapi_offline") / "static" / name))


ROUTES: Final = (
    Route("/docs", _page, include_in_schema=False),
    Route("/docs/{name}", _asset, include_in_schema=False),
)
