"""Questions over several edges of a knowledge graph, with known truth and without a language model.

`patients` draws a patient with a disease, `distractors` chooses the other diseases and checks that none fits as well,
`wording` turns names and patients into sentences, `generator` puts the parts together.
"""

from medssr.synthesis.graph_questions.generator import GraphGenerator

__all__ = ["GraphGenerator"]
