"""A JSON value that arrives in pieces, given on in pieces: a string decoded, any other value as its text."""

import re
from collections.abc import Callable
from typing import Final

_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HIGH: Final = range(0xD800, 0xDC00)
_LOW: Final = range(0xDC00, 0xE000)
_REPLACEMENT: Final = "\ufffd"
_PLAIN: Final = re.compile(r'[^"\\]*')
_UNICODE_DIGITS: Final = 4
_PLAIN_VALUE: Final = re.compile(r"[^,}]*")
_SPACE: Final = " \t\r\n"
_HEX: Final = re.compile(r"[0-9a-fA-F]{4}")


class JsonString:
    """Decodes what follows a string's opening quote. Any split of the text gives the same result."""

    def __init__(self) -> None:
        self.done = False
        self._escape = ""  # the escape so far, from its backslash
        self._high: int | None = None  # the first half of a character beyond the first 65,536

    def feed(self, text: str) -> tuple[str, str]:
        """The characters that are now certain, and what was left over behind the closing quote."""
        out: list[str] = []
        at = 0
        while at < len(text) and not self.done:
            if self._escape:
                self._escape += text[at]
                at += 1
                out.append(self._unescape())
                continue
            plain = _PLAIN.match(text, at)
            end = plain.end() if plain else at
            if end > at or (end < len(text) and text[end] == '"'):
                out.append(self._lone_half())
            out.append(text[at:end])
            if end < len(text):
                self.done = text[end] == '"'
                self._escape = "" if self.done else "\\"
                end += 1
            at = end
        return "".join(out), text[at:]

    def _unescape(self) -> str:
        """What the escape stands for; empty while it is not complete, or is the first half of a character."""
        kind = self._escape[1]
        if kind != "u":
            self._escape = ""
            return self._lone_half() + _ESCAPES.get(kind, kind)
        if len(self._escape) < 2 + _UNICODE_DIGITS:
            return ""
        digits, self._escape = self._escape[2:], ""
        code = int(digits, 16) if _HEX.fullmatch(digits) else ord(_REPLACEMENT)
        if self._high is not None and code in _LOW:
            character = chr(0x10000 + ((self._high - _HIGH.start) << 10) + (code - _LOW.start))
            self._high = None
            return character
        before = self._lone_half()
        if code in _HIGH:
            self._high = code
            return before
        return before + (_REPLACEMENT if code in _LOW else chr(code))

    def _lone_half(self) -> str:
        if self._high is None:
            return ""
        self._high = None
        return _REPLACEMENT


class JsonText:
    """Passes on the text of one object or array, up to its last bracket. Any split gives the same result."""

    def __init__(self) -> None:
        self.done = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> tuple[str, str]:
        """The part of ``text`` that belongs to the value, and what was left over behind it."""
        if self.done:
            return "", text
        for at, character in enumerate(text):
            self._step(character)
            if self.done:
                return text[: at + 1], text[at + 1 :]
        return text, ""

    def _step(self, character: str) -> None:
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._in_string = False
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            self.done = self._depth == 0


class TextUnder:
    """The text under a name of a JSON object that arrives in pieces. Each character is looked at once.

    What is no JSON object, or has something else under the name, gives nothing more.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = ""
        self._string = JsonString()
        self._nested = JsonText()
        self._read: Callable[[str], tuple[str, str]] = self._opening
        self._over = False

    def feed(self, text: str) -> str:
        """What is new of the text."""
        told: list[str] = []
        while text and not self._over:
            new, text = self._read(text)
            told.append(new)
        return "".join(told)

    def _opening(self, text: str) -> tuple[str, str]:
        return self._after(text, "{", self._next_key)

    def _next_key(self, text: str) -> tuple[str, str]:
        self._key, self._string = "", JsonString()
        return self._after(text.lstrip(_SPACE + ","), '"', self._in_key)

    def _in_key(self, text: str) -> tuple[str, str]:
        piece, rest = self._string.feed(text)
        self._key = (self._key + piece)[: len(self._name) + 1]  # one that is longer is another
        if self._string.done:
            self._read = self._colon
        return "", rest

    def _colon(self, text: str) -> tuple[str, str]:
        return self._after(text, ":", self._value)

    def _value(self, text: str) -> tuple[str, str]:
        text = text.lstrip(_SPACE)
        if text[:1] == '"':
            self._string, self._read = JsonString(), self._in_text
            return "", text[1:]
        if text:
            self._nested = JsonText()
            self._read = self._in_nested if text[0] in "{[" else self._in_plain
        return "", text

    def _in_text(self, text: str) -> tuple[str, str]:
        piece, rest = self._string.feed(text)
        wanted = self._key == self._name
        if self._string.done:
            self._read = self._next_key
            self._over = wanted
        return piece if wanted else "", rest

    def _in_nested(self, text: str) -> tuple[str, str]:
        _, rest = self._nested.feed(text)
        if self._nested.done:
            self._read = self._next_key
        return "", rest

    def _in_plain(self, text: str) -> tuple[str, str]:
        end = _PLAIN_VALUE.match(text)
        rest = text[end.end() :] if end else text
        if rest:
            self._read = self._next_key
        return "", rest

    def _after(self, text: str, mark: str, then: Callable[[str], tuple[str, str]]) -> tuple[str, str]:
        """Go on behind the mark, which is all that may come now."""
        text = text.lstrip(_SPACE)
        if text:
            self._over = text[0] != mark
            self._read = then
        return "", text[1:]
