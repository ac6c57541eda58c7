"""What is asked of a generator: the draws of an attempt, the passages about its disease, and the prompt of both."""

from __future__ import annotations

from medssr.knowledge.retrieval import Retriever
from medssr.synthesis.controls import QuestionPlan
from medssr.synthesis.generators import SynthesisRequest
from medssr.synthesis.prompts import build_synthesis_prompt


class RequestMaker:
    """Makes the request for an attempt at a slot.

    Args:
        plan: The draws.
        retriever: Finds the passages about a disease; indexed.
        template: Text of the prompt template.
        num_passages: Passages for a disease.
        num_options: Options of a question.
    """

    def __init__(
        self, plan: QuestionPlan, retriever: Retriever, template: str, num_passages: int, num_options: int
    ) -> None:
        self._plan = plan
        self._retriever = retriever
        self._template = template
        self._num_passages = num_passages
        self._num_options = num_options

    def __call__(self, slot: int, attempt: int) -> SynthesisRequest:
        """Returns the request: the same for the same slot and attempt, both from 0."""
        drawn = self._plan.draw(slot, attempt)
        hits = () if drawn.entity is None else tuple(self._retriever.search(drawn.entity.name, self._num_passages))
        prompt = build_synthesis_prompt(self._template, drawn.seed_questions, drawn.entity, hits, self._num_options)
        return SynthesisRequest(drawn, hits, prompt)
