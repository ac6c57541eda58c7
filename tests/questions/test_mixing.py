import pytest
from support.helpers import toy_question

from medssr.errors import InputError
from medssr.questions import mix_questions, read_questions, write_questions


@pytest.fixture
def files(tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    write_questions(first, [toy_question(0), toy_question(1)])
    write_questions(second, [toy_question(0, answer="B")])
    return [first, second]


def test_the_questions_of_all_files_have_ids_of_their_own(files, tmp_path):
    mixed = list(read_questions(mix_questions(files, tmp_path / "mixed")))
    assert [question.id for question in mixed] == ["0-q0", "0-q1", "1-q0"]
    assert [question.answer for question in mixed] == ["A", "A", "B"]
    assert [question.stem for question in mixed][::2] == [toy_question(0).stem] * 2


def test_the_same_content_is_the_same_file(files, tmp_path):
    first = mix_questions(files, tmp_path / "mixed")
    content = first.read_bytes()
    assert mix_questions(files, tmp_path / "mixed") == first
    moved = files[0].rename(tmp_path / "moved.jsonl")
    assert mix_questions([moved, files[1]], tmp_path / "mixed") == first
    assert first.read_bytes() == content


def test_other_content_or_another_order_is_another_file(files, tmp_path):
    first = mix_questions(files, tmp_path / "mixed")
    assert mix_questions(files[::-1], tmp_path / "mixed") != first
    write_questions(files[0], [toy_question(7)])
    assert mix_questions(files, tmp_path / "mixed") != first


def test_a_broken_file_leaves_nothing_behind(files, tmp_path):
    files[1].write_text("{")
    with pytest.raises(InputError, match=r"second\.jsonl, line 1"):
        mix_questions(files, tmp_path / "mixed")
    assert list((tmp_path / "mixed").iterdir()) == []
