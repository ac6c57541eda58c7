r"""The one extractor behind majority votes, rewards and benchmark scores.

A completion is read the way a careful reader would, by these rules, in this order:

1. Reasoning blocks are dropped; one that never ends means no answer (`cleaned_text`).
2. The text ends where the model's turn ends, or where it writes another question of its own (`cleaned_text`).
3. The answer field of a JSON object beats whatever the object says elsewhere (`layout`).
4. All positions that state a decision are visited from the end of the text backwards: a last line that is just "B" or
   "B. Warfarin" (`layout`), then every cue such as "the answer is", "is the correct option", "\boxed{" (`cues`).
5. There an option is named by letter, by text, or by both, which have to agree; several options, one outside the
   question, or "unclear" make a decision for no letter (`named_options`, `preceding`).
6. The last explicit decision counts. "The answer is not B" and "that is wrong" take back what came before
   (`extraction`).
7. Without an explicit decision the last weak one counts: "option B is correct", "the most likely cause is B", a last
   sentence like "She needs warfarin (B).", a list of verdicts of which one is "correct", a text that opens with
   "B. Warfarin is ..." (`layout`).
8. "If it is a stroke, the answer is B; if not, the answer is C" decides nothing, nor does "is it B?".
9. A list of the options, and a walk that discusses one after the other, decide nothing, also where they break off.
10. Otherwise there is no letter. Nothing is ever guessed.

The words that models use are tables in `lexicon`.
"""

from medssr.answers.choice import Choice, Reason
from medssr.answers.extraction import extract_choice

__all__ = ["Choice", "Reason", "extract_choice"]
