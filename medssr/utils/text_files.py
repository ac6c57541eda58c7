"""Opens text files as editors, spreadsheets and download tools leave them: byte-order marks, UTF-16, cp1252, gzip."""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.errors import InputError, shown

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
# The most bytes of a line; a record of this length is no question, document or name.
MAX_LINE_BYTES = 2**26
# The most bytes of a file that is read as a whole, unpacked.
_MAX_WHOLE_BYTES = 2**31
_PIECE_BYTES = 2**20
# A gzip file may unpack to so many times its size, and to so many bytes in any case. Text is packed to a tenth or so; a
# file that is made to fill the memory, to a thousandth.
_MAX_UNPACKED_RATIO = 100
_MIN_UNPACKED_BYTES = 2**26


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


def is_folder(path: Path) -> bool:
    """Returns whether a path is a folder, and not a file.

    Raises:
        InputError: When it is neither: there is nothing, or a pipe, a device, a link that leads round in a circle.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError.at(path, "there is no such file.") from error
    except OSError as error:
        raise InputError.at(path, f"cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise InputError(f"{shown(str(path))}: is no path ({error}).") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise InputError.at(path, "is a pipe or a device; write what it gives to a file, and give that.")
    return stat.S_ISDIR(mode)


def check_file(path: Path) -> None:
    """Raises InputError where a path is no file."""
    if is_folder(path):
        raise InputError.at(path, "is a folder; give a file in it.")


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """Yields the content of a text file as bytes: gzip is unpacked, UTF-16 with a byte-order mark is UTF-8.

    Raises:
        InputError: When the file is absent, a folder, no text, unpacks to far more than text does, or cannot be read.
    """
    check_file(path)
    try:
        with path.open("rb") as raw:
            if raw.peek(len(_GZIP)).startswith(_GZIP):
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield _as_utf8(io.BufferedReader(_Unpacked(unpacked, path)), path)
            else:
                yield _as_utf8(raw, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError.at(path, f"is no whole gzip file ({error}); download it again.") from error
    except OSError as error:
        raise InputError.at(path, f"cannot be read ({error.strerror or error}); check the file.") from error


def read_lines(stream: io.BufferedReader, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (number, line) of a file, with the line ends.

    Raises:
        InputError: When a line is too long to be held in memory.
    """
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(line) > MAX_LINE_BYTES:
            problem = f"is longer than {MAX_LINE_BYTES // 2**20} MiB; each line holds one record. Was the file damaged?"
            raise InputError.at(path, problem, line=number)
        yield number, line


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, up to the most that a file of its size may hold."""

    def __init__(self, unpacked: gzip.GzipFile, path: Path) -> None:
        self._unpacked = unpacked
        self._path = path
        self._num_left = max(_MIN_UNPACKED_BYTES, _MAX_UNPACKED_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer and returns how many bytes there were. Raises InputError for more than are allowed."""
        num_read = self._unpacked.readinto(buffer)
        self._num_left -= num_read
        if self._num_left < 0:
            problem = f"unpacks to more than {_MAX_UNPACKED_RATIO} times its size, as no text does; unpack it yourself."
            raise InputError.at(self._path, problem)
        return num_read


def _as_utf8(stream: io.BufferedReader, path: Path) -> io.BufferedReader:
    head = stream.peek(_HEAD_BYTES)
    for start, problem in _NO_TEXT.items():
        if head.startswith(start):
            raise InputError.at(path, problem)
    if _WEB_PAGE.match(head):
        raise InputError.at(path, "is a web page (HTML), not the data; download the file itself.")
    if not head.startswith(_UTF16):
        return stream
    try:
        return io.BufferedReader(io.BytesIO(_read_whole(stream, path).decode("utf-16").encode()))
    except UnicodeDecodeError as error:
        raise InputError.at(path, f"is no valid UTF-16 text ({error.reason}); save it as UTF-8.") from error


def _read_whole(stream: io.BufferedReader, path: Path) -> bytes:
    """Returns the content; raises InputError where it is too large to be held in memory."""
    data = bytearray()
    while piece := stream.read(_PIECE_BYTES):
        data += piece
        if len(data) > _MAX_WHOLE_BYTES:
            problem = f"holds more than {_MAX_WHOLE_BYTES // 2**30} GiB, too many to be read at once; give it as JSONL"
            raise InputError.at(path, f"{problem}, one record a line, or as Parquet.")
    return bytes(data)


def read_text(path: Path, *, may_be_legacy: bool) -> DecodedText:
    """Returns the text of a file without its byte-order mark.

    Args:
        path: The file.
        may_be_legacy: Whether a file that is not UTF-8 is read as cp1252, which spreadsheets in Western Europe write.

    Raises:
        InputError: When the file cannot be read, is not in a known encoding, or holds NUL characters.
    """
    with open_bytes(path) as stream:
        data = _read_whole(stream, path)
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


def read_template(path: Path, field: str) -> str:
    """Returns the text of a prompt template, with line ends as Python has them.

    Args:
        path: The file.
        field: Its configuration key, for the message.

    Raises:
        InputError: When there is no such file, or it is no UTF-8 text.
    """
    if not os.path.isfile(path):  # noqa: PTH113  unlike `Path.is_file`, also for a path that no file can have
        raise InputError.at(path, "there is no such prompt template.", field=field)
    return read_text(path, may_be_legacy=False).content.replace("\r\n", "\n")


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
