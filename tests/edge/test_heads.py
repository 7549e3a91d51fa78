"""What an application is given of one request is no other request's."""

from typing import Any

from tertulia.edge.heads import Head, scope_of
from tertulia.edge.limits import Limits


def _scope(connection: dict[str, Any]) -> dict[str, Any]:
    return scope_of(connection, Head(Limits()), "GET", "1.1", ("/", b"/", b""))


def test_what_an_application_leaves_in_a_scope_the_next_request_of_the_connection_does_not_find() -> None:
    connection: dict[str, Any] = {"scheme": "http", "client": ("127.0.0.1", 1)}
    first = _scope(connection)
    first["asgi"]["left"] = True
    first["headers"].append((b"left", b"1"))
    first["left"] = True
    second = _scope(connection)
    assert "left" not in second
    assert "left" not in second["asgi"]
    assert second["headers"] == []
    assert "left" not in connection
