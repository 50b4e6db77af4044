"""Secrets in addresses, which must not get into logs, states, artifacts or errors."""

import re

_WEB = re.compile(r"\b((?:https?|webdavs?)://)[^/@\s]*@")
"""Of a web address everything before the `@` may be a token; `ssh://git@host` names a user."""
_PASSWORD = re.compile(r"\b([a-z][\w+.-]*://[^/@:\s]*):[^/@\s]*@")

_QUERY = re.compile(r"([?&][\w-]*(?:token|secret|password|key|signature|credential)=)[^&#\s)]+", re.IGNORECASE)
"""Also of addresses that are signed, as those of object stores are."""


def redacted(text: str) -> str:
    """Return a text in which no address holds a token or a password."""
    return _QUERY.sub(r"\1…", _PASSWORD.sub(r"\1@", _WEB.sub(r"\1", text)))
