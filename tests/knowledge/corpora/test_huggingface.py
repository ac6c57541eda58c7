from __future__ import annotations

import json

import pytest

from medssr.errors import InputError
from medssr.knowledge.corpora import HuggingFaceCorpus, Passage

ROWS = [
    {"key": 1, "heading": "Fabry", "body": "Pain is common. Rash is common.", "names": ["AFD"]},
    {"key": 2, "heading": "Gaucher", "body": None, "names": []},
    {"key": 3, "heading": "Pompe", "body": "Weak muscles.", "names": []},
]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def corpus(path, split="train", id_field="key", text_field="body", max_chars=1000):
    return HuggingFaceCorpus(
        path=path,
        name=None,
        split=split,
        revision=None,
        id_field=id_field,
        title_field="heading",
        text_field=text_field,
        source_field=None,
        synonyms_field="names",
        max_chars=max_chars,
        cleaning=None,
    )


def write_json(folder, rows=ROWS):
    folder.mkdir(exist_ok=True)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_parquet(folder):
    import datasets

    folder.mkdir(exist_ok=True)
    datasets.Dataset.from_list(ROWS).to_parquet(folder / "train-00000-of-00001.parquet")
    return folder


EXPECTED = [
    Passage("1#1", "Fabry", "Pain is common.", None, ("AFD",), "1"),
    Passage("1#2", "Fabry", "Rash is common.", None, ("AFD",), "1"),
    Passage("3", "Pompe", "Weak muscles."),
]


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_json, write_parquet])
def test_a_folder_on_disk_is_read_offline(tmp_path, write):
    read = corpus(write(tmp_path / "data"), max_chars=16)
    assert list(read.passages()) == EXPECTED
    assert (read.counts.num_documents, read.counts.num_empty) == (3, 1)
    assert list(read.passages()) == EXPECTED  # again, from the start


def test_a_file_on_disk_is_read(tmp_path):
    assert list(corpus(write_json(tmp_path / "data") / "train.jsonl", max_chars=16).passages()) == EXPECTED


def test_rows_without_ids_are_numbered(tmp_path):
    names = [passage.id for passage in corpus(write_json(tmp_path / "data"), id_field=None).passages()]
    assert names == ["1", "3"]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"text_field": "text"}, ["row 1", 'field "text"', "missing", "key, heading, body"]),
        ({"split": "test"}, ['split "test"']),
    ],
)
def test_faults_name_dataset_row_and_field(tmp_path, options, parts):
    path = write_json(tmp_path / "data")
    with pytest.raises(InputError) as caught:
        list(corpus(path, **options).passages())
    for part in [str(path), *parts]:
        assert part in str(caught.value)


def test_an_id_that_is_used_twice_is_named(tmp_path):
    path = write_json(tmp_path / "data", [ROWS[0], ROWS[0]])
    with pytest.raises(InputError, match='row 2, field "key": "1" was used in row 1'):
        list(corpus(path).passages())


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="none"):
        list(corpus(tmp_path / "none").passages())
