"""The speed of devices: published numbers, and the file of what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medssr.config.groups import GPU
from medssr.errors import InputError
from medssr.models.hardware import Hardware, measured_hardware, peak_flops, published, write_hardware

MEASURED = Hardware("a processor", False, 2, 1e11, 5e11, 1.25e10, "measured")


@pytest.mark.parametrize("gpu", GPU)
def test_every_gpu_that_can_be_named_is_known_with_its_source(gpu):
    hardware = published(gpu)
    assert hardware.is_gpu
    assert hardware.float32_flops < hardware.bfloat16_flops
    assert "data sheet" in hardware.source
    assert hardware.bfloat16_flops == pytest.approx(0.7 * peak_flops(hardware, 2))


def test_products_are_as_fast_as_their_numbers_are_small():
    assert (MEASURED.product_flops(4), MEASURED.product_flops(2)) == (1e11, 5e11)


def test_utilisation_is_a_fraction_of_what_was_published_or_measured():
    assert peak_flops(published(GPU.H200), 2) == 989e12
    assert peak_flops(replace(MEASURED, name="NVIDIA H200"), 4) == 67e12  # a GPU that was measured and is known
    assert (peak_flops(MEASURED, 4), peak_flops(MEASURED, 2)) == (1e11, 5e11)


def test_what_was_measured_is_read_again(tmp_path):
    assert measured_hardware(tmp_path) is None
    file = write_hardware(MEASURED, tmp_path)
    assert file == tmp_path / "hardware.json"
    assert measured_hardware(tmp_path) == MEASURED


def test_a_damaged_file_is_named_with_a_remedy(tmp_path):
    write_hardware(MEASURED, tmp_path)
    file = tmp_path / "hardware.json"
    file.write_text(file.read_text(encoding="utf-8").replace("100000000000.0", '"fast"'), encoding="utf-8")
    with pytest.raises(InputError, match=r"hardware\.json.*float32_flops.*medssr-doctor --measure"):
        measured_hardware(tmp_path)
