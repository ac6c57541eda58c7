"""What came of a case, and the table of all cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What came of a case; the value is the column's title."""

    SURVIVED = "survived"  # the bytes are those of an undisturbed run
    ANSWERED = "answered"  # exit code 2 and a message that names the file or folder
    SILENTLY_WRONG = "silently wrong"  # exit code 0, but other bytes or a file that should have been refused
    TRACEBACK = "traceback"
    HUNG = "hung"  # still running after its limit of time
    UNCLEAR = "unclear"  # another exit code than promised, or a message that does not name the file or folder
    SKIPPED = "skipped"  # this machine does not allow it


GOOD = (Verdict.SURVIVED, Verdict.ANSWERED, Verdict.SKIPPED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case.

    Attributes:
        kind: "kills", "signals", ...
        case: What was done.
        verdict: What came of it.
        detail: What was seen, in one line.
        command: The command line that met it, for a shell.
    """

    kind: str
    case: str
    verdict: Verdict
    detail: str = ""
    command: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is to be mended."""
        return self.verdict in GOOD

    def line(self) -> str:
        """Returns the outcome as a line; with what was seen and the command where something is to be mended."""
        line = f"{self.verdict.value}: {self.kind}, {self.case}"
        if self.detail:
            line += f": {self.detail}"
        return line if self.is_good or not self.command else f"{line}\n    {self.command}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns a Markdown table with the number of cases by kind and verdict."""
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    counts = Counter((outcome.kind, outcome.verdict) for outcome in outcomes)
    rows = [[kind, *(str(counts[kind, verdict]) for verdict in Verdict)] for kind in kinds]
    sums = [str(sum(counts[kind, verdict] for kind in kinds)) for verdict in Verdict]
    header = ["kind", *(verdict.value for verdict in Verdict)]
    lines = [header, ["---"] * len(header), *rows, ["all", *sums]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
