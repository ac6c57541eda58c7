"""The examples, and the snippets of docs/python.md and of the README, run as they stand."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from support.command_lines import ROOT, code_blocks

pytestmark = pytest.mark.slow


def test_the_snippets_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in code_blocks(ROOT / "docs" / "python.md", "python"):
        exec(compile(snippet, "docs/python.md", "exec"), names)
    assert "Did you mean grpo.num_steps?" in capsys.readouterr().out
    assert Path("scores.png").read_bytes().startswith(b"\x89PNG")
    assert Path("report/index.html").is_file()


def test_the_snippet_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (snippet,) = code_blocks(ROOT / "README.md", "python")
    names: dict[str, object] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert len(names["trained"].to_pandas()) == 3


def test_the_script_goes_through_the_method(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["method.py", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples" / "method.py"), run_name="__main__")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["labels.png", "scores.png", "training.png"]
    assert f"report: {tmp_path / 'report' / 'index.html'}" in capsys.readouterr().out


def test_the_notebook_goes_through_the_method(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "examples" / "method.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they would go stale
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    assert sum("text/html" in output.get("data", {}) for output in shown) >= 5  # tables
