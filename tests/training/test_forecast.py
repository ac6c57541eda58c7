"""What a training is expected to take, by its configuration and the speed of the machine."""

from __future__ import annotations

import logging

import pytest
from support.helpers import random_policy, toy_question, typed

from medssr.commands.train import train
from medssr.models.architecture import architecture_of
from medssr.models.hardware import Hardware, write_hardware
from medssr.questions import write_questions
from medssr.training.forecast import Forecast, _arrangement, forecast

CPU = Hardware("a processor", False, 2, 1e11, 5e11, 1e10, "measured")
NODE = ["model=qwen3_8b_base", "trainer=fsdp2", "trainer.devices=8", "rollout=vllm", "grpo=large"]


def of(*overrides: str, device_name: str | None = None) -> Forecast | str:
    config = typed("train", *overrides)
    return forecast(config, config.grpo, device_name)


def computed(*overrides: str, device_name: str | None = None) -> Forecast:
    found = of(*overrides, device_name=device_name)
    assert isinstance(found, Forecast), found
    return found


@pytest.mark.slow
def test_what_is_not_configured_is_expected():
    work = computed(*NODE).work
    assert (work.num_prompts, work.num_generations, work.longest, work.signal_share) == (128, 8, 2048, 0.6)
    assert (work.completion_tokens, work.prompt_tokens) == (1024, 300)
    given = computed(*NODE, "extras.forecast={completion_tokens:700,prompt_tokens:500,signal_share:0.3}").work
    assert (given.completion_tokens, given.prompt_tokens, given.signal_share) == (700, 500, 0.3)


@pytest.mark.slow
def test_a_second_view_doubles_the_prompts_and_a_teacher_samples_too():
    plain, twice = computed(*NODE), computed(*NODE, "grpo.has_permuted_view=true")
    assert twice.work.num_prompts == 2 * plain.work.num_prompts
    taught = computed(*NODE, "grpo/teacher=moving_average", "reward=peer_vote").seconds
    assert taught.rollout == pytest.approx(2 * plain.seconds.rollout)
    assert taught.sync == pytest.approx(2 * plain.seconds.sync)
    assert (taught.update, taught.reference) == (plain.seconds.update, plain.seconds.reference)


@pytest.mark.slow
def test_a_teacher_whose_answers_no_reward_reads_does_not_sample():
    anchor = ["grpo/teacher=moving_average", "grpo.teacher.anchors_kl=true", "reward=label_match"]
    assert computed(*NODE, *anchor).seconds.rollout == computed(*NODE, "reward=label_match").seconds.rollout
    other = ["grpo/teacher=other_model", "grpo.teacher.path=folder", "reward=label_match"]
    assert computed(*NODE, *other).seconds.rollout == computed(*NODE, "reward=label_match").seconds.rollout


@pytest.mark.slow
def test_the_probability_of_a_label_takes_a_pass_over_all_completions():
    plain, probable = computed(*NODE, "reward=label_match"), computed(*NODE, "experiment=rlpr", "grpo=large")
    assert probable.seconds.reference > plain.seconds.reference


@pytest.mark.slow
def test_the_passes_of_a_teacher_are_not_counted():
    assert "a teacher" in of(*NODE, "grpo/teacher=moving_average", "grpo/distillation=gated", "trainer=ddp")


@pytest.mark.slow
def test_prompts_are_guessed_from_the_questions(tmp_path):
    question = toy_question()
    write_questions(tmp_path / "questions.jsonl", [question])
    (tmp_path / "prompt.txt").write_text("Think. {question}", encoding="utf-8")
    files = [f"data.path={tmp_path}/questions.jsonl", f"model.prompt_path={tmp_path}/prompt.txt"]
    characters = len(question.stem) + sum(map(len, question.options.values())) + len("Think. {question}")
    assert computed(*NODE, *files).work.prompt_tokens == pytest.approx(characters / 4)


@pytest.mark.slow
def test_a_damaged_question_file_stops_no_forecast(tmp_path):
    (tmp_path / "questions.jsonl").write_text("{", encoding="utf-8")
    assert computed(*NODE, f"data.path={tmp_path}/questions.jsonl").work.prompt_tokens == 300


@pytest.mark.slow
def test_the_time_of_a_foreign_reward_is_not_known():
    assert computed(*NODE).work.reward_seconds == pytest.approx(4e-4)
    foreign = computed(*NODE, "+reward.mine={_target_:support.user_rewards.FailsForLetters,weight:1,letters:B}")
    assert foreign.work.reward_seconds is None
    assert foreign.seconds.reward is None


@pytest.mark.slow
def test_passes_over_what_is_sampled_and_over_what_is_trained_are_counted():
    def passes(*overrides):
        config = typed("train", *NODE, *overrides)
        found = _arrangement(config, config.grpo, architecture_of(config.model.path, config.model.hub_config))
        return found.num_sampled_passes, found.num_trained_passes

    assert passes("grpo.beta=0") == (0, 0)
    assert passes("grpo.beta=0.02") == (0, 1)
    assert passes("grpo.beta=0.02", "grpo.num_iterations=2") == (0, 2)
    assert passes("grpo.beta=0.02", "grpo.kl_placement=reward", "grpo.kl_estimator=k1") == (2, 0)
    # The log-probs of the policy come with its statistics.
    assert passes("grpo.beta=0.02", "grpo.num_iterations=2", "reward=negative_entropy") == (1, 1)


@pytest.mark.slow
def test_votes_and_rounds_of_dynamic_sampling_are_expected():
    work = computed(*NODE, "reward=majority_vote", "reward.majority_vote.num_trained=2").work
    assert (work.num_trained_completions, work.num_generations) == (2, 8)
    more = computed(*NODE, "grpo.dynamic_sampling_rounds=2", "extras.forecast.signal_share=0.5")
    assert more.work.sampled_prompts == [128, 64, 32]
    assert more.seconds.rollout > computed(*NODE, "extras.forecast.signal_share=0.5").seconds.rollout


@pytest.mark.slow
def test_engines_of_their_own_take_devices_of_their_own():
    assert computed(*NODE).num_devices == 8
    four = ["trainer.devices=4", "rollout=vllm_node"]
    assert computed(*NODE, *four, "rollout.num_servers=4").num_devices == 8
    assert computed(*NODE, *four, "rollout.num_servers=2", "rollout.tensor_parallel_size=2").num_devices == 8
    servers = "rollout.addresses=[http://a:1,http://b:1]"
    assert computed(*NODE, "trainer.devices=4", "rollout=vllm_server", servers).num_devices == 6


@pytest.mark.slow
def test_hours_are_of_all_devices():
    found = computed(*NODE)
    assert found.device_hours(300) == pytest.approx(300 * found.seconds.total * 8 / 3600)


@pytest.mark.slow
def test_the_speed_is_that_of_the_named_gpu_or_of_the_measured_machine(tmp_path):
    root, on_cpu = f"paths.root_dir={tmp_path}", "trainer=cpu"
    assert computed(root, on_cpu, "extras.forecast.gpu=A100").hardware.name == "A100"
    assert "medssr-doctor --measure" in str(of(root, on_cpu))
    write_hardware(CPU, tmp_path / "artifacts")
    assert computed(root, on_cpu).hardware == CPU
    assert computed(root).hardware == CPU  # trainer.accelerator=auto
    assert computed(root, *NODE).hardware.name == "H100"  # not that of the machine that plans
    assert computed(root, *NODE, device_name="NVIDIA H200").hardware.name == "H200"
    assert computed(root, *NODE, device_name="NVIDIA A100-SXM4-80GB").hardware.name == "A100"
    assert "NVIDIA B900" in str(of(root, *NODE, device_name="NVIDIA B900"))
    assert computed(root, *NODE, "trainer.accelerator=cuda").hardware.name == "H100"  # a CPU was measured
    measured = Hardware("NVIDIA A100", True, 0, 1e13, 2e14, 1e12, "measured")
    write_hardware(measured, tmp_path / "artifacts")
    assert computed(root, *NODE, "trainer.accelerator=cuda").hardware == measured
    assert computed(root, *NODE, device_name="NVIDIA H200").hardware.name == "H200"


@pytest.mark.slow
def test_a_rollout_that_is_sampled_ahead_is_beside_the_training():
    servers = ["trainer.devices=4", "rollout=vllm_node", "rollout.num_servers=4"]
    in_turns, ahead = computed(*NODE, *servers).seconds, computed(*NODE, *servers, "rollout.overlap=one_step").seconds
    training = in_turns.reference + in_turns.update + in_turns.optimiser
    assert in_turns.total == pytest.approx(in_turns.reward + in_turns.rollout + training + in_turns.sync)
    assert ahead.total == pytest.approx(in_turns.reward + max(in_turns.rollout, training) + in_turns.sync)


@pytest.mark.slow
def test_a_prompt_template_that_cannot_be_read_stops_no_forecast(tmp_path):
    write_questions(tmp_path / "questions.jsonl", [toy_question()])
    (tmp_path / "prompt.txt").write_bytes(b"\xff {question}")
    files = [f"data.path={tmp_path}/questions.jsonl", f"model.prompt_path={tmp_path}/prompt.txt"]
    assert computed(*NODE, *files).work.prompt_tokens == 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["trainer.devices=-1"], "name trainer.devices=N"),
        (["trainer.devices=4", "rollout=vllm_node"], "name rollout.num_servers=N"),
        (["rollout._target_=some.Engine"], "not computed for the engine some.Engine"),
        (["model=local", "model.path=somebody/something"], "of no family"),
        (["trainer.devices=4", "rollout=vllm_server", "rollout.addresses=[]"], "rollout.addresses is empty"),
        (["rollout=vllm", "rollout.max_num_seqs=0"], "rollout.max_num_seqs is 0"),
    ],
)
def test_what_cannot_be_computed_is_not_guessed(overrides, reason):
    assert reason in str(of(*NODE, *overrides))


@pytest.mark.slow
def test_a_training_says_what_it_took_and_what_was_predicted(tmp_path, caplog):
    random_policy("qwen3").save(tmp_path / "model")
    write_questions(tmp_path / "questions.jsonl", [toy_question(number) for number in range(4)])
    write_hardware(CPU, tmp_path / "artifacts")
    config = typed(
        "train",
        *(f"paths.root_dir={tmp_path}", f"data.path={tmp_path}/questions.jsonl", f"model.path={tmp_path}/model"),
        *("trainer=cpu", "logger=csv", "extras.progress_bar=false", "extras.num_threads=1", "extras.profiler=torch"),
        *("grpo.num_steps=3", "grpo.num_prompts_per_step=2", "grpo.num_generations=2", "grpo.max_new_tokens=8"),
    )
    with caplog.at_level(logging.INFO, logger="medssr.training.seen_time"):
        made = train(config)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "medssr.training.seen_time"]
    expected = forecast(config, config.grpo)
    assert isinstance(expected, Forecast)
    assert f"predicted were {expected.seconds.total:.3g} s on 1 x a processor" in line
    header, *rows = made.path("metrics.csv").read_text(encoding="utf-8").splitlines()
    column = header.split(",").index("time/step_predicted")
    values = [row.split(",")[column] for row in rows]
    assert values[:-1] == ["", ""]
    assert len(list(made.path("traces").iterdir())) == 2
    assert float(values[-1]) == pytest.approx(expected.seconds.total)
