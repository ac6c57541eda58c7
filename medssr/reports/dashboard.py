"""The W&B workspace and report of a study, as objects of `wandb-workspaces`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_STEP = "train/step"  # the x axis of curves, unless a panel names another


@dataclass(frozen=True, slots=True)
class Curve:
    """A panel of curves: `metrics` over the metric `over`."""

    title: str
    metrics: tuple[str, ...]
    over: str = _STEP


@dataclass(frozen=True, slots=True)
class Points:
    """A panel with one point per run: the summary `metric` over a setting or over another summary."""

    title: str
    metric: str
    setting: str | None = None
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel with one bar per run: the summary `metric`."""

    title: str
    metric: str


Panel = Curve | Points | Bars


def sections(swept: str) -> dict[str, list[Panel]]:
    """Returns the panels of a study by section.

    Args:
        swept: The key of the setting on the x axis of accuracies.
    """
    short = swept.split(".")[-1]
    return {
        f"Accuracy by {short}": [
            Points(f"rare diseases by {short}", "score/rare", setting=swept),
            Points(f"other questions by {short}", "score/common", setting=swept),
            Bars("rare diseases", "score/rare"),
            Bars("other questions", "score/common"),
        ],
        "Reward and held-out accuracy": [
            Curve("reward", ("train/reward",)),
            Curve("held-out accuracy", ("val/probe/accuracy",)),
            Curve("true accuracy in training", ("train/true_accuracy",)),
        ],
        "Entropy and stability": [
            Curve("entropy", ("train/entropy",)),
            Curve("KL from the reference", ("train/kl",)),
            Curve("gradient norm", ("train/grad_norm",)),
            Curve("distance of answered letters from labels", ("train/letter_distance",)),
        ],
        "Agreement and label accuracy": [
            Curve("agreement of a group's answers", ("train/agreement",)),
            Curve("label accuracy in training", ("train/label_accuracy",)),
            Bars("agreement of votes", "labels/agreement"),
            Bars("fraction of votes with a letter", "labels/valid_share"),
            Bars("label accuracy", "labels/accuracy"),
            Bars("fraction of questions with a label", "labels/kept_share"),
        ],
        "Time and cost": [
            Curve("seconds of a step and of its rollout", ("time/step", "time/rollout")),
            Curve("reward by hours", ("train/reward",), over="time/hours"),
            Points("rare diseases by GPU hours", "score/rare", over="cost/gpu_hours"),
            Bars("tokens trained on", "cost/train_tokens"),
        ],
    }


def metrics_of(panels: Sequence[Panel]) -> set[str]:
    """Returns the metrics of some panels."""
    metrics: set[str] = set()
    for panel in panels:
        if isinstance(panel, Curve):
            metrics |= {*panel.metrics, panel.over}
        else:
            metrics |= {panel.metric} | ({panel.over} if isinstance(panel, Points) and panel.over else set())
    return metrics


def workspace(entity: str, project: str, study: str, swept: str) -> Any:
    """Returns the workspace of a study: its runs, in the sections of `sections`."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.workspaces as workspaces

    shown = [
        workspaces.Section(name=title, panels=[_panel(panel) for panel in panels], is_open=True)
        for title, panels in sections(swept).items()
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"study {study}",
        sections=shown,
        settings=workspaces.WorkspaceSettings(x_axis=_STEP, max_runs=100),
        runset_settings=workspaces.RunsetSettings(filters=expr.And(expr.Metric("Group") == study)),
    )


def report(entity: str, project: str, study: str, swept: str) -> Any:
    """Returns the report of a study: the panels of the workspace with a note on how to read them."""
    import wandb_workspaces.expr as expr
    from wandb_workspaces.reports.v2 import interface as reports

    blocks: list[Any] = [
        reports.P(
            "Accuracies are means over benchmarks of each run's last model; medssr-compare shows their intervals. A "
            "reward that rises while held-out accuracy falls is being gamed, or its labels are wrong."
        )
    ]
    for title, panels in sections(swept).items():
        # No `project` argument: with one, the library would ask W&B for it at once.
        runs = reports.Runset(name=study, filters=expr.And(expr.Metric("Group") == study))
        blocks += [reports.H2(title), reports.PanelGrid(runsets=[runs], panels=[_panel(panel) for panel in panels])]
    return reports.Report(
        entity=entity,
        project=project,
        title=f"medssr: study {study}",
        description=f"The runs of the study {study}, by medssr-dashboard.",
        blocks=blocks,
        width="fluid",
    )


def as_json(study_workspace: Any, study_report: Any) -> dict[str, Any]:
    """Returns the JSON that `wandb-workspaces` would send to W&B for a workspace and a report."""
    parts = {"workspace": study_workspace, "report": study_report}
    return {
        name: json.loads(part._to_model().model_dump_json(by_alias=True, exclude_none=True))
        for name, part in parts.items()
    }


def _panel(panel: Panel) -> Any:
    from wandb_workspaces.reports.v2 import interface as reports

    if isinstance(panel, Curve):
        return reports.LinePlot(title=panel.title, x=panel.over, y=list(panel.metrics), max_runs_to_show=100)
    if isinstance(panel, Bars):
        return reports.BarPlot(title=panel.title, metrics=[reports.SummaryMetric(panel.metric)], max_runs_to_show=100)
    over = reports.Config(panel.setting) if panel.setting is not None else reports.SummaryMetric(str(panel.over))
    return reports.ScatterPlot(title=panel.title, x=over, y=reports.SummaryMetric(panel.metric))
