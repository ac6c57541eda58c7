"""GRPO, the algorithm: one training step in reading order.

::

    questions of the step                     training/step_loader.py   StepBatch
        |   rollouts.py: sample completions, read answers, ask the rewards
        v
    RolloutGroup [P][G]
        |   step_rewards.py: weighted sum, truncation, over-long, KL    -> rewards [P, G]
        |   dynamic_sampling.py: further questions for groups without signal
        v
    ScoredGroups
        |   advantages.py: compare within groups                        -> advantages [P, G]
        |   minibatches.py: what each optimiser step trains on
        v
    Minibatch
        |   objective.py: log-probs, losses.py + kl.py                  -> loss
        |   module.py: gradient, optimiser step, new weights to the engine
        v
    metrics.py: what the step shows

`module.py` has the loop: `training_step` and `update`. `stage.py` assembles and runs a stage. `heldout.py` and
`completion_table.py` are callbacks that watch it.
"""
