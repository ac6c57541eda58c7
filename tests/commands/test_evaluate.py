"""Tests the whole command on tiny policies: prompts, resuming and results."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from support.commands import start
from support.helpers import random_policy, toy_question, typed

from medssr.artifacts import fingerprint_parts
from medssr.commands.evaluate import evaluate
from medssr.config.evaluation import MemberConfig
from medssr.errors import InputError
from medssr.evaluation.results_io import SCHEMA_VERSION, read_predictions
from medssr.evaluation.scoring import score
from medssr.questions import read_questions, write_questions

pytestmark = pytest.mark.slow

ALWAYS = ["extras.progress_bar=false", "extras.num_threads=1", "protocol.max_new_tokens=6"]
NO_TOKENS = [*ALWAYS[:2], "protocol=loglikelihood"]


@pytest.fixture
def settings(tmp_path):
    """Returns the configuration of an evaluation of a random policy on five toy questions."""
    random_policy("qwen3").save(tmp_path / "model")
    traces = [{"trace": "Perhaps B. heart is right."}, {"trace": "I would say B. heart"}, {}, {}, {}]
    questions = [toy_question(number, provenance=trace) for number, trace in enumerate(traces)]
    write_questions(tmp_path / "toy.jsonl", questions)

    def make(*overrides: str, engine: str | None = None):
        places = [f"paths.root_dir={tmp_path}", f"model.path={tmp_path}/model", f"benchmark.path={tmp_path}/toy.jsonl"]
        config = typed("evaluate", *places, *overrides)
        return config if engine is None else replace(config, rollout={"_target_": engine})

    return make


def results_of(artifact):
    return json.loads(artifact.path("results.json").read_text(encoding="utf-8"))


def predictions_of(artifact, name="toy"):
    return [json.loads(line) for line in artifact.path(f"predictions-{name}.jsonl").read_text().splitlines()]


def test_results_say_what_was_asked_and_how(settings, tmp_path):
    artifact = evaluate(settings(*ALWAYS, "protocol.num_samples=2"))
    results = results_of(artifact)
    assert results["schema_version"] == SCHEMA_VERSION
    expected = {"path": f"{tmp_path}/model", "revision": None, "dtype": "float32", "adapter_path": None}
    assert results["model"] == expected
    protocol = results["protocol"]
    assert (protocol["name"], protocol["num_samples"], protocol["prompt_form"]) == ("sampled", 2, "chat")
    assert (protocol["prompt_path"], len(protocol["template_sha256"])) == ("answer_v1.txt", 64)
    scored = results["benchmarks"]["toy"]
    assert (scored["num_questions"], scored["num_samples"]) == (5, 2)
    assert scored["subset"]["name"] == "5"
    assert scored["subset"]["source"] == "toy.jsonl"
    assert set(scored["axes"]) == {"length", "specialty"}
    assert list(scored["slices"]) == ["all"]
    assert scored["slices"]["all"]["second_pass"] is None
    assert scored["orders"] is scored["prefill"] is None
    assert results["means"] == results["missing"] == {}
    assert next(read_questions(artifact.path("questions-toy.jsonl"))).id == "q0"
    rows = predictions_of(artifact)
    assert [len(row["answers"]) for row in rows] == [2] * 5
    assert len({row["prompt_sha256"] for row in rows}) == 5


def test_a_second_pass_is_reported_apart(settings):
    artifact = evaluate(settings(*ALWAYS, "protocol=paper", "protocol.max_new_tokens=4"))
    results = results_of(artifact)
    assert results["protocol"]["second_pass"] is True
    scored = results["benchmarks"]["toy"]
    assert scored["num_samples"] == 4
    # Four random tokens name no option: all is wrong without the second pass, and all has a letter with it.
    assert scored["slices"]["all"]["invalid"]["value"] == 1.0
    assert scored["slices"]["all"]["accuracy"]["value"] == 0.0
    assert scored["slices"]["all"]["recovered"] == {"value": 1.0, "count": 20, "n": 20}
    questions = list(read_questions(artifact.path("questions-toy.jsonl")))
    predictions = read_predictions(artifact.directory, "toy")
    right = [
        [letter == question.answer for letter in found.final_letters]
        for question, found in zip(questions, predictions, strict=True)
    ]
    second_pass = scored["slices"]["all"]["second_pass"]
    assert second_pass["accuracy"]["value"] == pytest.approx(sum(map(sum, right)) / 20)
    again = asdict(score(questions, predictions, seed=results["seed"]).slices["all"])
    assert again == scored["slices"]["all"]


def test_answers_without_a_second_pass_are_read_back_as_such(settings):
    artifact = evaluate(settings(*ALWAYS))
    assert all(found.recovered == [] for found in read_predictions(artifact.directory, "toy"))


def test_letters_by_likelihood(settings):
    artifact = evaluate(settings(*NO_TOKENS))
    scored = results_of(artifact)["benchmarks"]["toy"]
    assert scored["slices"]["all"]["invalid"]["count"] == 0
    for row in predictions_of(artifact):
        (answer,) = row["answers"]
        assert answer["letter"] == max(answer["letter_logps"], key=answer["letter_logps"].get)


def test_four_orders_of_the_options(settings):
    artifact = evaluate(settings(*NO_TOKENS, "protocol.num_orders=4"))
    scored = results_of(artifact)["benchmarks"]["toy"]
    assert scored["num_samples"] == 4
    assert scored["orders"]["num_orders"] == 4
    assert scored["orders"]["consistent"]["n"] == 5
    mean = sum(scored["orders"]["accuracy_by_order"]) / 4
    assert scored["slices"]["all"]["accuracy"]["value"] == pytest.approx(mean, abs=1e-6)
    first_order = predictions_of(evaluate(settings(*NO_TOKENS)))
    assert [row["answers"][0] for row in predictions_of(artifact)] == [row["answers"][0] for row in first_order]


def test_a_wrong_start(settings):
    artifact = evaluate(settings(*ALWAYS, "protocol.prefill=trace", "protocol.num_samples=2"))
    scored = results_of(artifact)["benchmarks"]["toy"]
    assert (scored["num_questions"], scored["subset"]["num_questions"]) == (2, 5)
    assert (scored["prefill"]["num_left_out"], scored["prefill"]["follow_rate"]["n"]) == (3, 4)
    assert all(
        item["text"].startswith(("Perhaps B.", "I would"))
        for row in predictions_of(artifact)
        for item in row["answers"]
    )
    with pytest.raises(InputError, match=r'protocol\.prefill: no question of toy\.jsonl has a text in .* "none"'):
        evaluate(settings(*ALWAYS, "protocol.prefill=none"))


def test_solved_examples_are_in_the_prompt(settings, tmp_path):
    pool = [replace(toy_question(number + 10), id=f"p{number}") for number in range(2)]
    write_questions(tmp_path / "pool.jsonl", pool)
    shots = ["protocol.num_shots=2", f"protocol.shots_path={tmp_path}/pool.jsonl"]
    with_shots, without = evaluate(settings(*NO_TOKENS, *shots)), evaluate(settings(*NO_TOKENS))
    assert results_of(with_shots)["protocol"]["shot_ids"] == ["p0", "p1"]
    hashes = [[row["prompt_sha256"] for row in predictions_of(artifact)] for artifact in (with_shots, without)]
    assert not set(hashes[0]) & set(hashes[1])


def test_means_and_what_is_missing(settings, tmp_path):
    members = (
        "+benchmark.members={toy: {files: [toy]}, nejm: {files: [nejm]}}",
        "+benchmark.means={general: [toy, nejm], rare: [toy]}",
    )
    results = results_of(evaluate(settings(*NO_TOKENS, *members, f"benchmark.path={tmp_path}")))
    assert results["means"]["general"]["missing"] == ["nejm"]
    assert results["means"]["general"]["accuracy"] is None
    accuracy = results["benchmarks"]["toy"]["slices"]["all"]["accuracy"]
    assert results["means"]["rare"]["accuracy"]["value"] == accuracy["value"]
    assert "nejm" in results["missing"]["nejm"]


@pytest.mark.parametrize(
    "override",
    [
        "protocol.temperature=0.5",
        "protocol=greedy",
        "protocol.cue='So it is'",
        "protocol.num_shots=1",
        "model.dtype=bfloat16",
    ],
)
def test_another_protocol_or_model_starts_anew(settings, tmp_path, override):
    shots = f"protocol.shots_path={tmp_path}/toy.jsonl"
    before, after = (asdict(settings(*ALWAYS, shots, *more)) for more in ((), (override,)))
    assert fingerprint_parts(before) != fingerprint_parts(after)


def test_another_text_of_the_prompt_starts_anew_under_the_same_name(settings, tmp_path):
    (tmp_path / "prompt.txt").write_text("{question}", encoding="utf-8")
    override = f"protocol.prompt_path={tmp_path}/prompt.txt"
    first = evaluate(settings(*NO_TOKENS, override))
    assert evaluate(settings(*NO_TOKENS, override)).directory == first.directory
    (tmp_path / "prompt.txt").write_text("Answer.\n{question}", encoding="utf-8")
    second = evaluate(settings(*NO_TOKENS, override))
    assert second.directory != first.directory
    assert predictions_of(second)[0]["prompt_sha256"] != predictions_of(first)[0]["prompt_sha256"]


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(settings, tmp_path):
    config = settings(*ALWAYS, "protocol.questions_per_chunk=2", engine="support.breaking_engine.Breaking")
    with pytest.raises(KeyboardInterrupt):
        evaluate(config)
    directories = [path for path in Path(config.paths.artifact_dir, "evaluate").iterdir() if path.is_dir()]
    assert [len(list(path.glob("answers/toy/*.jsonl"))) for path in directories] == [1]
    assert not (directories[0] / "results.json").exists()
    artifact = evaluate(config)
    assert artifact.directory == directories[0]
    assert len(predictions_of(artifact)) == 5
    whole = evaluate(replace(config, paths=replace(config.paths, artifact_dir=str(tmp_path / "elsewhere"))))
    assert whole.directory.name == artifact.directory.name
    names = ["results.json", "questions-toy.jsonl", "predictions-toy.jsonl"]
    assert [artifact.path(name).read_bytes() for name in names] == [whole.path(name).read_bytes() for name in names]


@pytest.mark.slow
def test_of_two_commands_at_once_one_evaluates_and_both_have_the_scores(settings, tmp_path):
    places = [f"paths.root_dir={tmp_path}", f"model.path={tmp_path}/model", f"benchmark.path={tmp_path}/toy.jsonl"]
    both = [start("evaluate", *places, *ALWAYS, folder=tmp_path) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("already made" in output for output in outputs) == 1
    (artifact,) = (path for path in (tmp_path / "artifacts/evaluate").iterdir() if path.is_dir())
    assert (artifact / "manifest.json").is_file()


TWICE = (
    '[{"id": "1", "question": "W?\\nA. x\\nB. y", "gold": "A"},\n'
    '{"id": "1", "question": "W?\\nA. x\\nB. y", "gold": "A"}]'
)
UNKNOWN_FIELD = '{"id": "1", "stem": "W?", "options": {"A": "x", "B": "y"}, "gold": "A"}'


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (TWICE, 'line 2, field "id": "1" was used on line 1 already; ids are unique.'),
        (UNKNOWN_FIELD, 'line 1, field "gold"'),
    ],
)
def test_bad_input_names_its_place_and_leaves_nothing_behind(settings, tmp_path, content, place):
    (tmp_path / "bad.json").write_text(content, encoding="utf-8")
    config = settings(*NO_TOKENS, f"benchmark.path={tmp_path}/bad.json")
    with pytest.raises(InputError) as caught:
        evaluate(config)
    assert str(caught.value).startswith(f"{tmp_path}/bad.json")
    assert place in str(caught.value)
    assert not [path for path in Path(config.paths.artifact_dir, "evaluate").iterdir() if path.is_dir()]


def test_a_bad_file_among_good_ones_stops_all_before_any_is_asked(settings, tmp_path):
    folder = tmp_path / "suite"
    write_questions(folder / "a.jsonl", [toy_question()])
    (folder / "b.json").write_text(TWICE, encoding="utf-8")
    config = settings(*NO_TOKENS, f"benchmark.path={folder}")
    with pytest.raises(InputError, match=r'b\.json, line 2, field "id"'):
        evaluate(config)
    assert not [path for path in Path(config.paths.artifact_dir, "evaluate").iterdir() if path.is_dir()]


def test_a_benchmark_whose_name_leads_out_of_the_folder_stays_in_it(settings, tmp_path):
    before = set(tmp_path.iterdir()) | {tmp_path / "artifacts"}
    config = settings(*ALWAYS)
    members = {"../../x": MemberConfig(files=["toy"])}
    artifact = evaluate(replace(config, benchmark=replace(config.benchmark, members=members)))
    assert list(results_of(artifact)["benchmarks"]) == ["../../x"]
    assert [row.question_id for row in read_predictions(artifact.directory, "../../x")] == [f"q{n}" for n in range(5)]
    assert set(tmp_path.iterdir()) == before
    names = {path.name for path in (tmp_path / "artifacts").iterdir()} - {".hashes"}
    assert names == {"evaluate"}
