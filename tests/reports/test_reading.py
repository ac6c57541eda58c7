"""What a report shows to read: synthetic questions, answers before and after, cost, commands; and its colours."""

from __future__ import annotations

import pytest
import yaml
from support.studies import write_manifest
from support.whole_runs import SEED, write_whole_run

from medssr.reports.colours import BASE, DISTINCT, palette_of
from medssr.reports.comparison import compare_groups
from medssr.reports.drafts import Source, draft_sets
from medssr.reports.metrics import run_cost, step_costs
from medssr.reports.pages import repeat_command, write_report
from medssr.reports.studies import run_folders
from medssr.reports.tables import scores
from medssr.reports.trajectories import trajectories


@pytest.fixture
def run(tmp_path):
    return write_whole_run(tmp_path)


def test_a_draft_says_what_it_was_made_of_and_what_became_of_it(run):
    (found,) = draft_sets([run, run], num_sets=3, num_drafts=5)
    assert found.runs == ["one", "one"]
    assert found.totals == {"kept": 1, "no label": 2, "rejected": 1}
    drafts = {draft.id: draft for draft in found.drafts}
    kept = drafts["q0"]
    assert (kept.fate, kept.label, kept.truth, kept.votes, kept.agreement) == ("kept", "A", "A", {"A": 3, "B": 1}, 0.75)
    assert kept.reason == "75% of 4 votes agree, within ? to ?"  # the manifest names no band
    assert [(source.id, source.text) for source in kept.passages] == [
        ("corpus:1", "GLA is at fault."),
        ("elsewhere:2", ""),
    ]
    assert [(source.id, source.text) for source in kept.seeds] == [(SEED.id, SEED.stem), ("gone", "")]
    tied, below = drafts["q1"], drafts["q2"]
    assert (tied.label, tied.votes) == (None, {"A": 1, "B": 1, "none": 2})
    assert tied.reason == "no letter is the most frequent one of 4 votes"
    assert below.reason == "25% of 4 votes agree, below ? to ?"
    rejected = drafts["place 7, attempt 1"]
    assert (rejected.fate, rejected.reason) == ("rejected", "in benchmark: q3 (score 0.9)")


def test_a_passage_is_that_of_the_corpus_that_the_questions_were_made_of(run, tmp_path):
    """Another corpus may have passages of the same ids; where the manifest names none, ids alone are shown."""
    other = tmp_path / "artifacts" / "indexes" / "0" / "passages-0"
    other.mkdir(parents=True)
    (other / "passages.jsonl").write_text('{"id": "corpus:1", "text": "of another corpus"}\n')

    def shown():
        (found,) = draft_sets([run], num_sets=1, num_drafts=1)
        return next(draft for draft in found.drafts if draft.fate == "kept").passages[0]

    assert shown() == Source("corpus:1", "GLA is at fault.")
    write_manifest(tmp_path / "artifacts" / "synthesize" / "a", "synthesize", seconds=72)
    assert shown() == Source("corpus:1", "")


def test_so_many_drafts_of_each_fate_are_drawn(run):
    (found,) = draft_sets([run], num_sets=1, num_drafts=1)
    assert sorted(draft.fate for draft in found.drafts) == ["kept", "no label", "rejected"]
    assert draft_sets([run], num_sets=1, num_drafts=1)[0].drafts == found.drafts


def test_a_run_without_its_artefacts_has_nothing_to_read(run, tmp_path):
    moved = tmp_path / "artifacts"
    moved.rename(tmp_path / "elsewhere")
    assert draft_sets([run], num_sets=1, num_drafts=1) == []
    assert trajectories(run, 3) == []


def test_trajectories_have_the_answer_of_every_model(run):
    """Models have 2, 9 and 8 of twelve questions right: seven are won for good, one only for a while."""
    found = trajectories(run, 12)
    assert [story.is_won for story in found] == [True] * 6
    assert {story.question.id for story in found} == {f"q{number}" for number in range(2, 8)}
    for story in found:
        assert list(story.answers) == ["base", "first", "second"]
        assert [answer.num_right for answer in story.answers.values()] == [0, 2, 2]
        assert story.answers["base"].text.startswith("base says")
        assert story.answers["second"].letter == story.question.answer
    assert len(trajectories(run, 4)) == 4


def test_lost_questions_are_told_from_won_ones(tmp_path):
    found = trajectories(write_whole_run(tmp_path, num_right=(9, 3, 7)), 12)
    assert {(story.question.id, story.is_won) for story in found} == {("q7", False), ("q8", False)}


def test_the_costs_of_steps_add_up_to_that_of_the_run(run):
    costs = {cost.name: cost for cost in step_costs(run)}
    assert list(costs) == [
        *("synthesize", "pseudo_label", "evaluate base", "evaluate first", "evaluate second", "train first")
    ]
    assert (costs["train first"].seconds, costs["train first"].num_gpus, costs["train first"].tokens) == (360, 2, 400)
    total = run_cost(run)
    assert total.gpu_hours == pytest.approx(0.2)
    assert total.cpu_hours == pytest.approx((72 + 18 + 3 * 36) / 3600)
    assert total.train_tokens == 400


def test_the_command_to_repeat_a_run_is_quoted(run):
    assert repeat_command(run) == "medssr-pipeline synthesis.rare_share=0.3 'stages=[{name: first}]'"


@pytest.mark.slow
def test_a_model_or_a_group_has_one_colour(run, tmp_path):
    alone = palette_of(compare_groups([run]))
    (group,) = alone.groups
    assert [alone.of_model(group, name) for name in ("base", "first", "second")] == [BASE, DISTINCT[0], DISTINCT[1]]
    assert alone.of_rows(scores([run]))[0] == BASE
    others = [run, write_whole_run(tmp_path, name="other"), write_whole_run(tmp_path, name="another")]
    comparison = compare_groups(others)
    palette = palette_of(comparison)
    names = [group.name for group in comparison.groups]
    assert [palette.groups[name] for name in names] == list(DISTINCT[:3])
    assert {palette.of_model(names[1], model) for model in ("first", "second")} == {DISTINCT[1]}
    assert palette.of_model(names[1], "base") == BASE


@pytest.mark.slow
def test_many_groups_are_coloured_by_what_was_swept(tmp_path):
    runs = [write_whole_run(tmp_path, name="x" * number) for number in range(1, 10)]
    palette = palette_of(compare_groups(runs))
    assert len({*palette.groups.values()}) == 9
    assert next(iter(palette.groups.values())) == "#440154"  # the lowest end of viridis


def test_jobs_of_a_sweep_come_in_the_order_of_their_numbers(tmp_path):
    """The comparison of a sweep's folder has the same baseline as the sweep's own report."""
    for number, name in enumerate(("b=1", "a=1", "c=1")):
        folder = write_whole_run(tmp_path, name=name).folder
        settings = {"hydra": {"job": {"num": number}}}
        (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert [folder.name for folder in run_folders([str(tmp_path / "logs")])] == ["b=1", "a=1", "c=1"]


@pytest.mark.slow
def test_the_page_of_fifty_runs_stays_small(tmp_path):
    runs = [write_whole_run(tmp_path, name=f"run{number}") for number in range(50)]
    page = write_report(compare_groups(runs, num_examples=5), tmp_path / "report")
    assert page.stat().st_size < 3_000_000
    assert sum(file.stat().st_size for file in page.parent.iterdir()) < 6_000_000
