"""Typical mistakes on the command line and in files: each message names fault and fix, and none is a traceback."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from medssr.config.catalog import CONF_DIR
from medssr.errors import USER_FAULT
from medssr.sweeps.summary import NOT_ALL_DONE

POLICY = CONF_DIR.parent / "medssr" / "resources" / "policies" / "tiny_qwen3"
QUESTION = {"id": "1", "stem": "Which organ makes insulin?", "options": {"A": "liver", "B": "pancreas"}, "answer": "B"}
GOOD = "data.path={files}/good.jsonl"


@dataclass(frozen=True)
class Mistake:
    """A command line, what its message names as the fault, and what it names as the fix."""

    line: list[str]
    fault: list[str]
    fix: list[str]


def mistake(line: str, fault: str, fix: str) -> Mistake:
    """Words are parted by spaces; parts of the message by |."""
    return Mistake(line.split(" "), fault.split("|"), fix.split("|"))


NAMES = {
    "typo in a setting": mistake("train grpo.num_step=3", "grpo.num_step:", "grpo.num_steps"),
    "typo in a group": mistake("train modle=tiny_llama", "modle", "model"),
    "typo in both parts": mistake(
        "pipeline sinthesis.rare_shares=0.1", "sinthesis.rare_shares", "synthesis.rare_share"
    ),
    "group left out": mistake("train lr=1e-5", "lr:", "optim.optimizer.lr"),
    "wrong group in front": mistake("train optim.num_steps=3", "optim.num_steps", "grpo.num_steps"),
    "setting of another command": mistake(
        "train protocol.num_samples=4", "medssr-train has no group protocol", "medssr-evaluate"
    ),
    "group of another command": mistake("evaluate grpo=large", "medssr-evaluate has no group grpo", "medssr-train"),
    "setting of a library's class": mistake("train trainer.precison=32", "trainer.precison", "trainer.precision"),
    "new setting for a library's class": mistake(
        "train +trainer.precison=32 " + GOOD, "trainer.precison|lightning.Trainer", "precision"
    ),
    "setting of a group that is not chosen": mistake("train lora.rank=8", "lora.rank|null", "lora=default"),
    "name in other letters": mistake("train Seed=3", "Seed", "seed"),
    "option of a group in another place": mistake(
        "export settings.parity.grpo.loss=gspo " + GOOD,
        "settings.parity.grpo.loss: found a text",
        "grpo/loss@settings.parity.grpo.loss=gspo",
    ),
    "setting of a stage": mistake(
        "pipeline stages=[{name:a,questions:human,settings:{num_step:3}}]",
        "stages|grpo.num_step:",
        "grpo.num_steps",
    ),
}
OPTIONS = {
    "unknown option": mistake("train grpo=larg", "grpo=larg", "default, large, parity|Did you mean large"),
    "unknown experiment": mistake("sft experiment=tiny_qwen", "experiment=tiny_qwen", "tiny_qwen3"),
    "unknown model": mistake("train model=qwen3_8b", "model=qwen3_8b", "Did you mean qwen3_8b_base"),
    "unknown logger": mistake("train logger=wandb", "logger=wandb", "csv, default"),
    "unknown reward": mistake("train reward=label_mach", "reward=label_mach", "Did you mean label_match"),
    "file in place of an option": mistake(
        "train grpo=conf/grpo/large.yaml", "grpo=conf/grpo/large", "default, large, parity"
    ),
    "unknown benchmark": mistake("evaluate benchmark=medqa", "benchmark=medqa", "medical10|released"),
    "option with a + in front": mistake("train +grpo=large", "grpo: is chosen twice", "leave the + out: grpo=OPTION"),
    "option with ++ in front": mistake("train ++grpo=large", "++grpo=large", "write grpo=large"),
    "unknown root": mistake("train --config-name trian", "trian", "leave --config-name out"),
}
VALUES = {
    "text for a number": mistake("train grpo.num_steps=many", "grpo.num_steps: many", "a whole number"),
    "fraction for a whole number": mistake("train grpo.num_steps=2.5", "grpo.num_steps: 2.5", "a whole number"),
    "text for a fraction": mistake("train grpo.beta=small", "grpo.beta: small", "a number"),
    "text for a truth value": mistake("train force=maybe", "force: maybe", "true or false"),
    "null where a value is needed": mistake("train grpo.num_steps=null", "grpo.num_steps: null", "a value is needed"),
    "unknown name": mistake("train grpo/loss=dapoo", "grpo/loss=dapoo", "dr_grpo|Did you mean dapo"),
    "unknown name after a dot": mistake("train grpo.loss=dapoo", "grpo/loss=dapoo", "dr_grpo|Did you mean dapo"),
    "text for a parameter of a loss": mistake(
        "train grpo.loss.epsilon=abc " + GOOD, "grpo.loss.epsilon: 'abc'", "expected a number"
    ),
    "class that is no loss": mistake(
        "train grpo/loss=custom grpo.loss._target_=pathlib.Path " + GOOD,
        "grpo.loss._target_: pathlib.Path is no policy loss",
        "derive it from medssr.grpo.losses.PolicyLoss",
    ),
    "loss of a stage by its name": mistake(
        "pipeline stages=[{name:a,questions:human,settings:{loss:gspo}}]",
        "stages, a, grpo.loss: gspo",
        "_target_: CLASS",
    ),
    "unknown number format": mistake("train model.dtype=bf16", "model.dtype: bf16", "bfloat16"),
    "text for a list": mistake("compare runs=logs/pipeline", "runs: found a text", "runs=[a,b]"),
    "list for a number": mistake("train grpo.num_steps=[1,2]", "grpo.num_steps", "whole number"),
    "value for a whole group": mistake("train grpo={num_step:3}", "grpo.num_step", "grpo.num_steps"),
    "negative steps": mistake("train grpo.num_steps=-5 " + GOOD, "grpo.num_steps: -5", "at least 1"),
    "negative beta": mistake("train grpo.beta=-0.1 " + GOOD, "grpo.beta: -0.1", "at least 0"),
    "alpha above 1": mistake("synthesize synthesis.rare_share=2", "synthesis.rare_share: 2", "from 0 to 1"),
    "one completion a question": mistake("train grpo.num_generations=1 " + GOOD, "num_generations: 1", "at least 2"),
    "unknown precision": mistake("train trainer.precision=bf17 " + GOOD, "trainer.precision: bf17", "bf16-mixed"),
    "weights in 16 bits": mistake("train trainer.precision=16-true " + GOOD, "trainer.precision", "16-mixed"),
    "updates that do not divide": mistake(
        "train grpo.minibatch_prompts=5 " + GOOD, "minibatch_prompts: 5", "num_prompts_per_step (32)"
    ),
    "stages of one name": mistake(
        "pipeline stages=[{name:a,questions:human},{name:a,questions:mixed}]",
        "stages: ",
        "not distinct",
    ),
    "unknown kind of questions": mistake(
        "pipeline stages=[{name:a,questions:humans}]", "stages.questions: humans", "Did you mean human"
    ),
    "unknown method of a stage": mistake(
        "pipeline stages=[{name:a,questions:human,method:stf}]", "stages, a.method: stf", "expected one of "
    ),
    "setting that fine-tuning has not": mistake(
        "pipeline stages=[{name:a,questions:human,method:sft,settings:{num_step:1}}]",
        "stages, a, sft.num_step",
        "sft.num_steps",
    ),
    "samples that are all the same": mistake(
        "evaluate protocol.num_samples=4 protocol.temperature=0", "protocol.num_samples: 4", "at temperature 0"
    ),
    "band without a middle": mistake(
        "pseudo_label labeling.min_agreement=0.9 labeling.max_agreement=0.5 " + GOOD,
        "labeling.min_agreement, labeling.max_agreement: 0.9 to 0.5",
        "min <= max",
    ),
    "threads as a text": mistake("train extras.num_threads=all", "extras.num_threads: all", "a whole number"),
    "no threads": mistake("train extras.num_threads=0 " + GOOD, "extras.num_threads: 0", "at least 1"),
}
SIGNS = {
    "missing =": mistake("train grpo.num_steps", "grpo.num_steps", "grpo.num_steps=VALUE"),
    "space before =": mistake("train seed =3", "space beside the =", "key=value"),
    "space after =": mistake("train seed= 3", "space beside the =", "key=value"),
    "spaces around =": mistake("train seed = 3", "space beside the =", "key=value"),
    "dashes": mistake("train --seed=3", "--seed=3", "seed=3"),
    "dashes and a space": mistake("train --grpo.num-steps 3", "--grpo.num-steps", "grpo.num_steps"),
    "typo in a flag": mistake("train --multrun seed=1,2", "--multrun", "--multirun"),
    "flag between settings": mistake("train seed=1,2 -m grpo=large", "grpo=large", "flags first or last"),
    "colon for =": mistake("train seed:3", "seed:3", "seed"),
    "bracket that stays open": mistake("compare runs=[a,b", "runs=[a,b", "quotes"),
    "list that the shell takes apart": mistake("compare runs=[a, b]", "runs=[a,", "quotes"),
    "values without -m": mistake("train seed=1,2,3", "seed=1,2,3", "-m|[1,2,3]"),
    "range without -m": mistake("train seed=range(1,4)", "seed=range(1,4)", "-m"),
    "options without -m": mistake("train model=tiny_qwen3,tiny_llama", "model=tiny_qwen3,tiny_llama", "-m"),
    "+ for what is there": mistake("train +seed=3", "+seed", "seed=VALUE"),
    "~ for what is not there": mistake("train ~grpo.betta", "~grpo.betta", "grpo.beta"),
    "~ for what is needed": mistake("train ~grpo.beta", "grpo.beta", "grpo.beta=VALUE"),
    "flag of a sweep with nothing to sweep": mistake("train -m", "data.path: has no default", "data.path=..."),
    "two things at once": mistake("train -m --cfg job", "--multirun", "Only one of"),
    "sign that opens a variable": mistake("train stage=${nothing} " + GOOD, "nothing", "stage=..."),
}
FILES = {
    "no questions given": mistake("train", "data.path: has no default", "data.path=..."),
    "questions that are not there": mistake("train data.path=nowhere.jsonl", "nowhere.jsonl", "there is no such file"),
    "folder of other files": mistake("train data.path={files}", "{files}/latin.jsonl, line 1", "UTF-8"),
    "line that is no JSON": mistake("train data.path={files}/broken.jsonl", "broken.jsonl, line 2", "JSON"),
    "question without options": mistake("train data.path={files}/optionless.jsonl", "line 1|options", "letter"),
    "question without an answer": mistake("train data.path={files}/unanswered.jsonl", "unanswered.jsonl", "answer"),
    "other encoding": mistake("train data.path={files}/latin.jsonl", "latin.jsonl, line 1", "UTF-8"),
    "empty file": mistake("train data.path={files}/empty.jsonl", "empty.jsonl", "question"),
    "weights for questions": mistake(
        "train data.path={files}/untokenized/model.safetensors", "safetensors", "expected JSON"
    ),
    "checkpoint that is not there": mistake("train ckpt_path=nowhere.ckpt " + GOOD, "ckpt_path|nowhere", "checkpoint"),
    "no checkpoint to go on from": mistake("train ckpt_path=last " + GOOD, "ckpt_path", "ckpt_path=auto"),
    "checkpoint that is none": mistake("train ckpt_path={files}/broken.jsonl " + GOOD, "broken.jsonl", "no checkpoint"),
    "model that is not there": mistake(
        "train model=local model.path=./nowhere " + GOOD, "model.path: ./nowhere", "config.json|hub name"
    ),
    "folder that is no model": mistake("train model=local model.path={files} " + GOOD, "config.json", "checkpoint"),
    "model without a tokenizer": mistake(
        "train model=local model.path={files}/untokenized " + GOOD, "untokenized", "tokenizer"
    ),
    "prompt without a place": mistake("train model.prompt_path={files}/prompt.txt " + GOOD, "prompt.txt", "{question}"),
    "run that is not there": mistake("evaluate run=nowhere", "nowhere", "folder of a finished training"),
    "run that is none": mistake(
        "evaluate run={files}",
        "holds no finished training",
        "run folder of medssr-train, medssr-sft or medssr-pipeline",
    ),
    "no prompt": mistake(
        "train model.prompt_path=nowhere.txt " + GOOD, "nowhere.txt", "prompt template|model.prompt_path"
    ),
    "benchmark that is not there": mistake(
        "evaluate benchmark.path=nowhere.json", "nowhere.json", "benchmark.path|check the path"
    ),
    "runs that are none": mistake("compare runs=[{files}]", "results.json", "run"),
    "no runs": mistake("compare runs=[]", "runs: no results.json", "give folders of finished runs"),
    "folder that cannot be made": mistake(
        "train paths.root_dir={files}/good.jsonl/x " + GOOD, "good.jsonl", "root_dir"
    ),
    "corpus that is not there": mistake(
        "synthesize corpus=jsonl corpus.path=nowhere.jsonl", "nowhere.jsonl", "no such"
    ),
}
MACHINE = {
    "no GPU": mistake("train trainer=gpu " + GOOD, "trainer|gpu", "trainer=cpu"),
    "unknown device": mistake("train trainer.accelerator=cuba " + GOOD, "trainer.accelerator: cuba", "cpu"),
    "no vLLM": mistake("train rollout=vllm " + GOOD, "vLLM is not installed", "rollout=hf"),
    "no attention code": mistake(
        "train model.attn_implementation=flash_attention_9 " + GOOD, "flash_attention_9", "sdpa"
    ),
    "class that is not there": mistake(
        "train +reward.mine._target_=no_such_module.Reward " + GOOD, "reward.mine|no_such_module", "PYTHONPATH"
    ),
    "engine that is not there": mistake(
        "train rollout._target_=medssr.engines.None " + GOOD, "rollout", "medssr.engines"
    ),
    "no key": mistake(
        "synthesize generator=openai generator.model=any entities=builtin", "OPENAI_API_KEY", "OPENAI_API_KEY"
    ),
    "variable that is not set": mistake("train stage=${oc.env:NO_SUCH} " + GOOD, "NO_SUCH", "set it"),
    "context that is too short": mistake(
        "train grpo.max_new_tokens=100000 " + GOOD, "max_new_tokens: 1000", "context has 4096|give fewer"
    ),
}
OWN_FOLDER = "-cd {files}/conf train"
PRESETS = {
    "tab": mistake("train --config-dir {files}/conf grpo=tabs", "tabs.yaml, line 3", "not by tabs"),
    "indentation": mistake("train --config-dir {files}/conf grpo=crooked", "crooked.yaml, line", "indentation"),
    "list for a mapping": mistake(
        "train --config-dir {files}/conf grpo=listed", "listed.yaml|found a list", "name: value"
    ),
    "typo in a preset": mistake("train --config-dir {files}/conf grpo=typo", "grpo/typo.yaml|num_step", "num_steps"),
    "wrong type in a preset": mistake(
        "train --config-dir {files}/conf grpo=worded", "grpo/worded.yaml|grpo.num_steps: many", "a whole number"
    ),
    "unknown option in a preset": mistake(
        "train --config-dir {files}/conf experiment=other", "grpo=larg|experiment=other", "Did you mean large"
    ),
    "folder that is not there": mistake(
        "train --config-dir {files}/nowhere", "--config-dir|nowhere", "not found|give a folder"
    ),
}
ALL = {
    f"{kind}: {name}": row
    for kind, rows in [
        ("names", NAMES),
        ("options", OPTIONS),
        ("values", VALUES),
        ("signs", SIGNS),
        ("files", FILES),
        ("machine", MACHINE),
        ("presets", PRESETS),
    ]
    for name, row in rows.items()
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with faults."""
    folder = tmp_path_factory.mktemp("files")
    line = json.dumps(QUESTION)
    (folder / "good.jsonl").write_text("".join(json.dumps(QUESTION | {"id": str(n)}) + "\n" for n in range(4)))
    (folder / "broken.jsonl").write_text(f"{line}\n{line[:-5]}\n")
    (folder / "optionless.jsonl").write_text(json.dumps(QUESTION | {"options": {}}) + "\n")
    (folder / "unanswered.jsonl").write_text(json.dumps(QUESTION | {"answer": None}) + "\n")
    (folder / "latin.jsonl").write_bytes('{"id": "1", "stem": "Ménière?"}\n'.encode("latin-1"))
    (folder / "empty.jsonl").touch()
    (folder / "prompt.txt").write_text("Answer by a letter.\n")
    (folder / "untokenized").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(POLICY / name, folder / "untokenized" / name)
    for name, text in {
        "grpo/tabs": "defaults:\n  - default\n\tnum_steps: 3\n",
        "grpo/crooked": "num_steps: 3\n  beta: 0.1\n",
        "grpo/listed": "- num_steps\n",
        "grpo/typo": "defaults:\n  - default\nnum_step: 3\n",
        "grpo/worded": "defaults:\n  - default\nnum_steps: many\n",
        "experiment/other": "# @package _global_\ndefaults:\n  - override /grpo: larg\n",
    }.items():
        file = folder / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("row", ALL.values(), ids=ALL.keys())
def test_the_message_names_the_fault_and_the_fix(row, files, tmp_path, monkeypatch, capsys):
    command, *arguments = (word.replace("{files}", str(files)) for word in row.line)
    monkeypatch.setenv("MEDSSR_ROOT", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"medssr-{command}", *arguments])
    handlers = logging.root.handlers[:]
    try:
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(f"medssr.commands.{command}").main()
    finally:
        logging.root.handlers[:] = handlers
    printed = "".join(capsys.readouterr())
    is_fault_of_a_job = "1 of 1 jobs are not done" in printed
    assert ended.value.code == (NOT_ALL_DONE if is_fault_of_a_job else USER_FAULT), printed
    assert "Traceback" not in printed
    for part in (*row.fault, *row.fix):
        assert part.replace("{files}", str(files)) in printed


def test_there_are_many_mistakes():
    assert len(ALL) >= 50
