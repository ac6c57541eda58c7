r"""The one extractor behind majority votes, rewards and benchmark scores.

A completion is read the way a careful reader would, by these rules, in this order:

1. Reasoning blocks are dropped, and so is what is struck out; one that never ends means no answer (`cleaned_text`).
2. The answer is that to the question that was asked: the text ends where the model's turn ends, or where it begins a
   further question of its own (`next_question`).
3. The answer field of a JSON object beats whatever the object says elsewhere (`json_field`).
4. All positions that state a decision are visited from the end backwards: a last line that is just "B" or
   "B. Warfarin" (`layout`), then every cue such as "the answer is", "is the correct option", "\boxed{" (`cues`).
5. There an option is named by letter, by text, or by both, which have to agree (`named_options`, `subjects`); "aspirin
   + warfarin" is the option that combines the two (`combinations`). Several options, one outside the question, or
   "unclear" make a decision for no letter.
6. What a statement says of another case ("in gout, the answer is B") yields to what is said of this one, and what it
   says about others' answers ("a common trap is B", "students choose B") decides nothing (`statements`).
7. The last explicit decision counts; "the answer is not B" takes back what came before (`extraction`). Then the end of
   the text is read clause by clause: what it affirms, denies or concedes may correct the answer ("scratch that: B"),
   take it back ("that is wrong"), or give one by weighing options ("B rather than C", `claims`).
8. Without an explicit decision the last weak one counts: "option B is correct", "the most likely cause is B", a last
   sentence like "She needs warfarin (B)." (`layout`), a list in which one option has a check mark (`verdict_lists`).
9. Where nothing of all this decides, the main clause of the last statement may: "these findings point to B", "compared
   with A, B is stronger", "the false statement is B" (`conclusions`). A reply of a sentence or two answers with the one
   option that it names.
10. "If it is a stroke, the answer is B; if not, the answer is C" decides nothing, nor does "is it B?".
11. A list of the options, and a walk that discusses one after the other, decide nothing, also where they break off.
12. Otherwise there is no letter. Nothing is ever guessed.

The words that models use are tables in `lexicon`; `option_aliases` and `numerals` know the other names of an option.
"""

from medssr.answers.choice import Choice, Reason
from medssr.answers.extraction import extract_choice

__all__ = ["Choice", "Reason", "extract_choice"]
