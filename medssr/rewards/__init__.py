"""Rewards: one small class each, named in the configuration by `_target_`.

A reward is a callable of (question, completion, choice) that returns a number; GRPO maximises the weighted sum of all.
Those of this package run in the training process. Any other runs in a process of its own (`isolation`): whether it
raises, hangs or returns what is no number, it costs the completion its score and nothing else (`scoring`).
"""
