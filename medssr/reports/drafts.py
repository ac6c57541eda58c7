"""Synthetic questions to read: what they were made of, how the votes fell, and why each was kept or rejected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medssr.knowledge.retrieval.stored_passages import PASSAGES_FILE
from medssr.manifests import read_artifact
from medssr.questions import read_questions
from medssr.reports.runs import Run, read_hydra_file
from medssr.utils.files import read_jsonl
from medssr.utils.outputs import MANIFEST_FILE
from medssr.utils.seeding import derive_seed

# A corpus whose texts are larger is not searched for the passages of a few questions.
_MAX_CORPUS_BYTES = 50_000_000
_LONGEST_PASSAGE = 600
KEPT, NOT_LABELLED, REJECTED = "kept", "no label", "rejected"


@dataclass(frozen=True, slots=True)
class Source:
    """A passage or a seed question that a question was made of; the text is empty where it is not on this machine."""

    id: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A synthetic question.

    Attributes:
        id: Its id; of a rejected draft its place in the plan.
        stem: Its text.
        options: Its options by letter.
        fate: KEPT, NOT_LABELLED or REJECTED.
        reason: Why.
        label: The label by majority vote; None without one.
        truth: The answer that was known when it was made, and that labelling did not read; None if none was.
        votes: The votes by letter; those without a letter under "none".
        agreement: Votes for the most frequent letter / all votes.
        entity: The disease that it is about.
        is_rare: Whether that is a rare one; None where it is not known.
        passages: The passages that the generator was given.
        seeds: The seed questions that it was given.
    """

    id: str
    stem: str
    options: dict[str, str]
    fate: str
    reason: str
    label: str | None = None
    truth: str | None = None
    votes: dict[str, int] = field(default_factory=dict)
    agreement: float | None = None
    entity: str | None = None
    is_rare: bool | None = None
    passages: list[Source] = field(default_factory=list)
    seeds: list[Source] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DraftSet:
    """Some of the synthetic questions that runs have in common, and how many there are of each fate."""

    runs: list[str]
    drafts: list[Draft]
    totals: dict[str, int]


def draft_sets(runs: Sequence[Run], num_sets: int, num_drafts: int) -> list[DraftSet]:
    """Returns questions of the first few sets that are on disk, drawn at random by their ids.

    Args:
        runs: The runs; those with the same artefacts share a set.
        num_sets: The number of sets at most.
        num_drafts: The number of questions of each fate at most.

    Raises:
        InputError: When a file of questions or votes is broken.
    """
    by_folders: dict[tuple[Path, Path | None], list[Run]] = {}
    for run in runs:
        synthetic, labelled = (_artifact(run, name) for name in ("synthesize", "pseudo_label"))
        if synthetic is not None:
            by_folders.setdefault((synthetic, labelled), []).append(run)
    return [
        DraftSet([run.name for run in sharing], *_drafts(sharing[0], *folders, num_drafts))
        for folders, sharing in list(by_folders.items())[:num_sets]
    ]


def _artifact(run: Run, name: str) -> Path | None:
    path = run.record.artifacts.get(name)
    folder = None if path is None else run.folder / path
    return folder if folder is not None and (folder / "questions.jsonl").is_file() else None


def _drafts(run: Run, synthetic: Path, labelled: Path | None, num: int) -> tuple[list[Draft], dict[str, int]]:
    votes = {} if labelled is None else {vote["question_id"]: vote for vote in _lines(labelled / "votes.jsonl")}
    has_manifest = labelled is not None and (labelled / MANIFEST_FILE).is_file()
    manifest = read_artifact(labelled).manifest if labelled is not None and has_manifest else {}
    limits = manifest.get("config", {}).get("labeling", {})
    drafts: dict[str, list[tuple[Draft, Mapping[str, Any]]]] = {KEPT: [], NOT_LABELLED: [], REJECTED: []}
    for question in read_questions(str(synthetic / "questions.jsonl")):
        vote = votes.get(question.id)
        is_kept = vote is not None and vote["outcome"] == "kept"
        truth = question.provenance.get("truth")
        draft = Draft(
            question.id,
            question.stem,
            question.options,
            KEPT if is_kept else NOT_LABELLED,
            _why(vote, limits),
            label=vote["label"] if vote is not None and is_kept else None,
            truth=truth if isinstance(truth, str) else None,
            votes={} if vote is None else vote["counts"] | ({"none": n} if (n := vote["num_invalid"]) else {}),
            agreement=None if vote is None else vote["agreement"],
            entity=question.entity,
            is_rare=question.is_rare,
        )
        drafts[draft.fate].append((draft, question.provenance))
    for record in _lines(synthetic / "rejected.jsonl"):
        name = f"place {record['slot']}, attempt {record['attempt']}"
        reason = f"{str(record['reason']).replace('_', ' ')}: {record['detail']}"
        draft = Draft(name, record["stem"] or "", record["options"] or {}, REJECTED, reason, entity=record["entity"])
        drafts[REJECTED].append((draft, {}))
    chosen = [pair for each in drafts.values() for pair in _drawn(each, num)]
    passages = _passages(synthetic, {name for _, provenance in chosen for name in _names(provenance, "passages")})
    seeds = _seeds(run, {name for _, provenance in chosen for name in _names(provenance, "seeds")})
    totals = {fate: len(each) for fate, each in drafts.items()}
    return [_with_sources(draft, provenance, passages, seeds) for draft, provenance in chosen], totals


def _drawn(drafts: Sequence[tuple[Draft, Any]], num: int) -> list[tuple[Draft, Any]]:
    return sorted(drafts, key=lambda pair: derive_seed(0, pair[0].id))[:num]


def _with_sources(
    draft: Draft, provenance: Mapping[str, Any], passages: Mapping[str, str], seeds: Mapping[str, str]
) -> Draft:
    return replace(
        draft,
        passages=[Source(name, passages.get(name, "")) for name in _names(provenance, "passages")],
        seeds=[Source(name, seeds.get(name, "")) for name in _names(provenance, "seeds")],
    )


def _names(provenance: Mapping[str, Any], key: str) -> list[str]:
    names = provenance.get(key, [])
    return [str(name) for name in names] if isinstance(names, list) else []


def _why(vote: Mapping[str, Any] | None, limits: Mapping[str, Any]) -> str:
    """Returns why a question has a label or none."""
    if vote is None:
        return "it was not voted on"
    num_votes = sum(vote["counts"].values()) + vote["num_invalid"]
    agreement = "" if vote["agreement"] is None else f"{vote['agreement']:.0%} of {num_votes} votes agree"
    band = f"{limits.get('min_agreement', '?')} to {limits.get('max_agreement', '?')}"
    texts = {
        "kept": f"{agreement}, within {band}",
        "tied": f"no letter is the most frequent one of {num_votes} votes",
        "below_band": f"{agreement}, below {band}",
        "above_band": f"{agreement}, above {band}",
        "few_valid_votes": f"{vote['num_invalid']} of {num_votes} votes have no letter",
        "no_valid_vote": f"none of {num_votes} votes has a letter",
    }
    return texts.get(vote["outcome"], str(vote["outcome"]))


def _lines(path: Path) -> Iterator[Any]:
    if path.is_file():
        yield from (record for _, record in read_jsonl(path))


def _passages(synthetic: Path, names: set[str]) -> dict[str, str]:
    """Returns the texts of passages by id, where the corpus that the manifest names is beside the artefact and small.

    Another corpus may have other passages of the same ids.
    """
    has_manifest = (synthetic / MANIFEST_FILE).is_file()
    store = read_artifact(synthetic).manifest.get("counts", {}).get("passages") if has_manifest else None
    if not names or not isinstance(store, str):
        return {}
    file = synthetic.parents[1] / "indexes" / store / PASSAGES_FILE
    if not file.is_file() or file.stat().st_size > _MAX_CORPUS_BYTES:
        return {}
    return _texts((record["id"], record["text"]) for record in _lines(file) if record["id"] in names)


def _texts(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: text if len(text) <= _LONGEST_PASSAGE else f"{text[:_LONGEST_PASSAGE]} ..." for name, text in pairs}


def _seeds(run: Run, names: set[str]) -> dict[str, str]:
    """Returns the texts of seed questions by id, where the run's configuration names their file and it is there."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from medssr.config import register

    config = read_hydra_file(run.folder, "config") if names else None
    if config is None:
        return {}
    register("pipeline")  # with the resolvers, such as that of files of the package
    try:
        path = OmegaConf.select(OmegaConf.create(config), "seed_questions.path")
    except OmegaConfBaseException:  # a variable of another machine
        return {}
    if not isinstance(path, str) or not Path(path).is_file():
        return {}
    return _texts((question.id, question.stem) for question in read_questions(path) if question.id in names)
