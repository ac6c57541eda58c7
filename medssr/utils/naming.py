"""Names of files and folders: those of jobs, from the overrides that make them differ, and those that users give."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

# Configuration that decides where and how a command runs and what it is called, not what it makes.
CHANGES_NO_RESULT = ("paths", "logger", "extras", "callbacks", "force", "verify", "task_name", "study", "cost")
# Of the 255 bytes that file systems allow a name; prefixes, endings and hashes come on top.
_MAX_NAME = 160
_MAX_VALUE = 40
_HASH_DIGITS = 8


def job_name(overrides: Sequence[str]) -> str:
    """Returns the name of a job: the overrides that change its result, in the order of their keys.

    The name can be a file name: what is not a letter, a digit or one of `.+-_` becomes `_`, and long values are cut.
    Where that loses something, a hash of the overrides follows, so that different overrides have different names.
    Overrides that change no result are left out: jobs that differ in them alone are the same job.

    Example:
        >>> job_name(["seed=3", "extras.num_threads=1", "model=tiny_llama"])
        'model=tiny_llama,seed=3'
        >>> job_name(["data.path=/data/questions.jsonl"])
        'data.path=_data_questions.jsonl~9f5306cc'
        >>> job_name([])
        'defaults'
    """
    decisive = sorted(override for override in overrides if changes_results(override))
    parts = [_readable(override) for override in decisive]
    name = ",".join(parts) or "defaults"
    is_exact = parts == decisive and len(name) <= _MAX_NAME
    return name if is_exact else f"{name[:_MAX_NAME]}~{_digest(decisive)}"


def safe_name(text: str) -> str:
    """Returns a name that a user gives as a part of a path that stays in its folder.

    Letters of all scripts, digits, blanks and `.+-_=,()@` are kept. Anything else, dots in a row, and a dot or a blank
    at either end become `_`, and long names are cut. Where that loses something, a hash of the text follows, so that
    different texts have different names.

    Example:
        >>> safe_name("MedQA (4 options)"), safe_name("../../logs"), safe_name("..")
        ('MedQA (4 options)', '_logs~b166085f', '_~5ec1f7e7')
    """
    cleaned = re.sub(r"^[. ]+|[. ]+$", "_", re.sub(r"(?:[^\w.+=,()@ -]|\.\.+)+", "_", text))
    # Cut by bytes, as file systems count.
    cut = cleaned.encode()[:_MAX_NAME].decode(errors="ignore")
    return text if cut == text and text else f"{cut or '_'}~{_digest([text])}"


def changes_results(override: str) -> bool:
    """Returns whether an override is of what decides a result; `+key`, `++key` and `~key` count as `key`."""
    group = re.split(r"[./@=]", override.lstrip("+~"), maxsplit=1)[0]
    return group not in (*CHANGES_NO_RESULT, "hydra")


def _readable(override: str) -> str:
    key, equals, value = override.partition("=")
    # The end of a path says more than its start.
    return f"{_safe(key)}{equals}{_safe(value[-_MAX_VALUE:] if '/' in value else value[:_MAX_VALUE])}"


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", text)


def _digest(overrides: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(overrides).encode(errors="surrogatepass")).hexdigest()[:_HASH_DIGITS]
