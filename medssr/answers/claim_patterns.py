"""The words of a claim, as patterns over a text in which signs stand for options (`signs`)."""

# ruff: noqa: RUF001  words of other scripts

import re
from functools import lru_cache

from medssr.answers import lexicon
from medssr.answers.lexicon import any_of, longest_of
from medssr.answers.signs import RUN, SIGN

_MARK = "[^a-z0-9\ue000-\ue019]"
HEAD = re.compile(rf"{_MARK}*(?:(?:option|choice) )?{SIGN}{_MARK}*")  # "- option B"

_THOUGHT = (
    r"(?:wait|hm+|no(?=[,.;:!]|\s-|\s*\Z|\swait)|oh|ah|(?:up)?on (?:second|further|closer|more|careful|reflection"
    r"|review|balance|reconsideration)|but wait"
    r"|re-?\w+ing|looking (?:again|back|closer)|then again|let me (?:re\w+|correct|fix|change|think|double-check"
    r"|look again)"
    r"|i (?:take|was|should|missed|overlooked|made|need to|have to|must|now|had|said|previously|would have|stand"
    r"|first|mixed"
    rf"|confused)|i'm changing|i'd have|(?:my )?(?:final )?answer (?:changes|changed|shifts|moves|switches) to"
    rf"|final(?=:)|should be(?= {RUN}{_MARK}*\Z)|{longest_of(lexicon.CORRECTING)})"
)
_CORRECTION = rf"(?<![a-z]){longest_of(lexicon.CORRECTING)}"
_CONTRAST = r"(?:but|however|though|instead|rather|yet|sondern|sino|mais|ma|mas)"
TURN = re.compile(rf"(?:\A|[.!?,;:(\n-]\s?|\s)(?:{_THOUGHT}|{_CONTRAST})(?![a-z])|而是")
_BEFORE_CORRECTION = (
    r"(?:(?:i|i'll|i've|i'd|i'm|we|am|have|had|has|to|need|let|me|let's|want|like|my|that|this|it|was|is|got|a|an"
    r"|the|final|having"
    r"|upon|after|on|so|but|and|or|oh|ah|well|ok|no|yes|what|self|answer|should|would|must|now|previous|above"
    r"|please)[ ,:-]{1,2}){0,4}"
)
RETHOUGHT = re.compile(
    rf"\W*+(?:{_BEFORE_CORRECTION}{_CORRECTION}|(?:(?:and|but|so|well|ok|okay),? )?{_THOUGHT})(?![a-z])"
)
_TAKEN_BACK = (
    r"(?:retract|withdraw|(?:take|taking|took) (?:that|it|this|my answer) back|(?:scratch|strike|scrap|cancel"
    r"|disregard"
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
AFFIRMS = re.compile(
    rf"\A{_MARK}*{_LEAD}{_FREE}{_MARK}*(?P<alone>{RUN})(?: (?:then|instead|it is|after all|now|rather"
    rf"|for sure))?(?:(?!:){_MARK})*\Z"
    rf"|(?P<subject>{RUN})(?:{_BE}|,)\s{_FREE}(?:(?!partly|hardly|nearly|possibly)\w+ly )?{_RIGHT}{_END}"
    rf"|(?<![a-z])only (?P<only>{RUN}) [a-z]+(?! cells)"
    rf"|(?P<verb>{RUN}) (?:it is|(?:is|does|will|would)(?=[.!]{_MARK}*\Z)|{_FITS})"
    rf"|\A{_MARK}*(?:so |then |thus )?(?:use|give|choose|pick|take|start|order|prescribe|administer|select|prefer"
    rf"|go (?:with|for))"
    rf"\s{_FREE}(?P<imperative>{RUN}){_END}"
    r"|(?:(?<=[→⇒])|(?<=->)|(?<==>)|(?<![a-z])(?:is|be|it's|that's|rules? in|ruled in|sondern|sino|ma|mas|mais"
    r"|calls for|call for|points? to|pointing to|leaving|leaves|means|makes|going with"
    rf"|(?:chang|switch|revis|correct|updat|amend|chose|chang)\w*[^\n]*? to|favou?rs?|supports?|suggests?|indicates?"
    r"|confirms?|becomes|makes it"
    r"|(?:brings?|leads?|takes?|points?|pushes|tips?|moves?|sways?|nudges?) (?:me|us|it|this|things) (?:to|towards?)"
    rf"|needs?|(?:argues?|speaks?|more|stronger|evidence)(?: in favou?r of| for)|(?:more|most|likelier) \w+"
    rf"|(?:(?<=\A)|(?<![a-z])(?:i|we|i'd|we'd|i'll|we'll|let's|us|to|so|hence|and) )"
    rf"(?:\w+ ){{0,2}}?{_DECIDE}|(?:i'm|i am|we're)(?: \w+)? (?:\w+ing)(?: (?:with|on|for|to))?))"
    rf"\s{_FREE}(?:[^,.:;\ue000-\ue019]{{1,50}}\()?{_MARK}?(?P<object>{RUN}){_END}"
)
TURNED_BEHIND = re.compile(  # "B, actually."
    rf"\A{_MARK}*{_LEAD}{_FREE}{_MARK}*(?P<object>{SIGN}){_MARK}* (?:actually|in fact|rather|instead|sorry"
    rf"|i meant?|correction){_MARK}*\Z"
)
ANEW = re.compile(  # in a new thought: "After thinking: D", "I intended to write D"
    rf"\A(?!.*(?<![a-z])(?:{_LURE})(?![a-z]))[^\ue000-\ue019]{{0,60}}?(?:[:;,.!-]|->|→|=>|⇒|(?<![a-z])"
    rf"(?:{any_of(lexicon.CORRECTION_FILLERS)}|{_CORRECTION}))\s?{_MARK}*(?P<object>{RUN})(?: instead| now)?{_MARK}*\Z"
)
PREFERRED = re.compile(rf"\A[^\ue000-\ue019]{{0,80}}(?P<object>{SIGN})[^\ue000-\ue019]{{0,60}}\Z")
LAST_RUN = re.compile(rf"({RUN})[^\ue000-\ue019]*\Z")
ENDS_WITH = re.compile(rf"[^\ue000-\ue019]{{1,80}}(?P<object>{SIGN}){_MARK}*")
IS_UNSURE = re.compile(
    r"(?<![a-z])(?:may|might|could|would|possibl[ey]|perhaps|maybe|or|and|if|unless|whether|consider\w*|about|like"
    r"|similar|than|versus"
    r"|vs|not|no|never|nor|neither|differ\w*|distractor|trap|tempt\w+|wrong|exclud\w+|rul\w+ out|avoid\w*|against"
    r"|without"
    r"|except|look\w*|evaluat\w+|discuss\w*|options?|between|from|first|before|was|were|had|thought|said|also"
    r"|another|other|2nd|third|3rd|runner-up|backup|alternative|rank"
    r"|so (?:is|are|does)|causes?|caused|acts?|inhibits?|by|of|in|as)(?![a-z])|n't"
)
LONE_END = re.compile(rf"[.!?…]\s+(?P<object>{SIGN})[.!\s]*\Z")
DEMANDS = re.compile(rf"(?<![a-z])(?!lacks|resists)[a-z]{{3,}}s (?P<object>{RUN}){_MARK}*\Z")
_DENIED = (
    r"(?:out|wrong|incorrect|absent|insufficient|inadequate|too \w+|useless|inappropriate|excluded|eliminated"
    r"|ruled out|off the table|mistaken|impossible|a mistake|an error"
    r"|contraindicated|no longer\b.*|not\b.*)"
)
DENIES = re.compile(
    rf"(?<![a-z])(?:not(?: (?:give|choose|use|pick|start|order|prescribe|select|consider|recommend))?|no (?:need"
    rf"|role|reason|indication)"
    rf" (?:for|of|to \w+)|rather than|instead of|than|rules? out|ruled out|ruling out|excludes?|excluding|eliminates?"
    rf"|against|from|drop|reject|retract|withdraw|discard|abandon|never|isn't|wasn't|can't be"
    rf"|cannot be)\s{_FREE}(?:[^,.:;\ue000-\ue019]{{1,50}}\()?{_MARK}?(?P<object>{RUN})"
    rf"|(?P<subject>{RUN})(?:{_BE}\s(?:\w+ly\s|therefore\s|then\s|also\s|all\s|both\s)*{_DENIED}(?!,? (?:for|in) )"
    r"|\s(?:isn't|wasn't|aren't|can't be|cannot be|can be (?:\w+ )?(?:excluded|ruled out|eliminated|discarded)|won't"
    r"|(?:doesn't|don't|does not|do not)(?: (?:fit|make|work|explain|match)|[^a-z]*\Z)))"
)
CONCEDES = re.compile(  # a former thought, or one that is only tempting
    rf"(?<![a-z])(?:i|i'd|we|we'd)(?: (?!should|meant|intended)\w+){{0,3}}? (?:previously|earlier|initially"
    rf"|originally|first|said|thought|considered"
    rf"|going to|almost|nearly|leaned|was (?:about|leaning|thinking|inclined)|picked|had|wrote"
    rf"|put)(?![a-z])[^\ue000-\ue019]*?(?P<former>{RUN})"
    rf"|(?<![a-z])(?:initially|at first|originally|previously|before|first (?:pass|guess|thought|look|impression"
    rf"|answer"
    rf"|instinct)|initial \w+|instead of|draft|old|tempt\w+)(?![a-z])[^\ue000-\ue019]{{0,40}}(?P<first>{RUN})"
    rf"|\A{_MARK}*(?:(?:and|but|so),? )?(?:although|though|even though|even if|while|whilst|whereas|despite|between"
    rf"|torn)"
    rf"(?![a-z])[^\ue000-\ue019]*(?P<although>{RUN})"
    rf"|(?<![a-z])(?:between|among|of|out of)\s{_FREE}(?P<group>{SIGN}{RUN})"
    rf"|(?P<tempting>{RUN})[^\ue000-\ue019]{{0,20}}?(?:{_BE}|\swould have been|\shad been)\s(?:\w+ly\s)?(?:an? |my "
    rf"|the )?(?:\w+ly\s)?(?:tempting|plausible"
    r"|attractive|close|first|initial|original|instinct|gut|reasonable|possible|runner-up|pick|second|distractor)"
    r"(?![a-z])"
)
_CANNOT_DECIDE = (
    r"(?:can(?:'t|not) (?:decide|tell|say)|hard to (?:say|tell|decide)|(?:a )?toss-?up|(?:just|equally) as (?:well"
    r"|likely)"
    r"|(?:(?:do not|don't) know|no idea)(?=\W*\Z)|could go either way|(?:neither|none)(?: of (?:them|these|those"
    r"|the two))? (?:is|are|fits?|works?|was|seems?)"
    r"|could (?:just as (?:well|easily) )?be either|undecided)"
)
UNDECIDED = re.compile(rf"(?<![a-z]){_CANNOT_DECIDE}(?![a-z])")
OWN = re.compile(r"(?<![a-z])(?:i|i'm|i'd|my|me)(?![a-z])")
POSSIBLE = re.compile(r"(?<![a-z])(?:possible|reasonable|plausible)(?![a-z])")
DOUBTS = re.compile(
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
NEGATED = re.compile(
    r"(?:(?<![a-z])(?:no|not|never|nor|neither|hardly|without)|n't)(?= )(?! (?:wait|mind|no|doubt|right"
    r"|correct)(?![a-z]))[^\ue000-\ue019]*\Z"
)
RANKING = re.compile(rf"(?:\s*\d[.)]\s*{SIGN}[^\S\n]*(?:\n|\Z)){{2,}}")  # "1. C", and below it "2. A"
RULED_OUT = re.compile(  # "Ruling out: A, C, D."
    rf"{_MARK}*(?:ruling out|ruled out|rules out|excluded|excluding|eliminated|eliminating|rejected|discarded|wrong"
    rf"|incorrect|unlikely|less likely|not):{_MARK}*{SIGN}"
)
RANKED = re.compile(  # "First choice: C. Second choice: B"
    rf"(?<![a-z])(?:first|1st|primary|top|best|most likely)(?: (?:choice|pick|answer|option|guess))?{_MARK}*:{_MARK}*"
    rf"(?P<object>{SIGN})(?:(?!{SIGN}).){{0,80}}?(?<![a-z])(?:second|2nd|next|alternative|backup|runner-up)(?![a-z])"
    rf"[^\n\ue000-\ue019]{{0,30}}:{_MARK}*{SIGN}",
    re.DOTALL,
)
REASON = re.compile(r"(?:not|because|since|as|given|then|so|instead|after all)(?![a-z])")
IS_NOT_ALONE = re.compile(
    r"(?<![a-z])(?:also|too|as well|an?other|acceptable|alternatively?|second(?! thought)|or(?! rather| actually"
    r"|,? better)|either|maybe|perhaps|both|so (?:is|are|does)|equally)(?![a-z])"
)
ALL_BUT = re.compile(
    rf"(?<![a-z])(?:all|everything|every\w*|each|any\w*|none|nothing|no)(?![a-z])[^\ue000-\ue019,]{{0,30}}(?<![a-z])"
    rf"(?:except|but|other than|apart from)(?: for)?\s{_FREE}(?P<object>{RUN})"
    r"(?= (?:(?:is|are|was|has been|have been|can be|seems?|looks?)(?: \w+ly)? (?:wrong|incorrect|out|excluded"
    r"|eliminated|ruled out|discarded)|fits?|works?|makes? sense|is (?:left|correct|right))(?![a-z]))"
)
REJECTED = re.compile(  # the phrase, and where it stands behind another option, or in front of one
    rf"(?:(?<=[\ue000-\ue019])|(?<=[\ue000-\ue019][)\]\"' ,])|(?<=[\ue000-\ue019]['\")],))[\s,(;-]*(?:(?:and|but|und"
    rf"|y|et|e|и) )?(?:\w+ly )?"
    rf"(?:rather than|instead of|as opposed to|in preference to|in place of|over|above|not|and never|(?:versus"
    rf"|vs\.?)(?! [\ue000-\ue019]+[:,])"
    r"|nicht|pas|no|non|não|не|而不是|不是|而非|plutôt que|piuttosto che|antes que|en lugar de|en vez de|em vez de"
    r"|anstatt|statt|anziché|al posto di|au lieu de|(?:and )?away from|a nie)"
    rf"(?: (?:on|for|to|with|of|in favou?r of|from|by))?\s?{_FREE}(?:la |die |le |el |il |a )?(?P<behind>{RUN})\)?,?"
    rf"|(?<![a-z])(?:rather than|instead of|as opposed to|in place of)\s{_FREE}(?P<front>{RUN})[),]*"
    rf"(?=\s[^.\n]*{SIGN})"
    rf"|(?:,|and|but) (?:against|less for)\s{_FREE}(?P<against>{RUN})"
    rf"|(?<=[a-z\ue000-\ue019]) (?:than(?: (?:of|from|on|for|with|by|to))?|over)\s{_FREE}(?P<than>{RUN})"
    rf"|(?<![a-z])(?:nicht|不是|pas|ce n'est pas|no es|non è|não é|не|no|non|não)\s?{_FREE}(?:die |la |le |il |a |el )?"
    rf"(?P<foreign>{RUN})(?=,?\s?(?:sondern|而是|mais|sino|ma|mas|а|por)(?![a-z]))"
)
BEATS = re.compile(
    rf"(?P<weaker>{RUN})(?:{_BE}| fits?)(?: (?:clearly|much|far|even))? (?:less \w+ than|not as \w+ as|inferior to"
    rf"|worse than|weaker than) {_FREE}"
    rf"(?P<stronger>{RUN})|(?P<winner>{RUN}) (?:beats|trumps|outweighs|outperforms|surpasses|edges out|wins over"
    rf"|wins against|is above"
    rf"|(?:is|should be|must be|would be|was) (?:preferred (?:to|over)|preferable to|superior to|favou?red over"
    rf"|chosen over)|comes before"
    rf"|takes (?:precedence|priority) over|should (?:come|be done) before) {_FREE}(?P<loser>{RUN})"
    rf"|(?:prefer|favou?r)\w* {_FREE}(?P<preferred>{RUN}) (?:to|over|above) {_FREE}(?P<other>{RUN})"
    rf"|(?<!may )(?<!might )(?<!can )(?<!could )(?<!would )(?:chang|switch|revis|correct|updat|mov"
    rf"|go)\w*(?: \w+){{0,3}}? from {_FREE}(?P<left>{RUN}) to {_FREE}(?P<taken>{RUN})"
)
SENTENCE_END = re.compile(
    r"(?<![\n.][\ue000-\ue019])(?<=[.!?;])[^\S\n]+|(?<=[!?;])\s+|\n+|\s-+\s|\.{2,}|…|(?<=[\ue000-\ue019]\))\.\s"
)
CLAUSE_END = re.compile(
    r"(?<=:)\s(?![^a-z0-9\ue000-\ue019]*[\ue000-\ue019]+[^a-z0-9\ue000-\ue019]*\Z)|[,;]?\s(?=(?:but|however|so|hence"
    r"|thus|therefore|whereas|while|yet|leaving|which leaves|which brings)"
    r"(?![a-z]))|,\s"
)
BREAKS_OFF = re.compile(
    r"(?<![a-z])(?:but|however|although|though|while|whereas|or|unless|yet|and|because|if)[,:]?\s*\Z"
)
WORD = re.compile(r"[^\W\d_]+")
# Words of which a text has one if it denies or doubts an answer ("t" is of "isn't"), or turns to another option.
WORDS_OF_DENIAL = {
    "not", "t", "cannot", "wrong", "incorrect", "mistaken", "mistake", "unlikely", "error", "out", "doubt", "sure",
    "decide", "never", "impossible", "contraindicated", "excluded", "eliminated", "longer", "first", "initial",
    "initially", "original", "off", "pick", "retract", "withdraw", "back", "scratch", "strike", "scrap", "cancel",
    "disregard", "ignore", "forget", "undo", "hasty", "hard", "tell", "toss", "say", "equally", "either", "undecided",
}  # fmt: skip
WORDS_OF_THOUGHT = {
    "hm", "hmmm", "no", "oh", "ah", "second", "further", "closer", "careful", "reflection", "review", "balance",
    "re", "rereading", "reviewing", "revisiting", "reexamining", "reevaluating", "reassessing", "looking", "thinking",
    "let", "i", "we", "bad", "wait", "but", "however", "though", "instead", "rather", "than", "rule", "rules", "ruled",
    "ruling", "excludes", "exclude", "excluding", "eliminates", "eliminate", "eliminating", "against", "from", "drop",
    "reject", "over", "prefer", "preferred", "preferable", "superior", "favour", "favor", "yet", "while", "whilst",
    "although", "whereas", "despite", "between", "torn", "opposed", "beats", "trumps", "except", "originally",
    "previously", "final", "nicht", "sondern", "sino", "pas", "mais", "ma", "mas", "não", "не", "tempting", "plausible",
    "instinct", "place", "before", "hand", "neither", "nor", "statt", "anstatt", "que", "em", "en",
    *(word for cue in lexicon.CORRECTING for word in WORD.findall(cue) if len(word) > 3 or " " not in cue),
}  # fmt: skip
SIGNS_OF_THOUGHT = ("不是", "不对", "而是", "更正", ">", "等等", "いや")


@lru_cache(maxsize=2)  # the end of an open text is read twice
def sentences_of(text: str) -> list[str]:
    """Returns the sentences of a text with signs."""
    return SENTENCE_END.split(text.replace("never mind", "nevermind"))
