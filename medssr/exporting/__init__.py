"""Questions for other frameworks: prompts, rewards, launch settings and tasks that match this project's.

`conversations` makes a policy's prompts something that any framework renders to the same tokens. `verl` and `trl` hold
one framework each: rows of a data set, and this project's settings by that framework's names; `common` refuses settings
that they do not read. What runs there (reward modules, a training script) lies in `medssr/resources/export` and is
copied into the export by `folders`. `lm_eval` writes benchmarks as tasks of lm-evaluation-harness. `asked_questions`
has what inspect-ai and verifiers get: conversations with options and answers, and how answers are sampled.
"""
