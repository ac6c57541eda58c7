"""The key of a chat server: it comes from an environment variable, goes into a header, and is written nowhere."""

from __future__ import annotations

import os
import re

from medssr.errors import InputError

_MIN_KEY_CHARS = 8
_SIGN = r"[\w+/=-]"  # a key may consist of these, so a match must not be a part of a longer word
_HIDDEN = "***"


def key_from_environment(variable: str | None, base_url: str) -> str | None:
    """Returns the key of a server, or None for a server without one.

    Args:
        variable: Name of the environment variable that holds the key; None for a server without one.
        base_url: Address of the server, for messages.

    Raises:
        InputError: When `variable` cannot be the name of a variable, or it is not set or holds no possible key.
    """
    if variable is None:
        return None
    if not re.fullmatch(r"[A-Za-z_]\w*", variable):
        # The value is not shown: it is probably the key itself.
        problem = "is not the name of an environment variable; put the key in a variable and give its name"
        advice = "If it was the key itself, the run folder's .hydra has it: delete that folder"
        raise InputError(f"api_key_env: {problem}, such as api_key_env=OPENAI_API_KEY. {advice}.")
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        problem = f"The environment variable {variable} {'holds no key' if key else 'is not set'}"
        remedy = f"put the key of {base_url} in it, or set api_key_env=null for a server without one"
        raise InputError(f"{problem}; {remedy}.")
    return key


def hide_key(text: str, key: str | None) -> str:
    """Returns an error text of a server or a proxy without the key, which some of them repeat.

    Only a whole word that equals the key is hidden: after "Bearer", whatever the key is, and elsewhere if the key looks
    like one. A plain word, which may be the key of a local server, stays as it is. What a model writes is never
    changed, since it does not see the key.

    Example:
        >>> hide_key("Authorization: Bearer pain, neuropathic pain", "pain")
        'Authorization: Bearer ***, neuropathic pain'
        >>> hide_key("Incorrect API key provided: sk-1234567.", "sk-1234567")
        'Incorrect API key provided: ***.'
    """
    if key is None:
        return text
    if len(key) >= _MIN_KEY_CHARS and not key.isalpha():
        return re.sub(rf"(?<!{_SIGN}){re.escape(key)}(?!{_SIGN})", _HIDDEN, text)
    return re.sub(rf"((?i:\bbearer)\s+){re.escape(key)}(?!{_SIGN})", rf"\g<1>{_HIDDEN}", text)
