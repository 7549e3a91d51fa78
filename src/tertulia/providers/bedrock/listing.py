"""The models of an account, from what Bedrock's control plane lists; does no input or output."""

from collections.abc import Sequence
from typing import Any, Final

from tertulia.providers.model_list import Listed

Row = dict[str, Any]

_TEXT: Final = "TEXT"


def chat_models(models: Sequence[Row]) -> dict[str, str | None]:
    """The ids of the foundation models that answer text in text, with the names they go by."""
    return {
        row["modelId"]: row.get("modelName")
        for row in models
        if _TEXT in (row.get("inputModalities") or ())
        and _TEXT in (row.get("outputModalities") or ())
        and row.get("responseStreamingSupported") is not False
    }


def listed(models: Sequence[Row], profiles: Sequence[Row]) -> list[Listed]:
    """What can be asked: models on demand by their id, all others by the inference profiles that contain them.

    ``models`` empty, because they may not be listed, leaves every profile.
    """
    chat = chat_models(models)
    on_demand = {row["modelId"] for row in models if "ON_DEMAND" in (row.get("inferenceTypesSupported") or ())}
    rows = [Listed(id=id_, display_name=name) for id_, name in chat.items() if id_ in on_demand]
    for profile in profiles:
        behind = model_behind(profile)
        if profile.get("status") == "ACTIVE" and (not models or behind in chat):
            rows.append(Listed(id=profile_id(profile), display_name=profile.get("inferenceProfileName")))
    return rows


def profile_id(profile: Row) -> str:
    """What to ask it by: those of a user's own making have no other name than their ARN."""
    key = "inferenceProfileArn" if profile.get("type") == "APPLICATION" else "inferenceProfileId"
    return str(profile[key])


def model_behind(profile: Row) -> str:
    """The id of the model that the profile leads to, whatever the region."""
    models: list[Row] = profile.get("models") or []
    return next((str(row["modelArn"]).rpartition("/")[2] for row in models if row.get("modelArn")), "")
