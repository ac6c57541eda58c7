"""Tests the W&B workspace and report of a study in the form that wandb-workspaces sends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.helpers import typed

from medssr.commands.dashboard import dashboard
from medssr.errors import InputError
from medssr.reports.dashboard import sections

pytestmark = pytest.mark.slow

DOC = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def metrics_by_title() -> dict[str, set[str]]:
    """The metrics that each panel shows."""
    panels = [panel for panels in sections("synthesis.rare_share").values() for panel in panels]
    return {
        panel.title: set(re.findall(r"(?:train|val|time|score|labels|cost)/[\w/]+", repr(panel))) for panel in panels
    }


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> dict:
    file = tmp_path_factory.mktemp("dashboard") / "spec.json"
    dashboard(typed("dashboard", "study=alpha", "entity=me", f"file={file}"))
    return json.loads(file.read_text(encoding="utf-8"))


def panels_in(node: object) -> list[dict]:
    """Returns the panels below a node, which are the objects with a view type."""
    if isinstance(node, dict):
        panels = [node] if "viewType" in node else []
        return panels + [panel for value in node.values() for panel in panels_in(value)]
    return [panel for value in node for panel in panels_in(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("name", ["workspace", "report"])
def test_the_specification_holds_every_panel_with_its_metrics(spec, name, metrics_by_title):
    by_title = {panel["config"]["chartTitle"]: json.dumps(panel) for panel in panels_in(spec[name])}
    assert by_title.keys() == metrics_by_title.keys()
    for title, metrics in metrics_by_title.items():
        assert metrics
        assert all(metric in by_title[title] for metric in metrics), title


@pytest.mark.parametrize("name", ["workspace", "report"])
def test_only_runs_of_the_study_are_shown(spec, name):
    filters = re.findall(r'"name": "group"\}?.{0,80}?"value": "(\w+)"', json.dumps(spec[name]))
    assert filters
    assert set(filters) == {"alpha"}


def test_accuracies_are_drawn_over_the_swept_setting(spec):
    (panel,) = [
        each
        for each in panels_in(spec["workspace"])
        if each["config"]["chartTitle"].startswith("rare diseases by rare")
    ]
    assert "rare_share" in panel["config"]["xAxis"]
    assert panel["config"]["yAxis"].endswith("score/rare")


def test_every_metric_of_a_panel_is_explained(metrics_by_title):
    names = [
        name
        for cell in re.findall(r"^\| (`.*?`) \|", DOC.read_text(encoding="utf-8"), re.M)
        for name in re.findall(r"`([^`]+)`", cell)
    ]
    patterns = [re.sub(r"<\w+>", "[^/]+", name) for name in names]
    shown = set().union(*metrics_by_title.values())
    assert {"train/reward", "score/rare", "cost/gpu_hours"} <= shown
    assert {name for name in shown if not any(re.fullmatch(pattern, name) for pattern in patterns)} == set()


def test_wandb_that_cannot_be_reached_is_a_fault_of_one_line(monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr("medssr.commands.dashboard._TIMEOUT_S", 1)
    with pytest.raises(InputError, match=r"^Weights & Biases cannot save the dashboard \(.*file=dashboard\.json\.$"):
        dashboard(typed("dashboard", "study=alpha", "entity=me"))
