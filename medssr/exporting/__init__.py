"""Questions for other frameworks: prompts, rewards, launch settings and tasks that match this project's.

`prompts` makes a policy's prompts something that any framework renders to the same tokens; `verl` and `trl` hold one
framework each: rows of a data set, and this project's settings by that framework's names. What runs there (reward
modules, a training script) lies in `medssr/resources/export` and is copied into the export. `lm_eval` holds the way of
benchmarks to lm-evaluation-harness.
"""
