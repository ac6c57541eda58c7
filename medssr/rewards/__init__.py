"""Rewards: one small class each, named in the configuration by `_target_`.

A reward is a callable of (question, completion, choice) that returns a number, or a class with `score_group`, which
sees all completions of a question (`groups`); GRPO maximises the weighted sum of all.
The rewards of this package run in the training process. User-defined rewards run in separate processes (`isolation`).
If a reward raises, hangs or does not return a number, its completion is unscored, and training continues (`scoring`).
"""
