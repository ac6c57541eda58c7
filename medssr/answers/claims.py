"""Reads what the end of a text claims of the options: "A is out. D it is", "not A but D", "I first thought A; it is D".

The options in the text are replaced by one sign each, options named together ("A and D", "neither of A and B") by
their signs in a row, or by the sign of the option that combines them. Phrases that only reject ("rather than A", "over
A") are taken out. Every clause then affirms options, denies them, or concedes them, which is to mention them as a former
thought or as tempting; or it is no plain statement about the question that was asked. The last claim that nothing
takes back counts, and several options at a time count as none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from medssr.answers import lexicon
from medssr.answers.choice import Decision, Reason
from medssr.answers.cleaned_text import OptionTable, Page
from medssr.answers.combinations import combined
from medssr.answers.lexicon import SMALL_TEXTS, any_of, longest_of
from medssr.answers.statements import is_another_case, is_view_of_others

_FIRST_SIGN = 0xE000  # of the characters for private use, one for each option
_SIGN = "[\ue000-\ue019]"
_SIGNS = re.compile(_SIGN)
_RUN = f"{_SIGN}+"
_RUNS = re.compile(_RUN)
_MARK = "[^a-z0-9\ue000-\ue019]"
_HEAD = re.compile(rf"{_MARK}*(?:(?:option|choice) )?{_SIGN}{_MARK}*")  # "- option B"
_LONGEST_CLAUSE = 200
_SHORTEST_TAIL = 3
_TAIL_WITHOUT_ANSWER = 400
_TAIL = 1_000  # characters behind an answer in which it is corrected; further on stand explanations

# --- The words of a claim ---------------------------------------------------------------------------------------------

_THOUGHT = (
    r"(?:wait|hm+|no(?=[,.;:!]|\s-|\s*\Z|\swait)|oh|ah|(?:up)?on (?:second|further|closer|more|careful|reflection"
    r"|review|balance|reconsideration)|but wait"
    r"|re-?\w+ing|looking (?:again|back|closer)|then again|let me (?:re\w+|correct|fix|change|think|double-check"
    r"|look again)"
    r"|i (?:take|was|should|missed|overlooked|made|need to|have to|must|now|had|said|previously|would have|stand"
    r"|first|mixed"
    rf"|confused)|i'm changing|i'd have|{longest_of(lexicon.CORRECTING)})"
)
_CORRECTION = rf"(?<![a-z]){longest_of(lexicon.CORRECTING)}"
_CONTRAST = r"(?:but|however|though|instead|rather|yet|sondern|sino|mais|ma|mas)"
_TURN = re.compile(rf"(?:\A|[.!?,;:(\n-]\s?|\s)(?:{_THOUGHT}|{_CONTRAST})(?![a-z])|而是")
_BEFORE_CORRECTION = (
    r"(?:(?:i|i'll|i've|i'd|i'm|we|am|have|had|has|to|need|let|me|let's|want|like|my|that|this|it|was|is|got|a|an"
    r"|the|final|having"
    r"|upon|after|on|so|but|and|or|oh|ah|well|ok|no|yes|what|self|answer|should|would|must|now|previous|above"
    r"|please)[ ,:-]{1,2}){0,4}"
)
_RETHOUGHT = re.compile(
    rf"\W*+(?:{_BEFORE_CORRECTION}{_CORRECTION}|(?:(?:and|but|so|well|ok|okay),? )?{_THOUGHT})(?![a-z])"
)
_TAKEN_BACK = (
    r"(?:retract|withdraw|(?:take|taking|took) (?:that|it|this|my answer) back|(?:scratch|strike|scrap|cancel|disregard"
    r"|ignore|forget|undo|delete) (?:that|this|it|the above|my (?:\w+ )?answer|what i (?:said|wrote))|that was hasty)"
)
_FREE = (
    r"(?:(?:option|choice|answer|the|a|my|clearly|actually|really|therefore|instead|rather|then|indeed|now|still"
    r"|in fact|then|only|just|simply|case of|diagnosis of|an?)\s)*"
)
_LEAD = (
    r"(?:(?:so|thus|hence|then|therefore|but|and|ok|okay|well|yes|yeah|no|nope|wait|actually|sorry|hm+|oh|rather"
    r"|instead|yet|it's|that's|it is|that is|that would be|it would be|it must be|it has to be|it should be|i'd say"
    r"|i say"
    r"|i'll say|make that|make it|i mean|i meant|i\.e\.|my answer|answer|the answer|final answer|final|revised"
    r"|new answer|change|correction|definitely|leaving|this leaves|that leaves|which leaves|now|to|go with|i choose"
    r"|i pick|es|c'est|è|é|ist|es ist|应该是|это|sondern|sino|mais|ma|mas|doch|plutôt|mejor dicho|la|die|das|der|le|il"
    r"|más bien|anzi|而是|更正为|是|а)"
    r"(?<![a-z](?=[a-z]))[,:]?\s*)*"
)
_MODAL = r"(?:must|has to|should|ought to|would|will|needs to)"
_BE = rf"(?:\s(?:is|ist|est|es|è|é|was|are|looks|seems|becomes|remains|stands|{_MODAL} be)|'s)"
_BETTER = (
    r"(?:better|superior|preferable|preferred|favou?red|stronger|likelier|safer|needed|required|indicated|called for"
    r"|the one)"
)
_RIGHT = (
    rf"(?:right|correct|richtig|korrekt|correct[ae]|corretta|correta|giusta|best|answer|it|one|winner|(?:far |much "
    rf"|clearly )?{_BETTER}|(?:best|right|correct|only|more \w+"
    r"|proper|appropriate|most \w+)(?: (?:one|option|choice|answer|fit|match|pick|drug|diagnosis|explanation|bet|test"
    r"|step|treatment|fit|candidate))?|what \w+[^,]*|way to go|injured|affected|involved|(?:used|given|chosen|done"
    r"|started|picked|selected)(?<!already used))"
)
_FITS = (
    r"(?:\w+ly )?(?:fits|makes|suits|matches|explains|wins|works|answers|suffices|alone (?:suffices|is enough"
    r"|is sufficient|will do)|accounts for|takes it|prevails|covers|stands)"
    rf"(?: (?:more|better|best|the|it|sense|everything|all|this|here|out|because|since|as)(?![a-z])|{_MARK}*\Z)"
)
_END = (
    rf"(?={_MARK}*\Z|,? (?:because|since|as|given|not|instead|after|then|than|for|here|now|that|the|due|based"
    rf"|on account"
    rf"|rather|on|out|first|anyway|despite|it is|'?cause|cuz|bc|by (?:exclusion|elimination)"
    r"|(?:in|for|with) (?:this|her|his|our|these|such))(?![a-z]))"
)
_LURE = r"trap|lure|similar|compare|see|distractor|worst|consider|considered|exclude|excluded|rule|about|avoid"
_DECIDE = (  # "I ... B"
    r"(?:choose|pick|say|answer|prefer|favou?r|trust|vote(?: for)?|select|mark|keep|give|use|recommend|prescribe"
    r"|lean(?: towards?)?|take|put|opt for"
    r"|(?:go|stick|stay|side|end up|finish|land|settle)(?: with| for| on| at)?)"
)
_AFFIRMS = re.compile(
    rf"\A{_MARK}*{_LEAD}{_FREE}{_MARK}*(?P<alone>{_RUN})(?: (?:then|instead|it is|after all|now|rather"
    rf"|for sure))?(?:(?!:){_MARK})*\Z"
    rf"|(?P<subject>{_RUN})(?:{_BE}|,)\s{_FREE}(?:(?!partly|hardly|nearly|possibly)\w+ly )?{_RIGHT}{_END}"
    rf"|(?<![a-z])only (?P<only>{_RUN}) [a-z]+(?! cells)"
    rf"|(?P<verb>{_RUN}) (?:it is|(?:is|does|will|would)(?=[.!]{_MARK}*\Z)|{_FITS})"
    rf"|\A{_MARK}*(?:so |then |thus )?(?:use|give|choose|pick|take|start|order|prescribe|administer|select|prefer"
    rf"|go (?:with|for))"
    rf"\s{_FREE}(?P<imperative>{_RUN}){_END}"
    r"|(?:(?<=[→⇒])|(?<=->)|(?<==>)|(?<![a-z])(?:is|be|it's|that's|rules? in|ruled in|sondern|sino|ma|mas|mais"
    r"|calls for|call for|points? to|pointing to|leaving|leaves|means|makes|going with"
    rf"|(?:chang|switch|revis|correct|updat|amend|chose|chang)\w*[^\n]*? to|favou?rs?|supports?|suggests?|indicates?"
    r"|confirms?|becomes|makes it"
    r"|(?:brings?|leads?|takes?|points?|pushes|tips?|moves?|sways?|nudges?) (?:me|us|it|this|things) (?:to|towards?)"
    rf"|needs?|(?:argues?|speaks?|more|stronger|evidence)(?: in favou?r of| for)|(?:more|most|likelier) \w+"
    rf"|(?:(?<=\A)|(?<![a-z])(?:i|we|i'd|we'd|i'll|we'll|let's|us|to|so|hence|and) )"
    rf"(?:\w+ ){{0,2}}?{_DECIDE}|(?:i'm|i am|we're)(?: \w+)? (?:\w+ing)(?: (?:with|on|for|to))?))"
    rf"\s{_FREE}(?:[^,.:;\ue000-\ue019]{{1,50}}\()?{_MARK}?(?P<object>{_RUN}){_END}"
)
_ANEW = re.compile(  # in a new thought: "After thinking: D", "I intended to write D"
    rf"\A(?!.*(?<![a-z])(?:{_LURE})(?![a-z]))[^\ue000-\ue019]{{0,60}}?(?:[:;,.!-]|->|→|=>|⇒|(?<![a-z])"
    rf"(?:{any_of(lexicon.CORRECTION_FILLERS)}|{_CORRECTION}))\s?{_MARK}*(?P<object>{_RUN})(?: instead| now)?{_MARK}*\Z"
)
_PREFERRED = re.compile(rf"\A[^\ue000-\ue019]{{0,80}}(?P<object>{_SIGN})[^\ue000-\ue019]{{0,60}}\Z")
_LAST_RUN = re.compile(rf"({_RUN})[^\ue000-\ue019]*\Z")
_ENDS_WITH = re.compile(rf"[^\ue000-\ue019]{{0,40}}[a-z][^\ue000-\ue019]{{0,40}}(?P<object>{_SIGN}){_MARK}*")
_IS_UNSURE = re.compile(
    r"(?<![a-z])(?:may|might|could|would|possibl[ey]|perhaps|maybe|or|and|if|unless|whether|consider\w*|about|like"
    r"|similar|than|versus"
    r"|vs|not|no|never|nor|neither|differ\w*|distractor|trap|tempt\w+|wrong|exclud\w+|rul\w+ out|avoid\w*|against"
    r"|without"
    r"|except|look\w*|evaluat\w+|discuss\w*|options?|between|from|first|before|was|were|had|thought|said|also"
    r"|another|other"
    r"|so (?:is|are|does)|causes?|caused|acts?|inhibits?|by|of|in|as)(?![a-z])|n't"
)
_LONE_END = re.compile(rf"[.!?…]\s+(?P<object>{_SIGN})[.!\s]*\Z")
_DEMANDS = re.compile(rf"(?<![a-z])(?!lacks|resists)[a-z]{{3,}}s (?P<object>{_RUN}){_MARK}*\Z")
_DENIED = (
    r"(?:out|wrong|incorrect|absent|insufficient|inadequate|too \w+|useless|inappropriate|excluded|eliminated"
    r"|ruled out|off the table|mistaken|impossible|a mistake|an error"
    r"|contraindicated|no longer\b.*|not\b.*)"
)
_DENIES = re.compile(
    rf"(?<![a-z])(?:not(?: (?:give|choose|use|pick|start|order|prescribe|select|consider|recommend))?|no (?:need"
    rf"|role|reason|indication)"
    rf" (?:for|of|to \w+)|rather than|instead of|than|rules? out|ruled out|ruling out|excludes?|excluding|eliminates?"
    rf"|against|from|drop|reject|retract|withdraw|discard|abandon|never|isn't|wasn't|can't be"
    rf"|cannot be)\s{_FREE}(?:[^,.:;\ue000-\ue019]{{1,50}}\()?{_MARK}?(?P<object>{_RUN})"
    rf"|(?P<subject>{_RUN})(?:{_BE}\s(?:\w+ly\s|therefore\s|then\s|also\s|all\s|both\s)*{_DENIED}(?!,? (?:for|in) )"
    r"|\s(?:isn't|wasn't|aren't|can't be|cannot be|can be (?:\w+ )?(?:excluded|ruled out|eliminated|discarded)|won't"
    r"|(?:doesn't|don't|does not|do not)(?: (?:fit|make|work|explain|match)|[^a-z]*\Z)))"
)
_CONCEDES = re.compile(  # a former thought, or one that is only tempting
    rf"(?<![a-z])(?:i|i'd|we|we'd)(?: (?!should|meant|intended)\w+){{0,3}}? (?:previously|earlier|initially"
    rf"|originally|first|said|thought|considered"
    rf"|going to|almost|nearly|leaned|was (?:about|leaning|thinking|inclined)|picked|had|wrote"
    rf"|put)(?![a-z])[^\ue000-\ue019]*?(?P<former>{_RUN})"
    rf"|(?<![a-z])(?:initially|at first|originally|previously|before|first (?:pass|guess|thought|look|impression|answer"
    rf"|instinct)|initial \w+|instead of|draft|old|tempt\w+)(?![a-z])[^\ue000-\ue019]{{0,40}}(?P<first>{_RUN})"
    rf"|\A{_MARK}*(?:(?:and|but|so),? )?(?:although|though|even though|even if|while|whilst|whereas|despite|between"
    rf"|torn)"
    rf"(?![a-z])[^\ue000-\ue019]*(?P<although>{_RUN})"
    rf"|(?<![a-z])(?:between|among|of|out of)\s{_FREE}(?P<group>{_SIGN}{_RUN})"
    rf"|(?P<tempting>{_RUN})[^\ue000-\ue019]{{0,20}}?(?:{_BE}|\swould have been|\shad been)\s(?:\w+ly\s)?(?:an? |my "
    rf"|the )?(?:\w+ly\s)?(?:tempting|plausible"
    r"|attractive|close|first|initial|original|instinct|gut|reasonable|possible|runner-up|pick|second|distractor)"
    r"(?![a-z])"
)
_CANNOT_DECIDE = (
    r"(?:can(?:'t|not) (?:decide|tell|say)|hard to (?:say|tell|decide)|(?:a )?toss-?up|(?:just|equally) as (?:well"
    r"|likely)"
    r"|could go either way|(?:neither|none)(?: of (?:them|these|those|the two))? (?:is|are|fits?|works?|was|seems?)"
    r"|could (?:just as (?:well|easily) )?be either|undecided)"
)
_UNDECIDED = re.compile(rf"(?<![a-z]){_CANNOT_DECIDE}(?![a-z])")
_OWN = re.compile(r"(?<![a-z])(?:i|i'm|i'd|my|me)(?![a-z])")
_POSSIBLE = re.compile(r"(?<![a-z])(?:possible|reasonable|plausible)(?![a-z])")
_DOUBTS = re.compile(
    r"(?<![a-z])(?:it|that|this) (?:isn't|doesn't|is not|does not|can't be|cannot be)[^a-z]*\Z|(?<![a-z])(?:i doubt"
    r"|maybe not|perhaps not)(?![a-z])|(?<![a-z])(?:(?:that|this|it|which|i|my answer|the above)(?:'s| is| was| am"
    r"|'m)? ?(?:\w+ly )?(?:wrong|incorrect"
    r"|mistaken|unlikely|a mistake|an error|out|not (?:quite )?(?:right|correct|sure|certain|it)|(?:can't|cannot"
    r"|can not"
    r"|isn't|is not|wasn't|doesn't|does not) (?:\w+ )?(?:right|correct|sure|it|fit|work|make sense|add up|look right"
    rf"|seem right))|not (?:so )?(?:sure|certain)|{_CANNOT_DECIDE}|that's not"
    r"|let me (?:think again|reconsider|rethink|recheck|try again|start over)|no longer sure|rules? (?:that|it"
    rf"|this) out|not convinced|{_TAKEN_BACK})(?![a-z])"
)
_NEGATED = re.compile(
    r"(?:(?<![a-z])(?:no|not|never|nor|neither|hardly|without)|n't)(?= )(?! (?:wait|mind|no|doubt|right"
    r"|correct)(?![a-z]))[^\ue000-\ue019]*\Z"
)
_REASON = re.compile(r"(?:not|because|since|as|given|then|so|instead|after all)(?![a-z])")
_IS_NOT_ALONE = re.compile(
    r"(?<![a-z])(?:also|too|as well|an?other|acceptable|alternatively?|second(?! thought)|or(?! rather| actually"
    r"|,? better)|either|maybe|perhaps|both|so (?:is|are|does)|equally)(?![a-z])"
)
_ALL_BUT = re.compile(
    rf"(?<![a-z])(?:all|everything|every\w*|each|any\w*|none|nothing|no)(?![a-z])[^\ue000-\ue019,]{{0,30}}(?<![a-z])"
    rf"(?:except|but|other than|apart from|besides|save)(?: for)?\s{_FREE}(?P<object>{_RUN})"
    r"(?= (?:(?:is|are|was|has been|have been|can be|seems?|looks?)(?: \w+ly)? (?:wrong|incorrect|out|excluded"
    r"|eliminated|ruled out|discarded)|fits?|works?|makes? sense|is (?:left|correct|right))(?![a-z]))"
)
_REJECTED = re.compile(  # the phrase, and where it stands behind another option, or in front of one
    rf"(?:(?<=[\ue000-\ue019])|(?<=[\ue000-\ue019][)\]\"' ,])|(?<=[\ue000-\ue019]['\")],))[\s,(;-]*(?:(?:and|but|und"
    rf"|y|et|e|и) )?(?:\w+ly )?"
    rf"(?:rather than|instead of|as opposed to|in preference to|in place of|over|above|not|and never|versus|vs\.?"
    r"|nicht|pas|no|non|não|не|而不是|不是|而非|plutôt que|piuttosto che|antes que|en lugar de|en vez de|em vez de|anstatt"
    r"|statt|anziché|al posto di|au lieu de|(?:and )?away from|a nie)"
    rf"(?: (?:on|for|to|with|of|in favou?r of|from|by))?\s?{_FREE}(?:la |die |le |el |il |a )?(?P<behind>{_RUN})\)?,?"
    rf"|(?<![a-z])(?:rather than|instead of|as opposed to|in place of)\s{_FREE}(?P<front>{_RUN})[),]*"
    rf"(?=\s[^.\n]*{_SIGN})"
    rf"|(?:,|and|but) (?:against|less for)\s{_FREE}(?P<against>{_RUN})"
    rf"|(?<=[a-z\ue000-\ue019]) (?:than(?: (?:of|from|on|for|with|by|to))?|over)\s{_FREE}(?P<than>{_RUN})"
    rf"|(?<![a-z])(?:nicht|不是|pas|ce n'est pas|no es|non è|não é|не|no|non|não)\s?{_FREE}(?:die |la |le |il |a |el )?"
    rf"(?P<foreign>{_RUN})(?=,?\s?(?:sondern|而是|mais|sino|ma|mas|а|por)(?![a-z]))"
)
_BEATS = re.compile(
    rf"(?P<weaker>{_RUN})(?:{_BE}| fits?)(?: (?:clearly|much|far|even))? (?:less \w+ than|not as \w+ as|inferior to"
    rf"|worse than|weaker than) {_FREE}"
    rf"(?P<stronger>{_RUN})|(?P<winner>{_RUN}) (?:beats|trumps|outweighs|outperforms|surpasses|edges out|wins over"
    rf"|wins against|is above"
    rf"|(?:is|should be|must be|would be|was) (?:preferred (?:to|over)|preferable to|superior to|favou?red over"
    rf"|chosen over)|comes before"
    rf"|takes (?:precedence|priority) over|should (?:come|be done) before) {_FREE}(?P<loser>{_RUN})"
    rf"|(?:prefer|favou?r)\w* {_FREE}(?P<preferred>{_RUN}) (?:to|over|above) {_FREE}(?P<other>{_RUN})"
    rf"|(?:chang|switch|revis|correct|updat|mov"
    rf"|go)\w*(?: \w+){{0,3}}? from {_FREE}(?P<left>{_RUN}) to {_FREE}(?P<taken>{_RUN})"
)
_ABOVE = re.compile(rf"\A{_MARK}*(?P<winner>{_RUN}) ?>+ ?(?P<loser>{_RUN}){_MARK}*\Z")
_SENTENCE_END = re.compile(
    r"(?<![\n.][\ue000-\ue019])(?<=[.!?;])[^\S\n]+|(?<=[!?;])\s+|\n+|\s-+\s|\.{2,}|…|(?<=[\ue000-\ue019]\))\.\s"
)
_CLAUSE_END = re.compile(
    r"(?<=:)\s(?![^a-z0-9\ue000-\ue019]*[\ue000-\ue019]+[^a-z0-9\ue000-\ue019]*\Z)|[,;]?\s(?=(?:but|however|so|hence"
    r"|thus|therefore|whereas|while|yet|leaving|which leaves|which brings)"
    r"(?![a-z]))|,\s"
)
_BREAKS_OFF = re.compile(
    r"(?<![a-z])(?:but|however|although|though|while|whereas|or|unless|yet|and|because|if)[,:]?\s*\Z"
)
_WORD = re.compile(r"[^\W\d_]+")
# Words of which a text has one if it denies or doubts an answer ("t" is of "isn't"), or turns to another option.
_WORDS_OF_DENIAL = {
    "not", "t", "cannot", "wrong", "incorrect", "mistaken", "mistake", "unlikely", "error", "out", "doubt", "sure",
    "decide", "never", "impossible", "contraindicated", "excluded", "eliminated", "longer", "first", "initial",
    "initially", "original", "off", "pick", "retract", "withdraw", "back", "scratch", "strike", "scrap", "cancel",
    "disregard", "ignore", "forget", "undo", "hasty", "hard", "tell", "toss", "say", "equally", "either", "undecided",
}  # fmt: skip
_WORDS_OF_THOUGHT = {
    "hm", "hmmm", "no", "oh", "ah", "second", "further", "closer", "careful", "reflection", "review", "balance",
    "re", "rereading", "reviewing", "revisiting", "reexamining", "reevaluating", "reassessing", "looking", "thinking",
    "let", "i", "we", "bad", "wait", "but", "however", "though", "instead", "rather", "than", "rule", "rules", "ruled",
    "ruling", "excludes", "exclude", "excluding", "eliminates", "eliminate", "eliminating", "against", "from", "drop",
    "reject", "over", "prefer", "preferred", "preferable", "superior", "favour", "favor", "yet", "while", "whilst",
    "although", "whereas", "despite", "between", "torn", "opposed", "beats", "trumps", "except", "originally",
    "previously", "nicht", "sondern", "sino", "pas", "mais", "ma", "mas", "não", "не", "tempting", "plausible",
    "instinct", "place", "before", "hand", "neither", "nor", "statt", "anstatt", "que", "em", "en",
    *(word for cue in lexicon.CORRECTING for word in _WORD.findall(cue) if len(word) > 3 or " " not in cue),
}  # fmt: skip
_SIGNS_OF_THOUGHT = ("不是", "不对", "而是", "更正", ">", "等等", "いや")


# --- What a text claims -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Claims:
    """What a text affirms and denies of the options, clause by clause."""

    affirmed: str = ""
    denied: str = ""
    conceded: str = ""
    last: str = ""  # the option with which the last clause ends
    preferred: str = ""  # what a rejected option stands behind: "B" of "B rather than C"
    mentioned: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)  # mentioned in the sentences before this one
    against: set[str] = field(
        default_factory=set
    )  # mentioned before what is affirmed, in another sentence or before "but"
    is_weighed: bool = False  # against all others, without their names
    is_turned: bool = False  # something speaks against what was said before
    is_rethought: bool = False  # the writer says so
    is_doubted: bool = False
    is_opposed: bool = False  # what is affirmed is set against what was said before

    def affirm(self, letters: str) -> None:
        """Notes that the writer decides for an option, or for several."""
        self.affirmed = letters
        self.is_opposed = self.is_turned or self.is_rethought
        self.against = set(self.mentioned if self.is_opposed else self.earlier)
        self.denied = "".join(letter for letter in self.denied if letter not in letters)

    def deny(self, letters: str) -> None:
        """Notes that some options are rejected."""
        self.denied += letters
        self.affirmed = "".join(letter for letter in self.affirmed if letter not in letters)


def revised(page: Page, decision: Decision | None) -> Decision | None:
    """Returns the decision that is left of one after what the text behind it says of it and of the other options."""
    letter = decision.letter if decision else None
    if decision and letter is None and decision.reason not in _OPEN_REASONS:
        return decision
    if decision and letter:
        start, end = decision.end, min(len(page.low), decision.end + _TAIL)
    else:
        start, end = max(0, len(page.low) - _TAIL_WITHOUT_ANSWER), len(page.low)
    if end - start < _SHORTEST_TAIL or not _may_contrast(page, letter, start, end):
        return decision
    text = _with_signs(page, start, end)
    claims = _claims(text, is_open=letter is None)
    new = claims.affirmed
    is_withdrawn = claims.is_doubted or bool(letter and letter in claims.denied)
    if letter is None:
        if claims.last and not new:
            claims.affirm(claims.last)
            new = claims.last
        is_conflict = claims.last not in ("", new)
        is_weighed = (
            (
                claims.against - {new}
                and len(claims.mentioned) < len(page.options.letters)
                and not page.heads
                and (decision is None or decision.reason is Reason.NO_ANSWER)
            )
            or claims.denied
            or claims.conceded.strip(new)
            or claims.is_rethought
            or claims.is_weighed
        )
        is_contrast = len(new) == 1 and is_weighed and not is_conflict
        return Decision(new, Reason.VERDICT, is_explicit=False) if is_contrast else decision
    if new and new != letter:
        is_new = claims.is_opposed or is_withdrawn
        several = Decision(None, Reason.SEVERAL_LETTERS)
        if is_new:
            return Decision(new, Reason.ANSWER_PHRASE) if len(new) == 1 else several
        new = ""
    lone = _LONE_END.search(text)
    is_open_again = (claims.is_rethought and claims.last not in ("", letter)) or (lone and _letters(lone) != letter)
    return Decision(None, Reason.RETRACTED) if (is_withdrawn or is_open_again) and not new else decision


_OPEN_REASONS = (Reason.NO_ANSWER, Reason.RETRACTED, Reason.SEVERAL_LETTERS)


def _claims(text: str, *, is_open: bool) -> _Claims:
    """Returns what the sentences say; where no answer is known (`is_open`), a new thought drops what was affirmed."""
    claims = _Claims()
    for sentence in _SENTENCE_END.split(text.replace("never mind", "nevermind")):
        claims.earlier = set(claims.mentioned)
        claims.last = "" if sentence.strip() else claims.last
        if _RETHOUGHT.match(sentence):
            claims.is_rethought = True
            claims.affirmed = "" if is_open else claims.affirmed
        if claims.is_rethought or _SIGNS.search(sentence) or _UNDECIDED.search(sentence):
            _read_sentence(claims, sentence, is_open=is_open)
    if is_open and _BREAKS_OFF.search(text):
        claims.affirmed = claims.last = ""
    return claims


def _read_sentence(claims: _Claims, sentence: str, *, is_open: bool) -> None:
    if not sentence.rstrip().endswith("?"):
        sentence = _without_rejected(claims, sentence)
    for clause, is_head in _clauses(sentence):
        claims.last = "" if clause.strip(" .") else claims.last
        claims.is_rethought |= bool(_RETHOUGHT.match(clause))
        is_former = _CONCEDES.search(clause) and (_OWN.search(clause) or not is_view_of_others(clause))
        if not is_former and (is_another_case(clause) or is_view_of_others(clause)):
            return
        if len(clause) > _LONGEST_CLAUSE or clause.endswith("?") or (is_head and _HEAD.fullmatch(clause)):
            continue
        if _DOUBTS.search(clause) and (claims.is_rethought or claims.is_turned or _UNDECIDED.search(clause)):
            claims.is_doubted = True
            claims.affirmed = ""
        claims.is_turned |= bool(_TURN.search(clause))
        if _SIGNS.search(clause):
            _read_clause(claims, clause, is_open=is_open)


def _read_clause(claims: _Claims, clause: str, *, is_open: bool) -> None:
    claims.mentioned |= {_letters_of(run) for run in _RUNS.findall(clause) if len(run) == 1}
    denied = "".join(_letters(match) for match in _DENIES.finditer(clause))
    claims.deny(denied)
    claims.last = _last_of(clause)
    conceded = "".join(_letters(match) for match in _CONCEDES.finditer(clause))
    if conceded:
        claims.conceded += conceded
        claims.is_turned = True
        is_unsettled = (is_open and _POSSIBLE.search(clause)) or claims.affirmed in conceded
        claims.affirmed = "" if is_unsettled else claims.affirmed
    affirms = [*_AFFIRMS.finditer(clause)]
    has_other = bool(claims.denied or claims.conceded or claims.is_turned)
    if not affirms and is_open and has_other:
        affirms = [*_DEMANDS.finditer(clause)]
    if not affirms and (claims.is_rethought or claims.conceded):
        affirms = [*_ANEW.finditer(clause)]
    if claims.last in denied + conceded:
        claims.last = ""
    if not affirms and is_open and claims.preferred:
        affirms = [*_PREFERRED.finditer(clause)]
        claims.preferred = ""
    for affirmed in affirms:
        letters = _letters(affirmed)
        is_plain = not _NEGATED.search(clause, 0, affirmed.start()) and not _IS_NOT_ALONE.search(clause)
        if is_plain and not set(letters) & set(denied + conceded):
            claims.affirm(letters)


def _last_of(clause: str) -> str:
    """Returns the one option with which a clause ends that plainly speaks of it: "one goes straight to B"."""
    last = _ENDS_WITH.fullmatch(clause)
    return "" if last is None or _IS_UNSURE.search(clause) else _letters(last)


def _without_rejected(claims: _Claims, sentence: str) -> str:
    """Returns the sentence without "rather than A", "over A" and the like, and notes what they reject."""

    def drop(match: re.Match[str]) -> str:
        claims.deny(_letters(match))
        before = _LAST_RUN.search(match.string, 0, match.start())
        claims.preferred = _letters_of(before[1]) if match["behind"] and before else ""
        return ""

    def keep_winner(match: re.Match[str]) -> str:
        winner, loser = (group for group in match.groups() if group)
        if match["left"] or match["weaker"]:
            winner, loser = loser, winner
        claims.deny(_letters_of(loser))
        return f"i choose {winner}" if match["left"] or match["preferred"] else f"{winner} is better"

    def keep_rest(match: re.Match[str]) -> str:
        claims.is_weighed = True
        return f"i choose {match['object']} because"

    sentence = _ALL_BUT.sub(keep_rest, _BEATS.sub(keep_winner, sentence))
    return _REJECTED.sub(drop, sentence)


def _letters(match: re.Match[str]) -> str:
    return _letters_of(match[match.lastgroup or 0])


def _letters_of(signs: str) -> str:
    return "".join(chr(ord(sign) - _FIRST_SIGN + ord("A")) for sign in signs)


def _clauses(sentence: str) -> Iterator[tuple[str, bool]]:
    """Yields the clauses of a sentence, and whether each is the head of what follows: "- B. Acts on the loop"."""
    start = 0
    for end in _CLAUSE_END.finditer(sentence):
        clause = sentence[start : end.start()]
        if clause.strip():
            is_part = end[0] == ", " and not _REASON.match(sentence, end.end())
            yield clause, is_part
        start = end.end()
    if sentence[start:].strip():
        yield sentence[start:], False


def _may_contrast(page: Page, letter: str | None, start: int, end: int) -> bool:
    """Returns whether the text names another option than the letter, or doubts; it is quick, for most texts do not."""
    if letter is None:
        return _names_another(page, None, start, end)
    words = set(_WORD.findall(page.low, start, end))
    is_denial = not words.isdisjoint(_WORDS_OF_DENIAL)
    if not is_denial and words.isdisjoint(_WORDS_OF_THOUGHT):
        if not any(page.low.find(sign, start, end) >= 0 for sign in _SIGNS_OF_THOUGHT):
            return False
    return is_denial or _names_another(page, letter, start, end)


# --- Signs in place of options ----------------------------------------------------------------------------------------


def _names_another(page: Page, letter: str | None, start: int, end: int) -> bool:
    for text, letters in page.options.letters_of.items():
        if letters != letter and (len(text) > 2 or text in SMALL_TEXTS) and page.low.find(text, start, end) >= 0:
            return True
    by_letter = _mentions(page.options)[0].finditer(page.raw, start, end)
    return any(mention[0] != letter for mention in by_letter)


def _with_signs(page: Page, start: int, end: int) -> str:
    """Returns the text in lower case with a sign in place of each option that is named by letter, text or both."""
    by_either = _mentions(page.options)[1]
    letters_of = page.options.letters_of
    signs = by_either.sub(lambda match: _sign(match[0], letters_of), page.raw[start:end])
    low = _SAME_TWICE.sub(r"\1", signs).lower()
    return _GROUP.sub(lambda match: _run(match, page.options), low)


_SAME_TWICE = re.compile(rf"({_SIGN})(?:\s?[(\[,:.)]\s?|\)[.:]?\s|\s)(?:option |choice )?\1[)\]]?")
_NEXT = r"(?:the |an? |option |options |choice )*"
_GROUP = re.compile(
    rf"(?P<kind>both |either |neither )?{_NEXT}{_SIGN}\)?(?:,\s?{_NEXT}{_SIGN}\)?)*,?"
    rf"(?:\s(?P<joiner>and|or|nor|as well as|plus|along with|together with|&|\+)\s|\s?(?P<slash>[/+&])\s?)"
    rf"(?:(?:also|either|neither) )?{_NEXT}\(?{_SIGN}(?!\.?\)? (?:is|was|isn't|has|does|would|can|cannot|will|should"
    rf"|makes|fits"
    rf"|acts)(?![a-z]))"
)


def _sign(named: str, letters_of: dict[str, str]) -> str:
    letter = letters_of.get(named.lower(), named if len(named) == 1 else "")
    return chr(_FIRST_SIGN + ord(letter) - ord("A")) if len(letter) == 1 else named


def _run(match: re.Match[str], options: OptionTable) -> str:
    """Returns the sign of the option that combines those named together, or else their signs in a row."""
    signs = "".join(_SIGNS.findall(match[0]))
    is_neither = (match["kind"] or "").startswith("neither") or match["joiner"] == "nor"
    is_choice = match["joiner"] == "or"
    kind = "neither" if is_neither else "or" if is_choice else "and"
    letter = combined(options, _letters_of(signs), kind)
    if letter:
        return chr(_FIRST_SIGN + ord(letter) - ord("A"))
    return ("not " if is_neither else "") + signs


_ARTICLE_END = (  # of "A patient", but not of "A is"
    r"(?!(?<=A) (?!(?:is|was|it|fits|makes|because|since|but|and|or|to|would|must|can|cannot|isn't|then|that|were"
    r"|seems|does|has|over|rather|instead|as|beats|plus|with|nor|after|for|in|of|on|at|by|from|when|if|so|yet|though"
    r"|although|while|whereas|about|against|be|being|earlier|first|initially|above|again|here|alone|are|looks|remains"
    r"|explains|causes|acts|covers|stands|wins|comes|without|doesn't|won't|had|should|could|might|may|cause"
    r"|cuz)\b)[a-z])"
)


# In front of a short text, such as "no", that ends the text or a line: "..., so no."
_SMALL_LEADS = (",", ":", ";", "[.]", "[>]", "so", "is", "be", "it", "to", "that", "'s")
_SMALL_LEAD = "(?:" + "|".join(f"(?<={lead} )" for lead in _SMALL_LEADS) + ")"


@lru_cache(maxsize=4096)
def _mentions(options: OptionTable) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns the pattern of a letter of the question, and the one of a letter or a text."""
    letters = "".join(letter for letter in options.letters if "A" <= letter <= "Z")
    texts = "|".join(re.escape(text) for text in options.texts if len(text) > 2 and text not in SMALL_TEXTS)
    by_letter = (  # the letter comes first, so that a search skips all else quickly
        rf"[{letters}](?<![A-Za-z0-9'/-].)(?![A-Za-z0-9/-]|'(?!s)){_ARTICLE_END}(?!(?<=I)[ ']|\. [a-z]{{3}})"
        if letters
        else "(?!)"
    )
    by_text = rf"|(?<![A-Za-z0-9])(?i:{texts})(?![A-Za-z0-9])" if texts else ""
    small = "|".join(text for text in options.texts if text in SMALL_TEXTS)
    by_small = rf"|{_SMALL_LEAD}(?i:{small})(?=[.!]?\s*(?:\Z|\n))" if small else ""
    return re.compile(by_letter), re.compile(by_letter + by_text + by_small)
