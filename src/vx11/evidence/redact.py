"""Keeps secrets out of evidence: what looks like one, what is called one, and those that somebody told it about."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

INSTEAD = "[redacted]"
# A value is a secret by its name, as `db_password` or `API-KEY`; names of figures, as token_issue_time_ms, are not.
_NAME = re.compile(
    r"(?:^|[_-])(?:password|passwd|passphrase|secret|token|credentials?|authorization|cookie|api[_-]?key|private[_-]?key)$",
    re.IGNORECASE,
)
# Three parts of base64 with dots between them, the first of which begins a JSON object: a token.
_TOKEN = rb"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
# A private key; one that is cut off ends where what a key consists of ends, so that what is around it stays.
_PEM = rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----|(?:[\w+/=:,.\s-]|\\[nrt/])*)"
_BEARER = rb"(?<=[Bb]earer )[\w.~+/=-]{8,}"
_LOOKS = re.compile(b"|".join((_TOKEN, _PEM, _BEARER)), re.DOTALL)
# Shorter ones would be found in what is none.
SHORTEST = 6


def is_name_of_secret(name: str) -> bool:
    """Whether a value of this name is a secret."""
    return _NAME.search(name) is not None


def _forms(value: str) -> set[str]:
    """As it is, and as JSON, XML, HTML, a Python string and a URL have it."""
    spelled = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    return spelled | {html.escape(value), html.escape(value, quote=False), quote(value, safe="", errors="replace")}


class Redactor:
    """Replaces secrets.

    Args:
        known: values of secrets, replaced wherever they stand; ones of less than six characters are not.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: list[bytes] = []
        self.learn(known)

    def learn(self, values: Iterable[str]) -> None:
        """Tells it of further secrets."""
        known = {form.encode("utf-8", "surrogatepass") for value in values if len(value) >= SHORTEST for form in _forms(value)}
        self._known = sorted({*self._known, *known}, key=len, reverse=True)

    def content(self, content: bytes) -> bytes:
        """Of a file."""
        for value in self._known:
            content = content.replace(value, INSTEAD.encode())
        return _LOOKS.sub(INSTEAD.encode(), content)

    def text(self, text: str) -> str:
        """Of a text."""
        return self.content(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def value(self, value: Any, name: str = "") -> Any:
        """Of plain data, whatever its depth; a text is a secret as a whole where its name says so."""
        if isinstance(value, str):
            return INSTEAD if value and is_name_of_secret(name) else self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, name) for item in value]
        return value
