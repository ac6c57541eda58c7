from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.config import Split
from medssr.errors import InputError
from medssr.knowledge.entities import in_split, is_held_out
from medssr.knowledge.facts import Entity

shares = st.floats(0.0, 1.0)


def test_the_split_is_that_of_the_id_for_ever():
    """A change of this list moves diseases of published benchmarks into training."""
    numbers = (324, 365, 14, 52, 773, 558, 56)
    held_out = [number for number in numbers if is_held_out(f"ORPHA:{number}", 0.3)]
    assert held_out == [52, 773]


@pytest.mark.slow
@given(st.text(max_size=20), shares, shares)
def test_a_greater_share_keeps_the_same_diseases_and_more(name, one, other):
    low, high = sorted((one, other))
    assert is_held_out(name, low) <= is_held_out(name, high)


def test_about_the_share_is_held_out():
    assert 160 <= sum(is_held_out(f"ORPHA:{number}", 0.2) for number in range(1000)) <= 240  # three deviations of 12.6


def test_each_disease_is_in_one_split_and_its_name_does_not_matter_where_it_has_a_number():
    diseases = [Entity(f"Disease {number}", True, orphacode=str(number)) for number in range(50)]
    renamed = [Entity(f"Renamed {number}", True, orphacode=str(number)) for number in range(50)]
    train, held_out = (in_split(diseases, 0.3, split) for split in Split)
    assert len(train) + len(held_out) == 50
    assert not set(train) & set(held_out)
    assert [entity.orphacode for entity in in_split(renamed, 0.3, Split.train)] == [
        entity.orphacode for entity in train
    ]
    assert in_split(diseases, 0.0, Split.train) == diseases


def test_a_split_without_a_disease_says_what_to_change():
    with pytest.raises(InputError, match=r"synthesis\.split=held_out: no disease is in it .* change the share"):
        in_split([Entity("Fabry disease", True, orphacode="324")], 0.0, Split.held_out)
