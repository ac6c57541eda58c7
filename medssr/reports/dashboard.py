"""The W&B workspace and report of a study, as objects of `wandb-workspaces`."""

from __future__ import annotations

import json
from typing import Any

from medssr.tracking.wandb_limits import accepted_text

_STEP = "train/step"  # the x axis of curves, unless a panel names another


def sections(swept: str) -> dict[str, list[Any]]:
    """Returns the panels of a study by section: curves over steps, and a point or a bar for the summary of each run.

    Args:
        swept: The key of the setting on the x axis of accuracies.
    """
    from wandb_workspaces.reports.v2.interface import BarPlot, Config, LinePlot, ScatterPlot, SummaryMetric

    def curve(title: str, *metrics: str, over: str = _STEP) -> LinePlot:
        return LinePlot(title=title, x=over, y=list(metrics), max_runs_to_show=100)

    def points(title: str, metric: str, over: Config | SummaryMetric) -> ScatterPlot:
        return ScatterPlot(title=title, x=over, y=SummaryMetric(metric))

    def bars(title: str, metric: str) -> BarPlot:
        return BarPlot(title=title, metrics=[SummaryMetric(metric)], max_runs_to_show=100)

    short = swept.split(".")[-1]
    return {
        f"Accuracy by {short}": [
            points(f"rare diseases by {short}", "score/rare", Config(swept)),
            points(f"other questions by {short}", "score/common", Config(swept)),
            bars("rare diseases", "score/rare"),
            bars("other questions", "score/common"),
        ],
        "Reward and held-out accuracy": [
            curve("reward", "train/reward"),
            curve("held-out accuracy", "val/probe/accuracy"),
            curve("true accuracy in training", "train/true_accuracy"),
        ],
        "Entropy and stability": [
            curve("entropy", "train/entropy"),
            curve("KL from the reference", "train/kl"),
            curve("gradient norm", "train/grad_norm"),
            curve("distance of answered letters from labels", "train/letter_distance"),
        ],
        "Agreement and label accuracy": [
            curve("agreement of a group's answers", "train/agreement"),
            curve("label accuracy in training", "train/label_accuracy"),
            bars("agreement of votes", "labels/agreement"),
            bars("fraction of votes with a letter", "labels/valid_share"),
            bars("label accuracy", "labels/accuracy"),
            bars("fraction of questions with a label", "labels/kept_share"),
        ],
        "Time and cost": [
            curve("seconds of a step and of its rollout", "time/step", "time/rollout"),
            curve("reward by hours", "train/reward", over="time/hours"),
            points("rare diseases by GPU hours", "score/rare", SummaryMetric("cost/gpu_hours")),
            bars("tokens trained on", "cost/train_tokens"),
        ],
    }


def workspace(entity: str, project: str, study: str, swept: str) -> Any:
    """Returns the workspace of a study: its runs, in the sections of `sections`."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.workspaces as workspaces

    shown = [workspaces.Section(name=title, panels=panels, is_open=True) for title, panels in sections(swept).items()]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"study {study}",
        sections=shown,
        settings=workspaces.WorkspaceSettings(x_axis=_STEP, max_runs=100),
        runset_settings=workspaces.RunsetSettings(filters=expr.And(expr.Metric("Group") == accepted_text(study))),
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
        runs = reports.Runset(name=study, filters=expr.And(expr.Metric("Group") == accepted_text(study)))
        blocks += [reports.H2(title), reports.PanelGrid(runsets=[runs], panels=panels)]
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
