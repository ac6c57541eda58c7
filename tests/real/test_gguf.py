"""Reading a GGUF file."""

import json

import torch
from support.helpers import copy_policy, typed

from medssr.models.architecture import architecture_of
from medssr.models.policy import load_policy
from medssr.models.prompts import render_prompt

TEXT = "The pancreas makes insulin, which lowers the sugar in the blood."


@torch.no_grad()
def logits(policy):
    return policy.model(torch.tensor([policy.tokenizer(TEXT)["input_ids"]])).logits


def test_it_is_the_pretrained_model(read_policy):
    token_ids = torch.tensor([read_policy.tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        next_id = read_policy.model(token_ids).logits[0, -1].argmax().item()
    assert read_policy.tokenizer.decode(next_id) == " Paris"
    assert sum(weight.numel() for weight in read_policy.model.parameters()) == 134_515_008


def test_the_folder_that_is_saved_holds_the_same_model(read_policy, policy, folder):
    assert torch.equal(logits(policy), logits(read_policy))
    assert "quantization_config" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_tokenizer_and_chat_template_come_from_the_file(read_policy, policy, questions):
    prompts = [render_prompt(question, "{question}", read_policy.tokenizer) for question in questions]
    assert prompts[0].endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert prompts == [render_prompt(question, "{question}", policy.tokenizer) for question in questions]
    end = read_policy.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end in read_policy.eos_token_ids


def test_it_can_be_trained(read_policy):
    model = copy_policy(read_policy).model
    model.train()
    loss = model(torch.tensor([read_policy.tokenizer(TEXT)["input_ids"]])).logits.logsumexp(-1).sum()
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_bfloat16_is_what_is_asked_for(gguf_file):
    config = typed("evaluate", "model=gguf", f"model.path={gguf_file}").model
    assert load_policy(config).model.dtype == torch.bfloat16


def test_the_size_is_known_before_the_weights_are_read(gguf_file, read_policy):
    architecture = architecture_of(str(gguf_file))
    assert architecture is not None
    assert architecture.num_parameters == sum(weight.numel() for weight in read_policy.model.parameters())
