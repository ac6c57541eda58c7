"""GGUF files that cannot be read; tests/real reads a real one."""

import pytest
from support.helpers import typed

from medssr.errors import InputError
from medssr.models import gguf
from medssr.models.policy import load_policy


def config(path):
    return typed("evaluate", "model=gguf", f"model.path={path}").model


@pytest.mark.slow
def test_a_file_of_another_form_is_named(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"model\.gguf.*model\.path.*begins with b'<htm'.*no GGUF file"):
        load_policy(config(file))


def test_a_damaged_file_is_named(tmp_path):
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF\x03\0\0\0")
    with pytest.raises(InputError, match="could not be loaded"):
        load_policy(config(file))


@pytest.mark.slow
def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"pip install \"medssr\[gguf\]\""):
        load_policy(config(file))


@pytest.mark.slow
def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.gguf"):
        load_policy(config(tmp_path / "absent.gguf"))
