from __future__ import annotations

import inspect
import re
import shlex
from collections import defaultdict
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import hydra
import hydra.utils
import pytest
import yaml
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from support.command_lines import preset_commands
from support.commands import run, run_program
from support.helpers import compose, missing_keys, typed

from medssr.artifacts import Step
from medssr.cli.entry import composed
from medssr.cli.reference import main as reference_main
from medssr.config import SCHEMAS, register
from medssr.config.catalog import CONF_DIR, groups_of
from medssr.errors import InputError

ROOTS = sorted(SCHEMAS)
# Groups whose options set fields of several groups; each option says by which command it is launched.
GLOBAL_GROUPS = {"experiment", "debug", "hparams_search", "local", "scale", "schedule"}
# Groups that no command has: roots or options of other groups include theirs, and are composed with them.
BASES = {"base", "chat"}
BASE_FILES = sorted(file for base in BASES for file in (CONF_DIR / base).glob("*.yaml"))
# Options that the stages of a pipeline name, in a list.
NAMED_BY_STAGES = {"method"}
# Options for one of the commands that have their group.
ONLY_ROOT = {"optim=from_scratch": "sft", "callbacks=grpo": "train", "probe=seed_questions": "pipeline"}
# What an option needs beside it where the defaults are refused with it.
NEEDS = {("trainer=fsdp2", root): ["rollout=vllm"] for root in ("train", "pipeline")}
# What the code adds to the arguments in the configuration.
ADDED_ARGUMENTS = {"rollout": {"policy"}, "callbacks": {"directory"}, "logger": {"save_dir", "identity"}}
# Fields that the comment above their neighbour explains too.
SHARED_COMMENTS = {"synthesis.max_stem_words", "synthesis.max_option_words", "labeling.max_agreement"}


def option_files() -> list[Path]:
    return sorted(file for file in CONF_DIR.glob("*/*.yaml") if file.parent.name not in BASES | NAMED_BY_STAGES)


def option_id(file: Path) -> str:
    return f"{file.parent.name}={file.stem}"


OPTIONS = pytest.mark.parametrize("file", option_files(), ids=option_id)


def roots_with(group: str) -> list[str]:
    return [root for root in ROOTS if group in groups_of(root)]


def test_every_root_has_a_schema():
    assert sorted(path.stem for path in CONF_DIR.glob("*.yaml")) == ROOTS


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
def test_every_root_composes_into_its_schema(root):
    assert isinstance(typed(root), SCHEMAS[root])


# What the user has to give, by command.
GIVEN = {
    "audit": {"data.path"},
    "dashboard": {"study", "entity"},
    "train": {"data.path"},
    "export": {"data.path", "model.path"},
    "pseudo_label": {"data.path"},
    "retrieve": {"corpus.path", "questions.path", "qrels.path"},
}


@pytest.mark.parametrize(("root", "keys"), [(root, GIVEN.get(root, set())) for root in ROOTS])
@pytest.mark.slow
def test_only_what_has_no_default_has_to_be_given(root, keys):
    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert set(missing_keys(hydra.compose(root, ["paths.root_dir=/somewhere"]))) == keys


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "field"),
    [(file, field) for file in option_files() for field in re.findall(r"^(\w+): \?\?\?$", file.read_text(), re.M)],
    ids=lambda value: value if isinstance(value, str) else option_id(value),
)
def test_what_an_option_asks_for_has_to_be_given(file, field):
    """A `???` does not replace a value of the option that another one builds on."""
    group = file.parent.name
    root = ONLY_ROOT.get(option_id(file), roots_with(group)[0])
    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = hydra.compose(root, [option_id(file), "paths.root_dir=/somewhere"])
    assert field in {key.split(".")[-1] for key in missing_keys(config[group])}


def test_every_root_has_its_defaults_in_the_same_order():
    last = ["_self_", "scale", "experiment", "hparams_search", "local", "debug"]
    for root in ROOTS:
        entries = yaml.safe_load((CONF_DIR / f"{root}.yaml").read_text())["defaults"]
        names = [entry if isinstance(entry, str) else next(iter(entry)).split()[-1] for entry in entries]
        assert names[0] == f"{root}_schema"
        assert names[1] in ("base/command", "base/step", "base/logged_step")
        assert names[names.index("_self_") :] == [name for name in last if name in names]


@pytest.mark.parametrize("file", BASE_FILES, ids=option_id)
def test_every_base_is_included(file):
    lines = {f"- /{file.parent.name}@_here_: {file.stem}", f"- {file.parent.name}/{file.stem}"}
    lines |= {f"- {file.stem}"} if file.stem != "logged_step" else set()
    assert any(lines & {line.strip() for line in other.read_text().splitlines()} for other in CONF_DIR.rglob("*.yaml"))


@pytest.mark.slow
def test_every_option_has_a_root_with_its_group():
    assert [option_id(file) for file in option_files() if not roots_with(file.parent.name)] == []


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
def test_every_option_composes_with_every_root_that_has_its_group(root):
    """One option of each group at once, and those alone that are refused together; alone with one root: see below."""
    groups, alone = defaultdict(list), []
    for file in option_files():
        group, option = file.parent.name, option_id(file)
        if group in GLOBAL_GROUPS or root not in roots_with(group) or root != ONLY_ROOT.get(option, root):
            continue  # of global groups, the comments name the command
        if groups_of(root)[group] != file.stem:  # the default is composed with the root itself
            (alone if (option, root) in NEEDS else groups[group]).append(option)
    for options in zip_longest(*groups.values()):
        together = [option for option in options if option is not None]
        try:
            typed(root, *together)
        except (InputError, ConfigCompositionException, OmegaConfBaseException):
            alone += together
    for option in alone:
        typed(root, option, *NEEDS.get((option, root), []))


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in option_files() if file.parent.name in GLOBAL_GROUPS], ids=option_id)
def test_presets_of_several_groups_open_with_their_command_line(file):
    assert re.search(rf"^# Launch: medssr-\S+ .*{option_id(file)}", file.read_text(), re.M)


@pytest.mark.slow
@pytest.mark.parametrize(("where", "command"), preset_commands(), ids=lambda text: text)
def test_every_command_line_in_the_comments_composes(where, command):
    name, *overrides = shlex.split(command)
    typed(name.removeprefix("medssr-").replace("-", "_"), *(item for item in overrides if item not in ("-m", "...")))


@pytest.mark.slow
@OPTIONS
def test_every_target_exists_and_takes_its_arguments(file):
    group = file.parent.name
    if group in GLOBAL_GROUPS | {"hydra", "help"}:
        pytest.skip("no group of ours with targets")
    root = ONLY_ROOT.get(option_id(file), roots_with(group)[0])
    config = compose(root, *([] if groups_of(root)[group] == file.stem else [option_id(file)]))
    for node in nodes_with_target(OmegaConf.to_container(config[group], resolve=True, enum_to_str=True)):
        target = hydra.utils.get_object(node.pop("_target_"))
        is_partial = node.pop("_partial_", False)
        signature = inspect.signature(target)
        if is_partial:
            signature.bind_partial(**node)
        else:
            added = ADDED_ARGUMENTS.get(group, set()) & signature.parameters.keys() - node.keys()
            signature.bind(**node, **dict.fromkeys(added))


def nodes_with_target(node: Any) -> list[dict[str, Any]]:
    if not isinstance(node, dict):
        return []
    below = [found for value in node.values() for found in nodes_with_target(value)]
    return [node, *below] if "_target_" in node else below


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        file
        for file in [*sorted(CONF_DIR.glob("*.yaml")), *sorted(CONF_DIR.glob("base/*.yaml")), *option_files()]
        if file.parent.name not in GLOBAL_GROUPS | {"hydra"}
    ],
    ids=lambda file: f"{file.parent.name}/{file.name}",
)
def test_a_comment_stands_above_every_field(file):
    """An option that builds on another one inherits its comments; a comment on a block covers what is in it."""
    lines = file.read_text().splitlines()
    assert lines[0].startswith("#")
    builds_on_another = "defaults:" in lines and file.parent not in (CONF_DIR, CONF_DIR / "base")
    if builds_on_another:
        return
    commented_indents: list[int] = []  # of the blocks around this line that have a comment
    lacking = []
    for before, line in pairwise(lines):
        match = re.match(r"^( *)(\w+):(.*)$", line)
        if not match:
            continue
        indent, name, value = len(match[1]), match[2], match[3].strip()
        commented_indents = [other for other in commented_indents if other < indent]
        has_comment = before.lstrip().startswith("#")
        if not value and has_comment:
            commented_indents.append(indent)
        is_exempt = not value or name in ("_target_", "_partial_") or f"{file.parent.name}.{name}" in SHARED_COMMENTS
        if not (has_comment or is_exempt or any(other < indent for other in commented_indents)):
            lacking.append(name)
    assert not lacking


@pytest.mark.parametrize(
    ("root", "override", "parts"),
    [
        ("train", "grpo.num_step=3", ["grpo.num_step"]),
        ("train", "grpo.num_steps=many", ["grpo.num_steps", "many"]),
        ("train", "grpo.scale_rewards=groups", ["grpo.scale_rewards", "groups"]),
        ("train", "grpo/loss=reinforce", ["grpo/loss", "reinforce"]),
        ("train", "model.dtype=float8", ["model.dtype", "float8"]),
        ("train", "grpo=tiny", ["grpo/tiny", "large"]),
        ("train", "sed=3", ["sed"]),
        ("evaluate", "protocol.num_sample=3", ["protocol.num_sample"]),
        ("evaluate", "protocol.kind=guess", ["protocol.kind", "guess"]),
        ("evaluate", "benchmark.exclude=[dup]", ["benchmark.exclude", "dup"]),
        ("pipeline", "synthesis.rare_shares=0.1", ["synthesis.rare_shares"]),
        ("pipeline", "grpoo=large", ["grpoo"]),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_composed_names_the_full_key(root, override, parts):
    with pytest.raises((ConfigCompositionException, OmegaConfBaseException)) as caught:
        compose(root, override)
    for part in parts:
        assert part in str(caught.value) + str(caught.value.__cause__)


OUT_OF_RANGE = {
    "pipeline": "synthesis.rare_share=1.5 trainer.precision=16-true grpo.top_k=20",
    "synthesize": """
        synthesis.rare_share=-0.1 synthesis.num_questions=0 synthesis.num_options=1
        synthesis.num_passages=-1 synthesis.max_draws_per_question=0
        """,
    "audit": "audit.num_questions=0",
    "export": "targets=[]",
    "train": """
        trainer.precision=bf16-true grpo.num_generations=1 grpo.num_prompts_per_step=0 grpo.num_steps=0
        grpo.temperature=0 grpo.top_p=0.95 grpo.min_p=0.05 grpo.dynamic_sampling_rounds=-1 grpo.beta=-0.1
        grpo.loss.epsilon=1.0 grpo.loss.epsilon_high=0 grpo.loss.dual_clip=1.28 grpo.tis_cap=0.5
        grpo.num_iterations=0 grpo.minibatch_prompts=5 grpo.minibatch_prompts=0 grpo.overlong_buffer=65
        grpo.overlong_penalty=-1 grpo.reward_timeout_s=0 grpo.head_chunk_tokens=0
        grpo.head_chunk_tokens=many grpo.loss.epsilon=0
        """,
    "pseudo_label": """
        labeling.num_votes=1 labeling.temperature=0 labeling.min_agreement=1.5 labeling.max_agreement=1.01
        labeling.min_valid_share=1.01 labeling.min_valid_share=-0.1
        """,
    "evaluate": """
        protocol.num_samples=0 protocol.temperature=-0.1 protocol.top_p=0 protocol.top_k=-1
        protocol.max_new_tokens=0 protocol.questions_per_chunk=0 protocol.num_orders=0 protocol.num_shots=-1
        """,
    "retrieve": "num_hits=10",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("root", "override"),
    [(root, override) for root, overrides in OUT_OF_RANGE.items() for override in overrides.split()],
)
def test_a_value_out_of_range_names_the_full_key_and_the_value(root, override):
    key, value = override.split("=")
    config = OmegaConf.merge(compose(root), OmegaConf.from_dotlist([override]))
    with pytest.raises(InputError) as caught:
        OmegaConf.to_object(config)
    assert key in str(caught.value)
    assert value in str(caught.value)


@pytest.mark.parametrize("override", ["grpo.top_p=0.95", "grpo.top_k=20", "grpo.min_p=0.05"])
def test_training_says_why_no_token_is_left_out(override):
    config = OmegaConf.merge(compose("train"), OmegaConf.from_dotlist([override]))
    with pytest.raises(InputError, match=r"temperature alone.* another distribution than the one whose log-probs"):
        OmegaConf.to_object(config)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_both_ends_of_alpha_are_allowed(share):
    assert typed("synthesize", f"synthesis.rare_share={share}").synthesis.rare_share == share


def test_shipped_resources_exist():
    config = typed("pipeline")
    for path in (config.seed_questions.path, config.benchmark.path, config.model.prompt_path):
        assert Path(path).is_file()


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ([], ["data.path", "command line"]),
        (["grpo.num_step=3"], ["grpo.num_step"]),
        (["grpo.num_generations=1", "data.path=x"], ["grpo.num_generations", "at least 2"]),
    ],
)
@pytest.mark.slow
def test_a_command_ends_with_code_2_and_a_message_for_a_user_s_fault(tmp_path, overrides, parts):
    _, errors = run("train", *overrides, folder=tmp_path, code=2)
    for part in parts:
        assert part in errors


@pytest.mark.slow
def test_composing_imports_no_heavy_library():
    program = """
import sys
import hydra
from omegaconf import OmegaConf
import medssr.commands.train
from medssr.config import register
from medssr.artifacts import Step
from medssr.cli.entry import composed
from medssr.config.catalog import CONF_DIR
register()
with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
    OmegaConf.to_object(hydra.compose("train", ["data.path=x", "paths.root_dir=/somewhere"]))
print(sorted({"torch", "transformers", "vllm", "lightning", "numpy"} & sys.modules.keys()))
"""
    assert run_program(program).strip() == "[]"


@pytest.mark.slow
def test_the_reference_has_every_setting_with_its_comment(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["reference", str(tmp_path / "pages" / "reference.yaml")])
    reference_main()
    text = (tmp_path / "pages" / "reference.yaml").read_text(encoding="utf-8")
    reference = yaml.safe_load(text)
    assert sorted(reference.pop("commands")) == ROOTS
    for group, options in reference.items():
        assert sorted(options) == sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))
    assert reference["grpo"]["default"]["num_generations"] == typed("train").grpo.num_generations
    assert "# Completions per question (G), at least 2." in text


@pytest.mark.slow
def test_a_preset_leaves_the_bounds_of_another_loss_alone():
    config = composed("train", ["data.path=given.jsonl", "grpo=parity", "grpo/loss=gspo"])
    assert (config.grpo.loss["epsilon"], config.grpo.loss["epsilon_high"]) == (3e-4, 4e-4)


@pytest.mark.slow
@pytest.mark.parametrize("override", ["grpo/loss=gspo", "grpo.loss=gspo"])
def test_a_loss_is_chosen_by_its_name_and_brings_its_own_parameters(override):
    config = composed("train", ["data.path=given.jsonl", override, "grpo.loss.dual_clip=null"])
    expected = {"_target_": "medssr.grpo.losses.GSPO", "epsilon": 3e-4, "epsilon_high": 4e-4, "dual_clip": None}
    assert config.grpo.loss == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["generator.extra_body={top_p: 0.9, nested: {a: [1]}}"],
        ["generator.extra_body.top_p=0.9", "generator.extra_body.nested={a: [1]}"],
        ["+generator.extra_body.top_p=0.9", "++generator.extra_body.nested.a=[1]"],
    ],
)
def test_the_additions_to_a_request_take_any_key_and_belong_to_the_fingerprint(overrides):
    chat = ["generator=openai", "generator.model=m"]
    config = composed("synthesize", [*chat, *overrides])
    assert config.generator["extra_body"] == {"top_p": 0.9, "nested": {"a": [1]}}
    others = [composed("synthesize", [*chat, *more]) for more in ([], ["generator.extra_body={timeout_s: 1}"])]
    folders = {Step("synthesize", each, Path("made")).directory for each in (config, *others)}
    assert len(folders) == 3
