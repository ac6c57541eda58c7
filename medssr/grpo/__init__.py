"""GRPO, the algorithm: one training step in reading order.

::

    questions of the step                     training/step_loader.py   StepBatch
        |   rollouts.py: sample completions, extract answers, ask the rewards; the records of a step
        v
    RolloutGroup [P][G]
        |   advantages.py: weighted sum, truncation, over-long, KL      -> rewards [P, G]
        v
    ScoredGroups
        |   advantages.py: compare within groups                        -> advantages [P, G]
        |   minibatches.py: the samples of each optimiser step
        v
    Minibatch
        |   objective.py: log-probs, losses.py + kl.py                  -> loss
        |   module.py: gradient, optimiser step, weights synced to the engine
        v
    metrics.py: metrics of the step

`module.py` has the loop: `training_step` and `update`. The rest is there only where the configuration asks for it.

Optional parts of a step act at the moments that `parts.py` names; `methods.py` says which configuration has which:
`hints.py` asks again with a hint what all completions answer wrongly; `peers.py` gives rewards the answers to another
view of a question or of a teacher (`teachers.py`); `group_scoring.py` asks the rewards of groups, with what they need
of the policy (`answer_statements.py`, `answer_probability.py`); `step_selection.py` leaves questions out, as
`selection.py` says, by their `visits.py`.

`dynamic_sampling.py` resamples where groups have no signal. `ahead.py` samples the next step's completions while this
one trains. `balance.py` shares the samples out evenly over several processes.

`stage.py` assembles and runs a stage. `watch.py` (rewards that fail, truncation), `heldout.py` (accuracy on held-out
questions) and `completion_table.py` (a table of completions) are Lightning callbacks.
"""
