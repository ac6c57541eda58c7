"""Loads benchmarks that are Hugging Face datasets, from the hub or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medssr.benchmarks.reader import NEEDS_GOLD
from medssr.config import HubConfig, ItemFieldsConfig
from medssr.errors import InputError
from medssr.questions import Question, QuestionFile
from medssr.questions.forms import Form, Layout
from medssr.questions.option_fields import Field, LetteredLines
from medssr.questions.reader import answered
from medssr.utils.records import Record, RecordFile

_TIMEOUT_S = 10.0


class HubUnavailableError(InputError):
    """The hub cannot be reached, lacks the dataset, or refuses it to this user."""


def load_hub_benchmark(config: HubConfig) -> tuple[list[Question], str | None]:
    """Returns the questions of a dataset in its order, and the commit that they are from; None for a folder on disk.

    The dataset is kept in the cache of `datasets`: with HF_HUB_OFFLINE=1 a copy from before is taken.

    Raises:
        HubUnavailableError: When the hub cannot be reached or refuses the dataset.
        InputError: When the dataset cannot be read, or a row is no question with a gold answer; with row and field.
    """
    commit = None if Path(config.path).exists() else _commit(config)
    path = Path(config.path)
    records = [Record(row, path, number) for number, row in enumerate(_rows(config, commit), start=1)]
    file = QuestionFile(path, RecordFile(path, "dataset", lambda: iter(records)), _layout(config.fields))
    return answered(file, NEEDS_GOLD), commit


def _layout(fields: ItemFieldsConfig) -> Layout:
    """Returns the form that the configuration of a dataset describes."""
    options = LetteredLines(fields.question) if fields.options is None else Field(fields.options)
    form = Form("fields of the configuration", fields.question, options, fields.answer)
    return Layout(form, () if fields.options is None else (fields.options,), fields.answer, fields.id)


def _commit(config: HubConfig) -> str | None:
    """Returns the commit of a revision, or the revision itself in offline mode."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by name at run time

    if constants.HF_HUB_OFFLINE:
        return config.revision
    try:
        info = HfApi().dataset_info(config.path, revision=config.revision, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, OSError, ValueError) as error:
        revision = f" (revision {config.revision})" if config.revision else ""
        raise HubUnavailableError(
            f"{config.path}{revision}: the hub does not answer for this dataset: {str(error).strip() or repr(error)} "
            "Put the benchmark's file into the folder benchmark.path, or set HF_HUB_OFFLINE=1 to take the copy that "
            "was downloaded before."
        ) from error
    return info.sha


def _rows(config: HubConfig, commit: str | None) -> list[dict[str, Any]]:
    import datasets

    try:
        rows = datasets.load_dataset(config.path, config.name, split=config.split, revision=commit)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise HubUnavailableError(f"{config.path}: cannot be had from the hub or its cache: {error}") from error
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputError.at(config.path, f'cannot be read (split "{config.split}"): {error}') from error
    return list(rows)
