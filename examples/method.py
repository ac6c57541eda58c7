"""Goes through the method at the smallest scale, with a picture at each step: python examples/method.py [FOLDER].

It needs no network and no GPU, and takes less than a minute on two CPU cores. Everything is written to FOLDER, by
default `method_example`; a second start finds what is there and ends in seconds. So few steps of training change
little: the intervals of the scores before and after overlap.
"""

from __future__ import annotations

import sys
from pathlib import Path

import medssr


def main(folder: Path) -> None:
    """Makes questions, labels them by the policy's own votes, trains on them, and compares the policy with itself."""
    common = [f"paths.root_dir={folder}", "extras.progress_bar=false"]

    # New questions from passages of a corpus, half of them about rare diseases. They have no labels yet.
    synthetic = medssr.synthesize(medssr.compose("synthesize", [*common, "synthesis.num_questions=40"]))
    print(synthetic.to_pandas()[["stem", "options", "entity", "is_rare"]].head(3).to_string(), end="\n\n")

    # The policy answers each question several times; the most frequent answer becomes the label.
    votes = ["labeling.num_votes=4", f"data.path={synthetic.questions}"]
    labelled = medssr.pseudo_label(medssr.compose("pseudo_label", [*common, *votes]))
    print(labelled, end="\n\n")
    labelled.plot().savefig(folder / "labels.png")

    # GRPO: the policy learns to give the label that it voted for.
    small = ["grpo.num_steps=6", "grpo.num_prompts_per_step=4", "grpo.num_generations=4"]
    trained = medssr.train(medssr.compose("train", [*common, f"data.path={labelled.questions}", *small, "logger=csv"]))
    print(trained.to_pandas()[["train/reward", "train/agreement", "train/entropy"]].to_string(), end="\n\n")
    trained.plot().savefig(folder / "training.png")

    # The same benchmark before and after, and the difference on the same questions.
    once = [*common, "protocol.num_samples=1"]
    before = medssr.evaluate(medssr.compose("evaluate", once))
    after = medssr.evaluate(medssr.compose("evaluate", [*once, f"run={trained.directory}"]))
    folders = [str(before.directory), str(after.directory)]
    compared = medssr.compare(medssr.compose("compare", [*common, *folders, f"output_dir={folder / 'report'}"]))
    scores = compared.scores().set_index(["run", "slice"])
    print(scores[["num_questions", "accuracy", "accuracy_low", "accuracy_high"]].round(3).to_string(), end="\n\n")
    compared.plot().savefig(folder / "scores.png")
    print(f"pictures: {folder}/*.png\nreport: {compared.report}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "method_example").absolute())
