"""Rewards: one small file each, named in the configuration by `_target_`.

A reward is a callable of (question, completion, choice) that returns a number; the weighted sum of all is what GRPO
maximises. Those of this package run in the training process. Any other runs in a process of its own (`isolation`): it
may raise, hang or return what is no number, and costs the completion its score and nothing else (`judging`).
"""
