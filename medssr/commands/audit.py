"""medssr-audit: estimate how many questions are wrong, by automatic checks, judge models and human experts."""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.config import AuditConfig
from medssr.manifests import Artifact

if TYPE_CHECKING:
    from medssr.auditing.report import AuditReport
    from medssr.auditing.rubric import Verdict
    from medssr.config.groups import Node
    from medssr.knowledge.corpora import Passage
    from medssr.questions import Question

log = logging.getLogger(__name__)

Rows = list[tuple["Question", list["Passage"]]]
# The files of the judges' replies, by the name of the judge in the report.
JUDGEMENTS = {"judge": "judgements.jsonl", "second judge": "second_judgements.jsonl"}


@dataclass
class SheetFile:
    """A filled sheet and its rater."""

    rater: str
    path: str


@dataclass
class ReportConfig:
    """The inputs of a report: the artefact of sample and judge replies, and the filled sheets."""

    audit: str
    seed: int
    sheets: list[SheetFile]


def audit(config: AuditConfig) -> Artifact:
    """Returns the artefact of a sample to rate: `sample.jsonl`, `checks.jsonl`, the sheets and the judges' replies."""
    drawn = replace(config, audit=replace(config.audit, verdicts=[]))  # the sample does not depend on the verdicts
    return Step.of("audit", drawn, left_to_users=("sheet.csv", "sheet.html")).run(
        lambda directory: _write_sample(config, directory)
    )


def report_audit(config: AuditConfig, sample: Artifact) -> Artifact:
    """Returns the artefact of the figures: `report.json` and `report.md`, over checks, judges and filled sheets.

    Where there are two judges, `for_experts.jsonl` has the questions on which they disagree.
    """
    sheets = [SheetFile(Path(file).stem, file) for file in config.audit.verdicts]
    inputs = ReportConfig(sample.fingerprint, config.seed, sheets)
    return Step.of("audit_report", config, config=inputs).run(
        lambda directory: _write_report(inputs, sample, directory)
    )


def _write_sample(config: AuditConfig, directory: Path) -> dict[str, Any]:
    from medssr.auditing.sheet import write_page, write_sheet
    from medssr.auditing.stratified_sample import draw_sample, mark_stratum
    from medssr.knowledge.source_passages import look_up_passages
    from medssr.questions import read_questions, write_questions
    from medssr.utils.instantiate import instantiate

    names, sample = draw_sample(lambda: read_questions(config.data.path), config.audit.num_questions, config.seed)
    questions = [item.question for item in sample]
    passages: dict[str, list[Passage]] = {question.id: [] for question in questions}
    if config.corpus is not None:
        passages = look_up_passages(
            questions, instantiate(config.corpus, "corpus").passages(), "~corpus to audit without passages"
        )
    rows = [(question, passages[question.id]) for question in questions]
    write_questions(directory / "sample.jsonl", (mark_stratum(item) for item in sample))
    write_sheet(directory / "sheet.csv", rows)
    write_page(directory / "sheet.html", rows)
    counts: dict[str, Any] = {"num_sampled": len(sample), "stratified_by": list(names)}
    counts |= _check(config, questions, directory)
    if config.judge is not None:
        counts |= _judge(config, "judge", config.judge, rows, directory)
    if config.second_judge is not None:
        second = _judge(config, "second_judge", config.second_judge, rows, directory)
        counts |= {f"second_{name}": value for name, value in second.items()}
    return counts


def _check(config: AuditConfig, questions: list[Question], directory: Path) -> dict[str, Any]:
    from medssr.auditing.checks import check_question
    from medssr.auditing.known_answers import answer_key
    from medssr.utils.files import write_lines_atomically
    from medssr.utils.instantiate import instantiate

    key = None if config.entities is None else answer_key(instantiate(config.entities, "entities"))
    checked = [check_question(question, key) for question in questions]
    write_lines_atomically(directory / "checks.jsonl", (json.dumps(asdict(each)) for each in checked))
    num_answers = sum(each.is_answer_checked for each in checked)
    return {"num_answers_checked": num_answers, "num_with_problem": sum(bool(each.problems) for each in checked)}


def _judge(config: AuditConfig, group: str, node: Node, rows: Rows, directory: Path) -> dict[str, Any]:
    from medssr.auditing.judging import judge_request
    from medssr.synthesis.prompts import load_template
    from medssr.utils.files import open_atomically
    from medssr.utils.instantiate import instantiate
    from medssr.utils.progress import Progress

    template = load_template(config.audit.prompt_path, "audit.prompt_path")
    requests = (judge_request(template, question, passages, config.seed) for question, passages in rows)
    outcomes: Counter[str] = Counter()
    name = group.replace("_", " ")
    with (
        closing(instantiate(node, group)) as judge,
        open_atomically(directory / JUDGEMENTS[name]) as lines,
        Progress(name, len(rows), "questions") as progress,
    ):
        for reply in judge.judge(requests):
            outcomes[reply.outcome] += 1
            lines.write(json.dumps(reply.record(), ensure_ascii=False) + "\n")
            progress.advance()
        return {"judgements": dict(outcomes), "usage": judge.usage()}


def _write_report(inputs: ReportConfig, sample: Artifact, directory: Path) -> dict[str, Any]:
    from medssr.auditing.report import markdown_report
    from medssr.auditing.stratified_sample import read_sample
    from medssr.questions import write_questions
    from medssr.utils.files import open_atomically, write_json_atomically

    report = _report(inputs, sample)
    write_json_atomically(directory / "report.json", asdict(report))
    with open_atomically(directory / "report.md") as stream:
        stream.write(markdown_report(report))
    if report.disagreements is not None:
        chosen = set(report.disagreements)
        sampled = (item.question for item in read_sample(sample.path("sample.jsonl")))
        write_questions(directory / "for_experts.jsonl", (each for each in sampled if each.id in chosen))
    return {rater.rater: rater.num_rated for rater in report.raters}


def _report(inputs: ReportConfig, sample: Artifact) -> AuditReport:
    from medssr.auditing.checks import read_checks, report_checks
    from medssr.auditing.judging import read_judge_replies
    from medssr.auditing.report import build_report
    from medssr.auditing.sheet import read_sheet
    from medssr.auditing.stratified_sample import read_sample

    items = list(read_sample(sample.path("sample.jsonl")))
    questions = {item.question.id: item.question for item in items}
    raters: dict[str, dict[str, Verdict]] = {}
    unjudged: Counter[str] = Counter()
    for judge, name in JUDGEMENTS.items():
        file = sample.path(name)
        replies = read_judge_replies(file) if file.is_file() else []
        raters[judge] = {item.question_id: item.verdict for item in replies if item.verdict is not None}
        unjudged.update(item.outcome for item in replies if item.verdict is None)
    experts = {sheet.rater: read_sheet(Path(sheet.path), questions) for sheet in inputs.sheets}
    stratified_by = sample.manifest["counts"]["stratified_by"]
    checks = report_checks(items, read_checks(sample.path("checks.jsonl")))
    return build_report(items, stratified_by, raters | experts, unjudged, inputs.seed, checks)


def main() -> None:
    """Console entry point."""
    run_command("audit", _main)


def _main(config: AuditConfig) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    sample = audit(config)
    counts = sample.manifest["counts"]
    log.info("%d questions drawn, stratified by %s", counts["num_sampled"], counts["stratified_by"])
    log.info("%d have a problem by the automatic checks", counts["num_with_problem"])
    for prefix in ("", "second_"):
        if (judgements := counts.get(f"{prefix}judgements")) is not None:
            log.info("%sjudgements %s, usage %s", prefix, judgements, counts[f"{prefix}usage"])
            if set(judgements) != {"judged"}:
                log.warning("some questions have no verdict; force=true repeats the calls that failed")
    page = report_audit(config, sample).path("report.md")
    Console(width=max(120, Console().width)).print(Markdown(page.read_text(encoding="utf-8")))
    log.info("made %s", page)
    sheets = (sample.path("sheet.html"), sample.path("sheet.csv"))
    log.info("experts rate in %s or in a copy of %s; then run this again with audit.verdicts=[FILE,...]", *sheets)


if __name__ == "__main__":
    main()
