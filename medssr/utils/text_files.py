"""Opens text files as editors, spreadsheets and download tools leave them: byte-order marks, UTF-16, cp1252, gzip."""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from medssr.errors import InputError

log = logging.getLogger(__name__)

_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# The first bytes of files that are no text, with what to do about them.
_NO_TEXT = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself; fetch it: git lfs pull.",
    b"PK\x03\x04": "is a zip archive or an Excel workbook; unpack it, or save the sheet as CSV.",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook; save the sheet as CSV.",
    b"BZh": "is packed by bzip2; unpack it.",
    b"\xfd7zXZ": "is packed by xz; unpack it.",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it.",
}
# What a server sends in place of a file that is not there, or not for everybody.
_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_HEAD_BYTES = 256


@dataclass(frozen=True, slots=True)
class DecodedText:
    """The content of a text file, and the encoding that it was read in."""

    content: str
    encoding: str


def data_suffix(path: Path) -> str:
    """Returns the ending that says what a file holds, in small letters and without that of gzip.

    Example:
        >>> data_suffix(Path("medqa.JSON.gz"))
        '.json'
    """
    return Path(path.name.removesuffix(".gz")).suffix.lower()


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Yields the content of a text file as bytes: gzip is unpacked, UTF-16 with a byte-order mark is UTF-8.

    Raises:
        InputError: When the file is absent, a folder, no text, or cannot be read.
    """
    if not path.is_file():
        raise InputError.at(path, "is a folder; give a file in it." if path.is_dir() else "there is no such file.")
    try:
        with path.open("rb") as raw:
            if raw.peek(len(_GZIP)).startswith(_GZIP):
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield _as_utf8(io.BufferedReader(unpacked), path)
            else:
                yield _as_utf8(raw, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError.at(path, f"is no whole gzip file ({error}); download it again.") from error
    except OSError as error:
        raise InputError.at(path, f"cannot be read ({error.strerror or error}); check the file.") from error


def _as_utf8(stream: io.BufferedReader, path: Path) -> IO[bytes]:
    head = stream.peek(_HEAD_BYTES)
    for start, problem in _NO_TEXT.items():
        if head.startswith(start):
            raise InputError.at(path, problem)
    if _WEB_PAGE.match(head):
        raise InputError.at(path, "is a web page (HTML), not the data; download the file itself.")
    if not head.startswith(_UTF16):
        return stream
    try:
        return io.BytesIO(stream.read().decode("utf-16").encode())
    except UnicodeDecodeError as error:
        raise InputError.at(path, f"is no valid UTF-16 text ({error.reason}); save it as UTF-8.") from error


def read_text(path: Path, *, may_be_legacy: bool) -> DecodedText:
    """Returns the text of a file without its byte-order mark.

    Args:
        path: The file.
        may_be_legacy: Whether a file that is not UTF-8 is read as cp1252, which spreadsheets in Western Europe write.

    Raises:
        InputError: When the file cannot be read, is not in a known encoding, or holds NUL characters.
    """
    with open_bytes(path) as stream:
        data = stream.read()
    try:
        text = DecodedText(data.decode("utf-8-sig"), "UTF-8")
    except UnicodeDecodeError as error:
        if not may_be_legacy or _is_mostly_utf8(data):
            line = data.count(b"\n", 0, error.start) + 1
            problem = f"is not UTF-8 text ({error.reason}); convert the file."
            raise InputError.at(path, problem, line=line) from error
        text = _legacy_text(data)
        log.warning("%s: is not UTF-8; read as %s, check letters with accents", path, text.encoding)
    if (position := text.content.find("\0")) >= 0:
        line = text.content.count("\n", 0, position) + 1
        raise InputError.at(path, "holds a NUL character; save the file as UTF-8 text.", line=line)
    return text


def _is_mostly_utf8(data: bytes) -> bool:
    """Returns whether the characters beyond ASCII are UTF-8 but for a few broken ones."""
    text = data.decode("utf-8", errors="replace")
    num_broken = text.count("\ufffd")
    num_whole = sum(not char.isascii() for char in text) - num_broken
    return num_whole > num_broken


def _legacy_text(data: bytes) -> DecodedText:
    try:
        return DecodedText(data.decode("cp1252"), "cp1252")
    except UnicodeDecodeError:  # five bytes are undefined in cp1252
        return DecodedText(data.decode("latin-1"), "latin-1")
