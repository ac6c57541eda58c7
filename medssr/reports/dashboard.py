"""The W&B workspace and report of a study, as objects of `wandb-workspaces`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medssr.tracking.axes import HOURS, STEP


@dataclass(frozen=True, slots=True)
class Curve:
    """A panel of curves over training: `metrics` over the axis `over`."""

    title: str
    metrics: tuple[str, ...]
    over: str = STEP


@dataclass(frozen=True, slots=True)
class Points:
    """A panel with one point a run: the summary `metric` over a setting or another summary."""

    title: str
    metric: str
    setting: str | None = None
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel with one bar a run of a summary."""

    title: str
    metric: str


Panel = Curve | Points | Bars


def sections(swept: str) -> dict[str, list[Panel]]:
    """Returns the panels of a study by section.

    Args:
        swept: The setting that accuracies are drawn over.
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
            Bars("label accuracy", "labels/accuracy"),
            Bars("share of questions with a label", "labels/kept_share"),
        ],
        "Time and cost": [
            Curve("seconds of a step and of its rollout", ("time/step", "time/rollout")),
            Curve("reward by hours", ("train/reward",), over=HOURS),
            Points("rare diseases by GPU hours", "score/rare", over="cost/gpu_hours"),
            Bars("tokens trained on", "cost/train_tokens"),
        ],
    }


def metrics_of(panels: Sequence[Panel]) -> set[str]:
    """Returns every metric that some panels name."""
    found: set[str] = set()
    for panel in panels:
        if isinstance(panel, Curve):
            found |= {*panel.metrics, panel.over}
        else:
            found |= {panel.metric} | ({panel.over} if isinstance(panel, Points) and panel.over else set())
    return found


def workspace(entity: str, project: str, study: str, swept: str) -> Any:
    """Returns the workspace of a study: its runs, in the sections of `sections`."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.workspaces as workspaces

    made = [
        workspaces.Section(name=title, panels=[_panel(panel) for panel in panels], is_open=True)
        for title, panels in sections(swept).items()
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"study {study}",
        sections=made,
        settings=workspaces.WorkspaceSettings(x_axis=STEP, max_runs=100),
        runset_settings=workspaces.RunsetSettings(filters=expr.And(expr.Metric("Group") == study)),
    )


def report(entity: str, project: str, study: str, swept: str) -> Any:
    """Returns the report of a study: the same panels as the workspace, with a word on how to read them."""
    import wandb_workspaces.expr as expr
    from wandb_workspaces.reports.v2 import interface as reports

    blocks: list[Any] = [
        reports.P(
            "Accuracies are those of each run's last model, a mean over benchmarks; medssr-compare has their "
            "intervals. A reward that rises while held-out accuracy falls is being gamed, or its labels are wrong."
        )
    ]
    for title, panels in sections(swept).items():
        # Without a project of its own: with one, the library asks W&B for it at once.
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


def as_json(made_workspace: Any, made_report: Any) -> dict[str, Any]:
    """Returns what would be sent to W&B for a workspace and a report, in the form of `wandb-workspaces`."""
    parts = {"workspace": made_workspace, "report": made_report}
    return {
        name: json.loads(made._to_model().model_dump_json(by_alias=True, exclude_none=True))
        for name, made in parts.items()
    }


def _panel(panel: Panel) -> Any:
    from wandb_workspaces.reports.v2 import interface as reports

    if isinstance(panel, Curve):
        return reports.LinePlot(title=panel.title, x=panel.over, y=list(panel.metrics), max_runs_to_show=100)
    if isinstance(panel, Bars):
        return reports.BarPlot(title=panel.title, metrics=[reports.SummaryMetric(panel.metric)], max_runs_to_show=100)
    over = reports.Config(panel.setting) if panel.setting is not None else reports.SummaryMetric(str(panel.over))
    return reports.ScatterPlot(title=panel.title, x=over, y=reports.SummaryMetric(panel.metric))
