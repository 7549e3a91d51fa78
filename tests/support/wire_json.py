"""JSON as servers write it: in UTF-8, or with escapes where half a character has no other form."""

import json
from typing import Any


def as_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text
