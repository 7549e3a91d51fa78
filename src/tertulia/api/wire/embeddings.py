"""``embedding_config`` in a request: the description of an embedding model, of which its handle is kept."""

from tertulia.api.wire.common import JsonObject
from tertulia.api.wire.models import embedding_config_body
from tertulia.domain.errors import InvalidArgument, Unsupported
from tertulia.ports.catalogue import Catalogue


def embedding_handle(config: JsonObject, named: str | None, catalogue: Catalogue) -> str:
    """The handle of the embedding model that ``embedding_config`` describes; ``named`` is what ``embedding`` says.

    :raises InvalidArgument: if it describes another model than is named, or the model as it is not.
    :raises Unsupported: if nothing is known of such a model.
    """
    said = {name: value for name, value in config.items() if value is not None}
    handle = said.get("handle") or f"{said.get('embedding_endpoint_type')}/{said.get('embedding_model')}"
    card = catalogue.embedding(handle) if isinstance(handle, str) and "/" in handle else None
    if card is None:
        raise Unsupported(
            "UNSUPPORTED: 'embedding_config' cannot be used: it matches no embedding model that this server knows. "
            "Name the embedding model in 'embedding' instead.",
        )
    if named is not None and named != handle:
        raise InvalidArgument(
            "INVALID_ARGUMENT: 'embedding' and 'embedding_config' contradict each other. Send only one of them."
        )
    true = embedding_config_body(card).model_dump()
    for name, value in said.items():
        if name in true and name != "handle" and value != true[name]:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: embedding_config.{name} is '{value}', but the model {handle} has '{true[name]}'. "
                "Leave the field out; the model's handle decides.",
            )
    return handle
