import json
from collections import Counter

import pytest

from medssr.benchmarks.suite import DefectCount, load_suite, medxpertqa_subset
from medssr.config import BenchmarkConfig, Defect, HubConfig, ItemFieldsConfig, MemberConfig, RarityConfig, RarityField
from medssr.errors import InputError

FIELDS = ItemFieldsConfig(id="id", question="question", options="options", answer="label")


def item(number, stem="Which organ?", **changes):
    return {"id": f"q{number}", "question": f"{stem}\nA. liver\nB. heart", "gold": "A", "name": "toy"} | changes


@pytest.fixture
def folder(tmp_path):
    """Writes a folder of benchmarks, each with a name and items."""

    def write(**files):
        for name, items in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(items), encoding="utf-8")
        return str(tmp_path)

    return write


def suite_of(path, members=None, rarity=None, exclude=(), means=None):
    return load_suite(BenchmarkConfig(path, members or {}, means or {}, list(exclude)), rarity)


def test_without_members_every_file_is_a_benchmark(folder):
    suite = suite_of(folder(test_short_medqa=[item(1)], other=[item(1), item(2, "Which other?")]))
    assert {name: len(found.questions) for name, found in suite.benchmarks.items()} == {"other": 2, "medqa": 1}
    assert suite.benchmarks["medqa"].subset.source == "test_short_medqa.json"
    assert suite.benchmarks["medqa"].subset.form == "MedSSR release, JSON list"
    assert suite.missing == {}


def test_members_are_found_by_any_of_their_names(folder):
    path = folder(**{"test_short_MedQA": [item(1)], "RareDis-Sub": [item(1)], "unrelated": [item(1)]})
    members = {
        "medqa": MemberConfig(["medqa"], num_questions=1),
        "raredis_sub": MemberConfig(["raredis"], num_questions=2, is_rare=True),
        "nejm": MemberConfig(["nejm"]),
    }
    suite = suite_of(path, members)
    assert list(suite.benchmarks) == ["medqa", "raredis_sub"]
    assert suite.benchmarks["medqa"].subset.name == "1 (as released)"
    assert suite.benchmarks["raredis_sub"].subset.name == "1 (not the 2 of the release)"
    assert suite.benchmarks["raredis_sub"].questions[0].is_rare is True
    assert "nejm" in suite.missing["nejm"]


def test_two_files_of_one_benchmark_are_an_error(folder):
    with pytest.raises(InputError, match=r"medqa\.json and test_short_medqa\.json are both"):
        suite_of(folder(medqa=[item(1)], test_short_medqa=[item(1)]))
    members = {"medqa": MemberConfig(["med_qa"])}
    with pytest.raises(InputError, match="keep one"):
        suite_of(folder(medqa=[item(1)], **{"med-qa": [item(1)]}), {"medqa": MemberConfig(["med_qa"])} | members)


def test_none_of_the_members_is_an_error(folder):
    with pytest.raises(InputError, match="none of nejm is there"):
        suite_of(folder(medqa=[item(1)]), {"nejm": MemberConfig(["nejm"])})


def test_a_member_without_a_file_comes_from_its_dataset(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hub").mkdir()
    rows = [{"id": f"Text-{n}", "question": f"Which {n}?", "options": ["a", "b"], "label": "B"} for n in range(2)]
    (tmp_path / "hub" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    hub = HubConfig(str(tmp_path / "hub"), None, "test", None, FIELDS)
    suite = suite_of(folder(medqa=[item(1)]), {"medxpertqa": MemberConfig(["medxpertqa"], 2450, None, hub)})
    found = suite.benchmarks["medxpertqa"]
    assert found.subset.name == "2 (of the 2,450 of Text)"
    assert [question.answer for question in found.questions] == ["B", "B"]


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        (range(2450), "2,450 (all of Text)"),
        (range(1001, 2450), "1,449 (Text from Text-1001 on)"),
        (range(1449), "1,449 (of the 2,450 of Text)"),
        (range(3), "3 (of the 2,450 of Text)"),
    ],
)
def test_the_subset_of_medxpertqa_is_named(numbers, name):
    assert medxpertqa_subset([f"Text-{number}" for number in numbers]) == name


@pytest.mark.parametrize("ids", [[], ["medqa-1"], ["Text-1", "MM-1"]])
def test_other_benchmarks_are_not_medxpertqa(ids):
    assert medxpertqa_subset(ids) is None


def test_defects_are_listed_and_excluded_on_demand(folder):
    items = [item(1), item(2), item(3, "Which organ is shown in the figure?")]
    path = folder(toy=items)
    released = suite_of(path).benchmarks["toy"]
    assert len(released.questions) == 3
    assert released.defect_counts() == {
        "duplicate": DefectCount(1, ["q2"]),
        "missing_figure": DefectCount(1, ["q3"]),
    }
    without = suite_of(path, exclude=[Defect.duplicate]).benchmarks["toy"]
    assert [question.id for question in without.questions] == ["q1", "q3"]
    assert len(without.excluded) == 1
    assert without.defect_counts() == released.defect_counts()
    assert without.subset.name == "3, 1 of them excluded"
    assert without.subset.sha256 != released.subset.sha256
    with pytest.raises(InputError, match="every question has a defect"):
        suite_of(folder(toy=items[2:]), exclude=[Defect.missing_figure])


def test_rare_questions_are_flagged_by_name_and_the_definition_is_recorded(folder, tmp_path):
    (tmp_path / "rare.txt").write_text("Fabry disease\n", encoding="utf-8")
    node = {"_target_": "medssr.knowledge.entities.ListEntities", "path": str(tmp_path / "rare.txt")}
    rarity = RarityConfig(node, [RarityField.stem], 6)
    path = folder(toy=[item(1), item(2, "What causes Fabry disease?")])
    suite = suite_of(path, rarity=rarity)
    assert [question.is_rare for question in suite.benchmarks["toy"].questions] == [False, True]
    assert suite.benchmarks["toy"].subset.num_rare == 1
    assert suite.rarity == {"entities": node, "fields": ["stem"], "min_chars": 6, "num_names": 1}
    assert suite_of(path).benchmarks["toy"].subset.num_rare is None


def test_questions_with_contexts_are_another_benchmark(folder):
    path = folder(pubmedqa=[item(1, contexts=["An abstract."])])
    assert list(suite_of(path).benchmarks) == ["pubmedqa_with_context"]
    suite = suite_of(path, {"pubmedqa": MemberConfig(["pubmedqa"])}, means={"general": ["pubmedqa"]})
    assert list(suite.benchmarks) == ["pubmedqa_with_context"]
    assert "pubmedqa_with_context" in suite.missing["pubmedqa"]


# As counted in the released files by hand: questions, options each, gold letters.
RELEASED = {
    "bioasq": (782, 2, {"A": 570, "B": 212}),
    "lancet": (412, 4, {"A": 56, "B": 104, "C": 160, "D": 92}),
    "medqa": (1273, 4, {"A": 353, "B": 309, "C": 346, "D": 265}),
    "pubmedqa": (500, 3, {"A": 276, "B": 169, "C": 55}),
}


@pytest.mark.slow
def test_the_released_files_are_whole(shared_data):
    suite = suite_of(str(shared_data / "benchmarks"))
    counts = {
        name: (
            len(found.questions),
            *{len(question.options) for question in found.questions},
            Counter(question.answer for question in found.questions),
        )
        for name, found in suite.benchmarks.items()
    }
    assert counts == RELEASED
    assert sum(count for count, _, _ in counts.values()) == 2967


@pytest.mark.slow
def test_stems_with_lettered_lines_keep_them_and_options_are_as_released(shared_data):
    for name, found in suite_of(str(shared_data / "benchmarks")).benchmarks.items():
        items = json.loads((shared_data / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
        for question, released in zip(found.questions, items, strict=True):
            text = released["question"]
            assert text.strip().startswith(question.stem)
            assert all(option in text for option in question.options.values())
            assert len(question.stem) + sum(map(len, question.options.values())) <= len(text)


def test_a_folder_may_hold_benchmarks_of_several_forms(folder, tmp_path):
    import datasets

    path = folder(medqa=[item(1)])
    (tmp_path / "anatomy.csv").write_text("Which nerve?,Vagus,Phrenic,B\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("Not a benchmark.", encoding="utf-8")
    rows = {"question": ["Which?"], "choices": [["x", "y"]], "answer": [1]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "mmlu")
    suite = suite_of(path)
    assert {name: loaded.subset.form for name, loaded in suite.benchmarks.items()} == {
        "anatomy": "MMLU (columns), CSV without header",
        "medqa": "MedSSR release, JSON list",
        "mmlu": "MMLU (Hugging Face), folder, saved by datasets: Arrow",
    }
    assert [loaded.questions[0].answer for loaded in suite.benchmarks.values()] == ["B", "A", "B"]


def test_the_parts_of_one_dataset_are_one_benchmark(tmp_path):
    import datasets

    for part in range(2):
        rows = {"question": [f"Which {part}?"], "choices": [["x", "y"]], "answer": [part]}
        datasets.Dataset.from_dict(rows).to_parquet(tmp_path / f"test-0000{part}-of-00002.parquet")
    suite = suite_of(str(tmp_path))
    (loaded,) = suite.benchmarks.values()
    assert [(question.id, question.answer) for question in loaded.questions] == [("1", "A"), ("2", "B")]
