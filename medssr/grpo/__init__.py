"""GRPO, the algorithm: one training step in reading order.

::

    questions of the step                     training/step_loader.py   StepBatch
        |   rollouts.py: sample completions, extract answers, ask the rewards; the records of a step
        |   hints.py: ask again with a hint what all completions answer wrongly
        |   peers.py: answers to the other view of a question or of a teacher (teachers.py), for rewards
        |   group_scoring.py: ask the rewards of groups; weights of questions, masks of tokens
        |   ahead.py: sample the next step's while this one trains, where that is on
        v
    RolloutGroup [P][G]
        |   advantages.py: weighted sum, truncation, over-long, KL      -> rewards [P, G]
        |   dynamic_sampling.py: resample where groups have no signal
        |   step_selection.py: leave questions out, by selection.py
        v
    ScoredGroups
        |   advantages.py: compare within groups                        -> advantages [P, G]
        |   minibatches.py: the samples of each optimiser step
        |   balance.py: share them out evenly over the processes
        v
    Minibatch
        |   objective.py: log-probs, losses.py + kl.py                  -> loss
        |   module.py: gradient, optimiser step, weights synced to the engine
        v
    metrics.py: metrics of the step

`module.py` has the loop: `training_step` and `update`. `stage.py` assembles and runs a stage. `heldout.py` (accuracy on
held-out questions) and `completion_table.py` (a table of completions) are Lightning callbacks.
"""
