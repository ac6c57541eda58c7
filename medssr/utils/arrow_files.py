"""Reads Parquet and Arrow files, and folders that `datasets` has saved, as rows of plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medssr.errors import InputError
from medssr.utils.text_files import check_file

ARROW_SUFFIXES = (".parquet", ".arrow", ".feather")
_PARQUET = b"PAR1"
_ARROW_FILE = b"ARROW1"
# Rows that are unpacked at once; one text may stand in all of them.
_NUM_ROWS = 100


def read_arrow(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a Parquet or Arrow file.

    Numbers that stand for a class (ClassLabel of `datasets`) become its name, -1 becomes None. Members of an object
    that are null are left out, because in such files all rows have the members that any row has.

    Raises:
        InputError: When the file is absent or cannot be read.
    """
    check_file(path)
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet

    try:
        with path.open("rb") as stream:
            head = stream.read(len(_ARROW_FILE))
            if head.startswith(_PARQUET):
                source = pyarrow.parquet.ParquetFile(path)
                batches, schema = source.iter_batches(_NUM_ROWS), source.schema_arrow
            elif head == _ARROW_FILE:
                file = pyarrow.ipc.open_file(path)
                batches, schema = (file.get_batch(index) for index in range(file.num_record_batches)), file.schema
            else:
                batches = pyarrow.ipc.open_stream(path)
                schema = batches.schema
            classes = _class_names(schema.metadata or {})
            for batch in batches:
                batch.validate(full=True)  # a damaged file may name places beyond the end of its texts
                for row in batch.to_pylist():
                    yield {name: _plain(_class_name(value, classes.get(name))) for name, value in row.items()}
    # What Arrow does not find wrong, its conversion to Python does: dates and time zones that do not exist, bad sizes.
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError, SystemError, RecursionError) as error:
        raise InputError.at(
            path, f"is no Parquet or Arrow file that can be read ({error}); download or write it again."
        ) from error


def saved_files(folder: Path) -> list[Path] | None:
    """Returns the files of a dataset that `save_to_disk` has written, in order; None for any other folder.

    Raises:
        InputError: When the folder has several splits, or its description is broken.
    """
    for description, key in (("dataset_dict.json", "splits"), ("state.json", "_data_files")):
        file = folder / description
        if not file.is_file():
            continue
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))[key]
            if key == "_data_files":
                return [folder / entry["filename"] for entry in entries]
            splits = [str(entry) for entry in entries]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InputError.at(file, f"is not as save_to_disk of datasets writes it ({error!r}).") from error
        if len(splits) != 1:
            examples = " or ".join(str(folder / split) for split in splits)
            raise InputError.at(folder, f"holds the splits {', '.join(splits)}; name one: {examples}.")
        return saved_files(folder / splits[0])
    return None


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Returns the names of the classes of each column that has classes, as `datasets` notes them in a file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _class_name(value: Any, names: list[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def _plain(value: Any) -> Any:
    """Returns the value as JSON has it: dates as texts, NaN and bytes as null, objects without null members."""
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return None if isinstance(value, bytes) else str(value)
