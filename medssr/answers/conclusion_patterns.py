"""The words of a concluding statement, as patterns over a text in which signs stand for options (`signs`)."""

# ruff: noqa: RUF001  words of other scripts

import re

from medssr.answers import lexicon
from medssr.answers.signs import RUN, SIGN

FINISHED = re.compile(rf"(?:[.!)\]\"'。”*:]|{SIGN})\s*\Z")
WORDS = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_NOT_SIGN = r"[^\ue000-\ue019]"

_CONCESSION = (
    r"(?:although|though|even though|even if|while|whilst|whereas|despite|in spite of|compared (?:with|to)"
    r"|in contrast to|in comparison (?:with|to)|contrary to|besides|apart from|aside from|as opposed to|regardless of"
    r"|in addition to|obwohl|während|anders als|bien que|aunque|a diferencia de|benché|embora|tandis que)"
)
CONCEDED = re.compile(
    rf"\A\W*(?:of|between|among) {RUN}[^,]*,\s(?={RUN}\W*\Z)| before anything else"
    "|"
    r"\A\W*(?:if (?:i (?:had|have|must|were)|forced|pressed|asked)[^,\ue000-\ue019]*|unless i'm (?:mistaken"
    r"|wrong)|if i'm not mistaken|unless (?:proven|shown) otherwise|(?:considering"
    r"|given|based on"
    r"|judging by|barring|as far as) [^,\ue000-\ue019]*),\s"
    rf"|,?\s(?:and )?(?:less|least) likely,? {RUN}|\A\W*less likely,? {RUN}[,;]|不是{RUN}(?:选项)?[,，]\s?(?=而?是)"
    rf"|\sbefore (?:the )?(?:{_NOT_SIGN}{{1,30}}\()?{RUN}\)?"
    "|"
    rf"\A\W*(?:(?:and|but|so) )?{_CONCESSION}(?![a-z])[^,]*,\s|,?\s(?<![a-z])\(?{_CONCESSION}(?![a-z])[^,]*(?:,|\Z)"
    r"|(?<=likely)(?: answer| option| choice)?,?\s(?:closely )?(?:followed by|ahead of)(?![a-z]).*"
    rf"|{RUN}(?:选项|项)?(?:不对|不正确|错误|有误|ではなく|ではない|가 아니라|이 아니라|不符合)[,，]?\s?"
    r"|,\swith [^,]*\bsecond(?![a-z]).*|\A[^,]*(?<![a-z])between [^,]*,\s(?=with )|,? more than [^,]*(?:,|\Z)"
)
# "B has the edge over the others", "nothing fits as well as B", "not so much A as B": the option that comes out ahead
AHEAD = re.compile(
    rf"(?<![a-z])(?:prefer|favou?r|choose|pick|take|use)\w* (?:option )?(?P<taken>{RUN}) (?:over|rather than"
    rf"|instead of|before)"
    rf" (?:option )?{RUN}[^.]*|"
    rf"(?P<winner>{RUN})\)?,?(?: (?:is|are|was|looks|seems|remains|fits|should be|would be|works|clearly|far|much"
    rf"|a|the)){{0,3}}"
    r" (?:has the edge over|ahead of|beats|trumps|tops|outranks|wins (?:over|against)|comes before|(?:more|better"
    r"|stronger|likelier"
    r"|preferred|preferable|superior|closer|safer|explains|makes)(?: \w+){0,4} (?:than|over|to))(?: (?:is|the|any"
    r"|all|every|option|of))*"
    rf" (?:{RUN}|others?|rest|alternatives|options|remaining|four|three)[^.]*"
    rf"|(?<![a-z])(?:no|nothing|none)(?![a-z]){_NOT_SIGN}{{0,40}}(?:better|likelier|stronger|more \w+|as (?:well"
    rf"|good|likely|strong|\w+ly))"
    rf" (?:than|as) (?P<best>{RUN})|(?:not so much|less) {RUN},? (?:as|more|than) (?P<rather>{RUN})"
)
TURN = re.compile(
    r"(?<!\bnone)(?<!\ball)(?<!thing)(?<!\bany)(?:[,;.]?\s|;|:\s)(?:but|yet|however|nevertheless|nonetheless"
    r"|still|sondern|aber|mais|pero|ma|mas)[,:]?\s"
    rf"|[,;:]\s(?={RUN}\s(?:is|fits|remains|has|makes|does|explains|matches|comes|ist|est|es)(?![a-z]))"
)
BLOCKED = lexicon.WARNINGS | frozenset(
    """
    not cannot never no without unlike except excludes excluding excluded exclude incorrect wrong less least unlikely
    avoid neither nor against if unless may might could whether maybe perhaps possibly possible alternatively another
    other others initially contraindicated rule rules ruled consider considering considered distractor examine evaluate
    discuss analyze analyse mention mentions mentioned asks asked asking disagree doubt partially partly worst second
    runner previous previously earlier said claims answered lists question stem vaccinated symptoms depend
    depends look traceback before need example format form anything falsch fausse faux incorrecta incorrecto
    errata errado sbagliata nicht kein
    keine pas ne non não nao nie niet inte wrongly incorrectly rest
    include includes including compare related also too either both incorrectly thought
    """.split()  # noqa: SIM905
)
CLASSIFIED = re.compile(  # "The blood type is B", "the level of evidence is A"
    r"(?<![a-z])(?:type|group|class|grade|stage|level|category|recommendation|rating|zone|confidence|difficulty|score"
    r"|priority|section|figure|table)(?: of [a-z ]{1,30})?(?: (?:is|was|be)|:)(?![a-z])(?! (?:option|choice))"
    r"|(?<!data )(?<!gut )(?<!evidence )(?<!that )says"
)
LONE = re.compile(rf"[\W_]*(?:(?:option|choice) )?{SIGN}[\W_]*")
ASKED_FOR = (
    re.compile(  # "The false statement is C", "all of these are sulfonamides except C": what a question may ask for
        rf"{SIGN}\)? is the only \w+ (?:that|which) (?:is|does|has|can|was)(?: not|n't)"
        rf"|{SIGN}\)? [^.,\ue000-\ue019]{{1,60}}, "
        r"(?:and )?(?:so|hence|thus|therefore|making|which makes) (?:it|this|that) (?:is )?the (?:correct "
        r"|right )?(?:answer|choice)|"
        rf"(?:not|except|least|false|incorrect)(?![a-z])[^.?]*\? {SIGN}\W*\Z|"
        r"(?<![a-z])(?:the|only|an?|this) (?:(?:incorrect|false|wrong|untrue|inaccurate|contraindicated|inappropriate"
        r"|incorrectly \w+)"
        r" (?!answer|option|choice)\w+|(?!answer|option|choice)\w+ to avoid"
        r"|exception|odd one out|outlier|least \w+ (?!answer|option|choice|is)\w+"
        r"|(?:only )?(?:\w+ )?(?:one|option|drug|agent|statement|finding|feature|cause|choice|item) (?:that"
        r"|which) (?:is|does|do|are|would"
        rf"|has|can|should)(?: not|n't| least)[^,;.\ue000-\ue019]{{1,70}})(?: here| in this list| of the four)?(?: is"
        rf"| would be|:)\s(?:option )?"
        rf"\(?(?P<object>{SIGN})|\A\W*(?!.*\babove\b)(?:all|each|every\w*|any)(?: of)?(?: the| these"
        rf"| them)?(?: (?!above)\w+)*? (?:are|is|can|have|has|\w+ \w+)"
        rf"(?: \w+)+,? (?:except|but|save|apart from|other than)(?: for)?:? {SIGN}\W*\Z"
        r"|(?:rules? out|ruled out|eliminates?|excludes?|excluding|eliminating|ruling out) (?:all|everything"
        r"|every \w+|any\w*)(?: \w+){0,3}"
        rf" (?:except|but|other than|apart from)(?: for)? {SIGN}|{SIGN}\)? is (?:clearly )?(?:therefore )?the (?:false"
        rf"|incorrect|wrong|untrue)"
        rf" (?:statement|one)|{SIGN} is the (?:odd one out|exception)"
    )
)
_MOST = (
    r"(?:most(?: \w+ly)? \w+|more (?:\w+ly )?(?:likely|appropriate|suitable|consistent|probable|plausible"
    r"|convincing|compelling"
    r"|reasonable|fitting|accurate|typical)|best|better|right|correct|preferred|preferable|strong(?:er|est)"
    r"|likel(?:y|ier|iest)"
    r"|superior|favou?red|safest|safer|(?:the )?(?:one|only one)(?! of)|answer|expected|ideal|final|what (?:we|i"
    r"|you|the|is|fits)"
    r"|closest|(?:\w+ )?(?:pick|choice|vote|guess|bet|selection|preference|winner|match|fit|explanation|culprit)"
    r"|last one)"
)
_AFFECTED = (
    r"(?:injured|affected|involved|damaged|mutated|deficient|lacking|missing|responsible|to blame|indicated"
    r"|needed|required"
    r"|warranted|impaired|defective|implicated|compressed|occluded|(?:the )?culprit|slightly ahead|ahead|in front)"
)
_BE = (
    r"(?:\s(?:is|was|are|seems?|looks?|appears?|remains|becomes|stays|stands|must|should|has|would|will|to be"
    r"|be)(?: (?:be|to be|like|out as))?|'s)"
)
_CLAUSE_END = (
    r"(?=[^a-z0-9\ue000-\ue019]*\Z|,? \(?(?:because|since|as|given|for|in|on|at|here|now|that|due|based|which|who"
    r"|after"
    r"|with|and (?:not|so|therefore)|so|then|rather|instead|right|today|first|overall|by|according|the|a"
    r"|an)(?![a-z])|, |\s?\()"
)
_LEAD = (
    r"(?:(?:the|a|an|option|choice|answer|letter|with|case of|diagnosis of|deficiency of|lack of|therapy with|use of"
    r"|clearly|probably|likely|most likely|indeed|therefore|thus|still|just|acute|la|le|el|il|der|die|das|den|dem|una?"
    r"|l'|l’|o|os|eine?n?|une?)\s|l')*"
)
_LINKS = (
    r"(?:is|are|be|was|means?|suggests?|indicates?|shows?|reveals?|confirms?|supports?|(?<!due )to|towards?|on|of"
    r"|by|with|from"
    r"|needs?|requires?|receives?|gets?|get|has|have|had|give|start|use|order|perform|administer|prescribe|begin"
    r"|obtain|try"
    r"|choos(?:e|ing)|pick(?:ing)?|select(?:ing)?|answer(?:ing)?|say(?:ing)?|finali[sz]e|favou?rs?|prefers?"
    r"|lists?|matches"
    r"|fits|targets?|becomes?|remains|leaves|leaving|makes|that|option|choice|because of|(?:this|it|which|that"
    r"|presentation|picture|everything) (?:is|was) (?:\w+ly )?due to|called|namely|likely"
    r"|probably|than?king|seems|equals|gives|yields|lacks?|follows"
    r"|ist|sind|est|son|es|è|é|sono|são|wäre|serait|sería|sarebbe|seria|von|durch|mit|à|a|por|da|di|de|bei|auf|für)"
)
LEADS_TO = re.compile(
    rf"(?:(?<![a-z]){_LINKS}\s{_LEAD}(?:{_NOT_SIGN}{{1,60}}\()?[\"'(\[]{{0,2}}|[:=>→⇒]\s{_LEAD}[\"'(\[]{{0,2}}"
    rf"|[是为為はが]\s?)"
    rf"(?P<object>{RUN}){_CLAUSE_END}"
    rf"|(?<![a-z])(?:mutations?|variants?|defects?|deletions?|lesions?|stroke|infarct\w*|damage|injury|occlusion"
    rf"|bleeding|hemorrhage)"
    rf" (?:in|of|to|within|affecting)\s{_LEAD}(?P<site>{RUN}){_CLAUSE_END}"
    rf"|(?<![a-z])(?:ist|est|es|è|é|is)\s{_LEAD}\(?(?P<middle>{RUN})\)? (?:die|das|der|la|le|el|il|a|o|the|qui"
    rf"|que)\s(?:\w+\s)?(?:richtig\w*|korrekt\w*|bonne|correct\w*|corret\w*|corrett\w*|giust\w*|beste?|est|right)"
)
STATES = re.compile(
    rf"(?P<subject>{RUN}),?{_BE}\s(?:\w+ly\s|thus\s|therefore\s|hence\s|indeed\s|then\s|the\s|an?\s|my\s|our\s"
    rf"|still\s|now\s|slightly\s|much\s|far\s|also\s)*(?:{_MOST}|{_AFFECTED})(?![a-z])"
    rf"|(?P<german>(?<=ist ){RUN}|(?<=ist antwort ){RUN}) (?:richtig|korrekt)(?![a-z])"
    rf"|(?P<wins>{RUN}) (?:(?:is|are) true(?=\W*\Z)|gets my vote|has the edge|survives|comes first|takes it|it is"
    rf"|stimmt|passt|trifft zu"
    rf"|conviene)(?![a-z])"
    rf"|(?P<most>{RUN})\)? (?:es|est|è|é|ist) (?:la |le |el |il |die |das |a |o )?(?:más|plus|più|mais|am"
    rf"|adequad\w|adecuad\w)(?![a-z])"
    rf"|(?<![a-z])(?:only|just|none but|nothing but|with)\s{_LEAD}(?P<only>{RUN})\s(?:[a-z]+|(?:slightly "
    rf"|just )?(?:ahead|in front))"
    rf"|(?<![a-z])(?:makes|making|renders|leaves)\s{_LEAD}(?P<made>{RUN})\s(?:the|as|more|most|my|our|to)"
    rf"|\A\W*(?:(?:so|then|thus|likely|probably|most likely|presumably|tentatively|almost certainly"
    rf"|surely)[,:]?\s)?{_LEAD}"
    rf"(?P<alone>{RUN})(?:,? (?:then|it is|here|after all|instead|by (?:exclusion|elimination)))?\W*\Z"
)
PLACED_LAST = re.compile(rf"[^\W\d_][\W_]{{1,4}}(?:option |choice )?[\"'(\[]?{RUN}[^\w\ue000-\ue019]*\Z")
ADDED = re.compile(rf"[^\W_]\)? ?(?:\+|&|plus) ?{SIGN}")  # "ticagrelor plus [clopidogrel]" is more than that option
OF_SOMETHING = re.compile(rf"{SIGN}\)? (?:antibod|antigen|vaccin|screen|test|serolog|immuni|prophyla|titer|level)")
INTRODUCES = re.compile(
    r"\W*(?:so|thus|therefore|hence|overall|consequently|accordingly|in (?:summary|conclusion|short|sum)"
    r"|to (?:summarize"
    r"|conclude|sum up)|taken together|conclusion|all (?:in all|things considered|of this)|based on|given|considering"
    r"|everything|ultimately|finally|putting)(?![a-z])"
)
DENIED = re.compile(
    rf"{SIGN} (?:is|stands) for|(?<![a-z])(?:at first|first,|first (?:thought|guess|impression|instinct|glance"
    rf"|look))(?![a-z])"
    r"|不|错|没|ない|ません|아니|不是"
)
JOINED = re.compile(
    rf"(?<![a-z])(?:and|or|nor|und|et|y|oder) (?:the )?{SIGN}(?! (?:is|it))|{SIGN} (?:and|or|und|et|y) (?!not|so"
    rf"|therefore)"
)
ADVICE = re.compile(r"(?<![a-z])you (?:should|must|need to|have to|would want to|will want to)(?![a-z])")
