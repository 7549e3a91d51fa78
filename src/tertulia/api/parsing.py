"""JSON of clients as Python values: what cannot be written down as JSON again does not get in."""

import json
from typing import Any, Final

import msgspec

_NOT_JSON: Final = (
    "it contains NaN, an infinity, a number too large or a lone surrogate, none of which JSON can express"
)


def parse_json(body: bytes) -> Any:
    """The body as Python values.

    Python's own parser lets NaN, infinities and lone surrogates through, which fail only where they are stored.

    :raises json.JSONDecodeError: if the body is not JSON.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except msgspec.DecodeError as error:
        _complain_in_detail(body)
        raise json.JSONDecodeError(_NOT_JSON, "", 0) from error


def _complain_in_detail(body: bytes) -> None:
    """Raise what Python's parser says, which is the clearer of the two, if it says anything."""
    try:
        json.loads(body)
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError(f"not UTF-8 at byte {error.start}", "", 0) from None
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):
        return  # a number of too many digits: it has nothing clearer to say
