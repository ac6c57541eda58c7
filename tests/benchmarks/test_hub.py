"""Tests datasets in folders on disk, which are read by the same code as datasets on the hub."""

import json

import pytest

from medssr.benchmarks.hub import HubUnavailableError, load_hub_benchmark
from medssr.config import HubConfig, ItemFieldsConfig
from medssr.errors import InputError

FIELDS = ItemFieldsConfig(id="id", question="question", options="options", answer="label")
TEN = {letter: f"drug {letter}" for letter in "ABCDEFGHIJ"}
ROWS = [{"id": f"Text-{number}", "question": f"Which {number}?", "options": TEN, "label": "J"} for number in range(3)]


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Writes rows as the test split of a dataset on disk and returns its configuration."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def write(rows, fields=FIELDS, split="test"):
        folder = tmp_path / "dataset"
        folder.mkdir(exist_ok=True)
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return HubConfig(str(folder), None, split, None, fields)

    return write


def test_rows_become_questions_by_the_configured_fields(dataset):
    questions, commit = load_hub_benchmark(dataset(ROWS))
    assert [question.id for question in questions] == ["Text-0", "Text-1", "Text-2"]
    assert (questions[0].options, questions[0].answer, questions[0].source) == (TEN, "J", "dataset")
    assert commit is None


def test_lettered_text_and_numbered_rows(dataset):
    rows = [{"text": "Which?\nA. one\nB. two", "key": "B"}]
    fields = ItemFieldsConfig(id=None, question="text", options=None, answer="key")
    ((question,), _) = load_hub_benchmark(dataset(rows, fields))
    assert (question.id, question.stem, question.answer) == ("1", "Which?", "B")


def test_options_that_some_rows_lack_are_left_out(dataset):
    fewer = {letter: TEN[letter] for letter in "ABCD"}
    questions, _ = load_hub_benchmark(dataset([ROWS[0], ROWS[1] | {"options": fewer, "label": "A"}]))
    assert [len(question.options) for question in questions] == [10, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "K"}, r'row 2, field "label": \'K\' is no option'),
        ({"id": "Text-0"}, r'row 2, field "id": "Text-0" was used on row 1 already'),
    ],
)
def test_a_fault_names_row_and_field(dataset, change, message):
    with pytest.raises(InputError, match=message):
        load_hub_benchmark(dataset([ROWS[0], ROWS[1] | change]))


def test_a_field_that_is_not_there_is_named(dataset):
    fields = ItemFieldsConfig(id="id", question="question", options="choices", answer="label")
    with pytest.raises(
        InputError, match=r'row 1, field "choices": is missing.*Found the fields id, question, options, label'
    ):
        load_hub_benchmark(dataset(ROWS, fields))


def test_a_split_that_is_not_there_is_an_input_error(dataset):
    with pytest.raises(InputError, match=r'dataset.*split "dev"'):
        load_hub_benchmark(dataset(ROWS, split="dev"))


def test_a_hub_that_does_not_answer_says_what_to_do(monkeypatch):
    # A port on which nothing listens, as on a machine without a network.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    config = HubConfig("nobody/nothing", None, "test", "main", FIELDS)
    with pytest.raises(HubUnavailableError) as caught:
        load_hub_benchmark(config)
    for part in ("nobody/nothing", "revision main", "benchmark.path", "HF_HUB_OFFLINE=1"):
        assert part in str(caught.value)
