"""Rewards: one small file each, named in the configuration by `_target_`.

A reward is a callable of (question, completion, choice) that returns a number; the weighted sum of all is what GRPO
maximises.
"""
