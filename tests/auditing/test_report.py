from __future__ import annotations

from dataclasses import replace

import pytest

from medssr.auditing.checks import CheckedQuestion, Problem, report_checks
from medssr.auditing.report import build_report, markdown_report
from medssr.auditing.rubric import Verdict
from medssr.auditing.stratified_sample import SampledQuestion
from medssr.questions import Question

OPTIONS = {"A": "liver", "B": "heart", "C": "lung"}
RIGHT = Verdict(True, True, "A", True, 5, 2, "")
WRONG = Verdict(True, True, "B", False, 1, 2, "no | such <organ>\nat all")


def sample(count: int = 10, **fields) -> list[SampledQuestion]:
    return [
        SampledQuestion(Question(f"q{n}", "Which?", OPTIONS, None, "toy", **fields), "rare" if n < 5 else "general", 50)
        for n in range(count)
    ]


def verdicts(*wrong: int, rated=range(10)) -> dict[str, Verdict]:
    return {f"q{n}": WRONG if n in wrong else RIGHT for n in rated}


def report(verdicts_of, items=None, unjudged=None, problems=()):
    items = items or sample()
    checked = [CheckedQuestion(item.question.id, (), "", is_answer_checked=True) for item in items]
    for number in problems:
        checked[number] = replace(checked[number], problems=(Problem.wrong_answer,), detail="wrong answer: A, but B")
    checks = report_checks(items, checked)
    return build_report(items, ("rarity",), verdicts_of, unjudged or {}, 0, checks)


def test_the_checks_have_rates_and_intervals_without_any_rater():
    audit = report({}, problems=[3, 7])
    assert (audit.checks.num_checked, audit.checks.any_problem.count, audit.checks.any_problem.n) == (10, 2, 10)
    assert audit.checks.problems["wrong answer"].count == 2
    assert set(audit.checks.flagged) == {"q3", "q7"}
    text = markdown_report(audit)
    assert "| wrong answer | 2 of 10 | 20.00% [5.67, 50.98] |" in text
    assert "| q3 | wrong answer: A, but B |" in text
    assert "## Ratings" not in text


@pytest.mark.slow
def test_experts_first_see_what_two_judges_disagree_on():
    other = verdicts(1, 2) | {"q5": replace(RIGHT, best_answer="C")}
    audit = report({"judge": verdicts(0, 1), "second judge": other, "ada": verdicts(0)})
    assert audit.disagreements == ["q0", "q2", "q5"]
    assert "The judges disagree on 3 questions" in markdown_report(audit)
    assert [item.rater for item in audit.raters] == ["judge", "second judge", "ada"]
    assert report({"judge": verdicts(0), "ada": verdicts(1)}).disagreements is None


def rater(audit, name):
    (one,) = [item for item in audit.raters if item.rater == name]
    return one


def test_rates_and_means_of_each_rater_name_their_n():
    audit = report({"judge": verdicts(0, 1), "ada": verdicts(1, rated=range(4))})
    judge, ada = rater(audit, "judge"), rater(audit, "ada")
    assert (judge.num_rated, judge.num_unrated, ada.num_rated, ada.num_unrated) == (10, 0, 4, 6)
    assert [(name, rate.count, rate.n) for name, rate in judge.rates.items()] == [
        ("is_error", 2, 10),
        ("not_answerable", 0, 10),
        ("no_single_best_answer", 0, 10),
        ("not_factual", 2, 10),
    ]
    assert judge.means["plausibility"].sample.value == (8 * 5 + 2 * 1) / 10
    assert (ada.rates["is_error"].count, ada.rates["is_error"].n) == (1, 4)
    assert ada.rates["is_error"].covered_share == 0.5
    assert audit.strata == {"general": {"questions": 50, "sampled": 5}, "rare": {"questions": 50, "sampled": 5}}
    assert (audit.num_questions, audit.num_sampled) == (100, 10)


def test_pairs_are_compared_on_what_both_have_rated():
    audit = report({"judge": verdicts(0, 1), "ada": verdicts(1, 2, rated=range(8)), "ben": verdicts(rated=[9])})
    assert [(pair.first, pair.second) for pair in audit.pairs] == [("judge", "ada"), ("judge", "ben")]
    error = audit.pairs[0].agreement["is_error"]
    assert (error.n, error.table) == (8, [[1, 1], [1, 5]])
    # p_o = 6 / 8, p_e = 1/16 + 9/16
    assert error.kappa == pytest.approx((0.75 - 0.625) / 0.375)
    letters = audit.pairs[0].agreement["best_answer"]
    assert letters.categories == ["A", "B", "C", "None"]
    assert letters.table[0][0] == 5


@pytest.mark.slow
def test_several_experts_count_together_half_of_them_enough_for_an_error():
    audit = report({"judge": verdicts(), "ada": verdicts(0, 1), "ben": verdicts(1, 2, rated=range(9))})
    together = rater(audit, "experts")
    assert (together.num_rated, together.rates["is_error"].count) == (10, 3)
    # q0 and q2 have 3 on average, q1 has 1, the rest 5.
    assert together.means["plausibility"].sample.value == (3 + 3 + 1 + 7 * 5) / 10
    assert "experts" not in {name for pair in audit.pairs for name in (pair.first, pair.second)}
    assert "experts" not in {item.rater for item in report({"judge": verdicts(), "ada": verdicts()}).raters}


def test_a_rater_is_held_against_truth_and_label_only_where_they_are_known():
    assert rater(report({"judge": verdicts()}), "judge").right == {}
    labelled = SampledQuestion(Question("q9", "Which?", OPTIONS, "B", "toy"), "general", 50)
    items = [*sample(4, provenance={"truth": "A"}), labelled]
    right = rater(report({"judge": verdicts(0, 9, rated=[0, 1, 2, 9])}, items), "judge").right
    assert (right["truth"].count, right["truth"].n) == (2, 3)
    assert (right["label"].count, right["label"].n) == (1, 1)


def test_questions_that_somebody_calls_wrong_are_listed_with_the_comments():
    audit = report({"judge": verdicts(0), "ada": verdicts(0, 3, rated=range(4))})
    assert [(item["id"], list(item["called_wrong_by"]), item["num_raters"]) for item in audit.flagged] == [
        ("q0", ["judge", "ada"], 2),
        ("q3", ["ada"], 2),
    ]
    page = markdown_report(audit)
    assert "| q3 | 1 of 2 | ada | no \\| such &lt;organ> at all |" in page


def test_a_rater_without_a_verdict_has_no_figures():
    audit = report({"judge": {}, "ada": verdicts()}, unjudged={"refusal": 10})
    assert [item.rater for item in audit.raters] == ["ada"]
    assert audit.pairs == []
    assert "Without a verdict of the judge: 10 (refusal 10)." in markdown_report(audit)


def test_the_page_shows_figures_with_their_intervals_and_the_table():
    page = markdown_report(report({"judge": verdicts(0), "ada": verdicts(0, 1)}))
    assert "| judge | error | 1 of 10 | 10.00% [1.79, 40.42] | 10.00% [1.79, 40.42] |" in page
    assert "| error by judge \\ by ada | yes | no |" in page
    assert "| yes | 1 | 0 |\n| no | 1 | 8 |" in page
    assert "| judge, ada | answerable | 1.000 [0.722, 1.000] n=10 | undefined |" in page
