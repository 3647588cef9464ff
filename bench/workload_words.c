/* SPDX-License-Identifier: MIT */
/*
 * The English of the demo workload: word lists in rough order of frequency,
 * for a Zipf-like choice, and the phrases built from them. Kinds add rules of
 * their own. Nouns and verbs are all regular, so that a suffix inflects them.
 */
#include "workload_gen.h"

#define NOUNS                                                                                                \
    "time|day|way|thing|year|problem|question|house|place|friend|idea|group|book|plan|room|story|week|"      \
    "morning|result|reason|town|road|water|letter|game|river|garden|table|door|teacher|student|market|"      \
    "line|word|name|number|month|kitchen|paper|field|light|picture|moment|price|rule|office|test|"           \
    "colour|machine|street|hour|village|window|answer|step|night|project|team|meal|coat|boat|sound|"         \
    "winter|summer|doctor|forest|school|system|report|budget|habit|mistake|pattern|detail|corner|"           \
    "bridge|visitor|engine|farmer|bread|island|tool|language|author|chapter|method|effort|budget line|"      \
    "partner|example|signal|surface|screen|battery|camera|storm|season|hill|valley|garden wall|harbour|"     \
    "ticket|train|station|platform|journey|suitcase|map|compass|mountain|shadow|mirror|candle|lamp|"         \
    "blanket|pillow|carpet|curtain|drawer|cupboard|oven|kettle|spoon|plate|bottle|basket|bucket|ladder|"     \
    "hammer|needle|button|pocket|sleeve|collar|jacket|boot|glove|ribbon|thread|fabric|pattern book|"         \
    "sketch|canvas|brush|pencil|notebook|envelope|stamp|parcel|courier|neighbour|cousin|uncle|aunt|"         \
    "nephew|guest|stranger|sailor|baker|painter|tailor|carpenter|plumber|gardener|librarian|nurse|"          \
    "pilot|driver|judge|lawyer|clerk|engineer|scientist|musician|singer|dancer|actor|poet|editor|"           \
    "reader|critic|audience|concert|theatre|rehearsal|melody|rhythm|chord|violin|trumpet|drum|"              \
    "orchestra|festival|parade|lantern|firework|carnival|recipe|flavour|onion|carrot|potato salad|"          \
    "lemon|orange|apple|cherry|plum|walnut|almond|pepper|ginger|honey|butter|cheese|yoghurt|noodle|"         \
    "dumpling|pancake|biscuit|soup|stew|sauce|vinegar|mustard|herb|spice|orchard|vineyard|meadow|"           \
    "pasture|fence|gate|barn|stable|horse|donkey|rabbit|squirrel|badger|otter|heron|sparrow|eagle|owl|"      \
    "beetle|spider|lizard|turtle|salmon|trout|whale|dolphin|feather|nest|branch|trunk|root|petal|seed|"      \
    "blossom|hedge|moss|fern|cactus|desert|canyon|cliff|cave|glacier|lagoon|reef|tide|current|breeze|"       \
    "thunder|rainbow|horizon|planet|comet|telescope|galaxy|orbit|rocket|satellite|antenna|sensor|"           \
    "circuit|magnet|lever|pulley|spring|valve|pipe|pump|filter|tank|turbine|generator|furnace|chimney|"      \
    "brick|concrete|timber|marble|copper|silver|iron bar|crystal|pebble|gravel|sand|clay|pottery|vase|"      \
    "statue|fountain|courtyard|balcony|staircase|corridor|attic|cellar|library|museum|gallery|archive|"      \
    "manuscript|diary|chronicle|legend|riddle|proverb|poem|novel|essay|lecture|seminar|exam|diploma|"        \
    "lesson|syllabus|alphabet|grammar|dialect|accent|gesture|smile|whisper|silence|secret|promise|"          \
    "rumour|argument|debate|bargain|contract|receipt|invoice|salary|pension|mortgage|loan|debt|profit|"      \
    "tariff|harvest|warehouse|factory|workshop|laboratory|experiment|hypothesis|theory|formula|"             \
    "equation|triangle|circle|fraction|variable|function|algorithm|database|network|keyboard|printer|"       \
    "password|folder|backup|draft|headline|column|footnote|margin|calendar|deadline|schedule|agenda|"        \
    "meeting|committee|council|mayor|citizen|election|ballot|border|treaty|embassy|passport|luggage|"        \
    "hostel|tavern|caravan|bicycle|helmet|saddle|pedal|tyre|wagon|carriage|canoe|paddle|anchor|rudder|"      \
    "lighthouse|pier|ferry|cargo|crane|crate|barrel|rope|knot"

#define VERBS                                                                                                \
    "use|need|want|help|change|start|follow|move|turn|open|call|ask|watch|carry|finish|check|notice|"        \
    "remember|share|mention|explain|measure|prepare|consider|compare|improve|replace|repair|record|"         \
    "collect|offer|reach|cover|save|clean|test|protect|avoid|describe|discover|deliver|explore|examine|"     \
    "expect|include|enjoy|observe|organise|approach|arrange|assemble|balance|borrow|celebrate|"              \
    "challenge|combine|complete|consult|contain|convince|correct|count|cross|decorate|defend|delay|"         \
    "design|destroy|develop|discuss|display|divide|divert|document|double|ease|encourage|enter|escape|"      \
    "establish|evaluate|exchange|express|extend|fasten|gather|generate|guard|handle|ignore|imagine|"         \
    "imitate|influence|inspect|inspire|install|interrupt|introduce|invent|investigate|invite|involve|"       \
    "isolate|justify|launch|lower|maintain|manage|mark|match|memorise|minimise|monitor|multiply|"            \
    "neglect|negotiate|obtain|outline|paint|persuade|polish|postpone|practise|praise|predict|preserve|"      \
    "present|produce|promote|publish|purchase|question|raise|rearrange|reduce|refuse|reject|release|"        \
    "remove|rescue|restore|reveal|review|sample|scatter|search|secure|select|separate|serve|shelter|"        \
    "simplify|sketch|smooth|soften|sort|stretch|strengthen|study|summarise|supply|support|surround|"         \
    "suspect|trace|transform|translate|treasure|trust|unfold|unite|update|urge|value|verify|visit|warn|"     \
    "weigh|welcome|widen|yield"

#define ADJECTIVES                                                                                           \
    "new|good|old|small|different|long|large|important|early|simple|clear|whole|local|quiet|second|"         \
    "common|useful|warm|strong|careful|happy|short|open|modern|ordinary|familiar|natural|serious|"           \
    "possible|bright|steady|honest|heavy|empty|slow|cold|wide|narrow|gentle|patient|curious|distant|"        \
    "sudden|hidden|broken|practical|reliable|unusual|delicate|ancient|clever|complicated|convenient|"        \
    "dusty|eager|elegant|enormous|expensive|faithful|famous|fertile|flexible|foggy|forgotten|fragile|"       \
    "frequent|fresh|friendly|generous|golden|graceful|gradual|handmade|harmless|hollow|humble|"              \
    "impatient|inexpensive|inner|lively|lonely|loose|magnetic|mature|mechanical|mild|misty|modest|"          \
    "moist|muddy|mysterious|nervous|noisy|northern|obvious|occasional|outdoor|pale|peaceful|peculiar|"       \
    "playful|pleasant|polite|precise|proud|public|quick|rare|raw|remote|rough|round|rural|rusty|salty|"      \
    "scarce|seasonal|secondary|sensible|shallow|sharp|silent|silky|sincere|sleepy|slender|slippery|"         \
    "smooth|sober|solid|sour|southern|spare|sparse|special|splendid|stable|stale|sticky|stiff|stormy|"       \
    "straight|strict|stubborn|subtle|sunny|surprising|sweet|swift|tall|tender|thick|thin|thoughtful|"        \
    "tidy|timid|tiny|tired|tough|traditional|transparent|tropical|typical|uncertain|upper|urban|urgent|"     \
    "vague|vast|visible|vivid|weekly|weak|wealthy|western|wet|wild|wise|wooden|worn|young"

#define ADVERBS                                                                                              \
    "often|usually|really|simply|quickly|slowly|always|never|quietly|carefully|rarely|easily|gradually|"     \
    "almost|certainly|clearly|nearly|eventually|finally|suddenly|sometimes|probably|happily|gently|"         \
    "badly|boldly|briefly|calmly|cheaply|constantly|curiously|deeply|deliberately|directly|eagerly|"         \
    "evenly|exactly|fairly|faithfully|firmly|freely|gladly|gracefully|honestly|instantly|kindly|"            \
    "largely|lightly|loosely|loudly|mainly|mildly|modestly|naturally|neatly|nervously|oddly|openly|"         \
    "patiently|politely|precisely|privately|promptly|properly|proudly|readily|regularly|roughly|safely|"     \
    "secretly|seriously|sharply|silently|smoothly|softly|steadily|stubbornly|thoroughly|tightly|warmly|"     \
    "wisely"

#define ABSTRACT                                                                                             \
    "patience|attention|practice|confidence|weather|luck|comfort|trouble|success|knowledge|memory|"          \
    "progress|courage|honesty|freedom|balance|curiosity|discipline|experience|silence|beauty|kindness|"      \
    "wisdom|ambition|humour|tradition|justice|gratitude|imagination|loyalty|precision|simplicity|"           \
    "stability|tension|tolerance|uncertainty|variety|warmth|wonder|energy|health|safety|quality|"            \
    "privacy|trust|effort|time|money|work|music"

#define FIRST_NAMES                                                                                          \
    "Anna|Peter|Maria|Thomas|Elena|Samuel|Ruth|Victor|Nadia|Oscar|Clara|Martin|Julia|Hugo|Irene|Felix|"      \
    "Laura|Simon|Teresa|Walter|Alice|Bruno|Diana|Edgar|Flora|Gustav|Helen|Ivan|Karin|Leon|Mona|Niels|"       \
    "Olga|Paul|Rosa|Stefan|Tamara|Ulrich|Vera|Yusuf"
#define LAST_NAMES                                                                                           \
    "Keller|Santos|Moreau|Lindgren|Okafor|Novak|Tanaka|Rossi|Haddad|Jensen|Murphy|Castillo|Petrov|"          \
    "Nguyen|Almeida|Fischer|Kowalski|Barnes|Dubois|Farouk|Greco|Holm|Ivanov|Kaya|Larsen|Mbeki|Navarro|"      \
    "Ortega|Park|Quinn|Reyes|Sato|Turner|Vargas|Weiss|Yilmaz|Zhou|Brandt|Costa|Doyle"
#define CITIES                                                                                               \
    "Lisbon|Vienna|Oslo|Prague|Dublin|Zurich|Athens|Warsaw|Milan|Porto|Geneva|Hamburg|Lyon|Seville|"         \
    "Turin|Bergen|Krakow|Leipzig|Valencia|Ghent|Malmo|Riga|Tallinn|Zagreb|Utrecht|Basel|Nantes|Cork|"        \
    "Graz|Aarhus"

static const wl_rule rules[] = {
    {"noun", NOUNS, 5, WL_NOUN},
    {"verb", VERBS, 4, WL_VERB},
    {"adj", ADJECTIVES, 5, WL_WORD},
    {"adv", ADVERBS, 4, WL_WORD},
    {"mass", ABSTRACT, 4, WL_WORD},
    {"first", FIRST_NAMES, 6, WL_WORD},
    {"last", LAST_NAMES, 6, WL_WORD},
    {"city", CITIES, 4, WL_WORD},

    {"link",
     "because|although|while|since|unless|so that|even though|as if|before|after|until|whenever|wherever", 2,
     WL_PHRASE},
    {"prep",
     "in|on|near|with|for|without|behind|under|from|beside|beyond|through|across|above|against|around|"
     "inside|outside|towards|along",
     2, WL_WORD},
    {"det", "this|every|that|another|each|one|some|any", 2, WL_WORD},
    {"poss", "your|my|their|our|its|her|his", 2, WL_WORD},
    {"count", "two|three|a few|several|four|many|five|six|most|seven|both|a dozen|ten|countless", 2,
     WL_PHRASE},
    {"modal", "can|should|will|may|must|could|might|would", 2, WL_WORD},
    {"quant", "some|enough|plenty of|a little|more|much|very little|a great deal of", 2, WL_PHRASE},
    {"feel",
     "clear|true|likely|strange|obvious|fair|rare|lucky|tempting|odd|reassuring|pointless|sensible|"
     "unfortunate",
     3, WL_WORD},
    {"person",
     "a friend|the teacher|my neighbour|nobody|someone|everybody|the author|an old colleague|the critics|"
     "one reader|a visitor|the engineer|my cousin|the whole village|{first}|{first} {last}",
     2, WL_PHRASE},
    {"when",
     "in the morning|after lunch|last week|every evening|on Sundays|before winter|these days|at first|"
     "in the end|a month later|once or twice a year|from time to time|at night|by the following spring|"
     "within an hour|on the way home|for {count} {span.s}|{#2-9} {span.s} later",
     2, WL_PHRASE},
    {"span", "day|week|month|year|hour|minute|season", 2, WL_NOUN},

    {"np",
     "the {noun}|{a} {adj} {noun}|the {adj} {noun}|{det} {noun}|{poss} {noun}|the {noun} {prep} {pobj}|"
     "{a} {noun}|{poss} {adj} {noun}|{a} {adv} {adj} {noun}|the {noun} of {pobj}|{det} {adj} {noun}|"
     "the {noun} that {nps} {verb.ed}|{quant} {mass}|the {mass} of {pobj}",
     3, WL_PHRASE},
    {"nps", "the {noun}|{a} {noun}|{det} {noun}|{poss} {noun}|the {adj} {noun}|{person}", 2, WL_PHRASE},
    {"npp",
     "{adj} {noun.s}|the {noun.s}|{count} {noun.s}|{noun.s} and {noun.s}|most {noun.s}|{poss} {noun.s}|"
     "{count} {adj} {noun.s}|{noun.s} {prep} {pobj}|the {adj} {noun.s} of {pobj}|{adj}, {adj} {noun.s}",
     3, WL_PHRASE},
    {"pobj",
     "the {noun}|{a} {noun}|{noun.s}|{poss} {noun}|{mass}|{adj} {noun.s}|the {adj} {noun}|{adj} {mass}|"
     "{det} {noun}|{a} {adj} {noun}|the {noun.s}",
     3, WL_PHRASE},
    {"obj", "{np}|{npp}|{np}|{npp}|it|them|{np} and {np}", 2, WL_PHRASE},
    {"vps",
     "{verb.s} {obj}|is {adj}|{adv} {verb.s} {obj}|{modal} {verb} {obj}|has {verb.ed} {obj}|"
     "{verb.ed} {obj}|was {adv} {adj}|{verb.s} {obj} {prep} {pobj}|is {verb.ing} {obj}|becomes {adj}|"
     "does not {verb} {obj}|was {verb.ed} by {np}|seems {adj} {when}|{modal} {adv} {verb} {obj}|"
     "never {verb.ed} {obj}|is more {adj} than {np}",
     4, WL_PHRASE},
    {"vpp",
     "{verb} {obj}|are {adj}|{modal} {verb} {obj}|{adv} {verb} {obj}|were {verb.ed} by {np}|"
     "have {verb.ed} {obj}|{verb.ed} {obj} {prep} {pobj}|become {adj}|do not {verb} {obj}|"
     "stay {adj} {when}|are {adv} {adj}|{modal} not {verb} {obj}|are still {verb.ing} {obj}|"
     "were less {adj} than {np}",
     4, WL_PHRASE},
    {"clause",
     "{np} {vps}|{npp} {vpp}|{nps} {vps}|you {vpp}|it {vps}|we {vpp}|{person} {verb.ed} {obj}|"
     "there is {np} {prep} {pobj}|they {vpp}|{verb.ing} {obj} {vps}",
     4, WL_PHRASE},
    {"sentence",
     "{^clause}.|{^clause} {prep} {pobj}.|{^clause}, and {clause}.|{^when}, {clause}.|"
     "{^link} {clause}, {clause}.|{^clause} {link} {clause}.|{^clause}, but {clause}.|"
     "It is {feel} that {clause}.|If {clause}, {clause}.|{^adv}, {clause}.|{^clause}; {clause}.|"
     "What {person} {verb.ed} was {np}.|{^prep} {pobj}, {clause}.|{^clause}, which {vps}.|"
     "{^clause} {when}.|Not every {noun} {vps}.|To {verb} {obj}, {verb} {obj} {prep} {pobj}.|"
     "{^nps}, {adj} and {adj}, {vps}.|{^clause}: {npp}, {npp} and {npp}.|"
     "The more {npp} {vpp}, the less {np} {vps}.|{^verb.ing} {obj} is {adj} {prep} {pobj}.|"
     "Would {np} {verb} {obj}?|{^verb} {obj} {link} {clause}.|Some {verb} {obj}; others {verb} {obj}.|"
     "{^np} is {adj}, {adj} and {adv} {adj}.|\"{^clause},\" {person} {verb.ed}.|{^obj}? {^clause}.|"
     "Neither {np} nor {np} {vps}.|There {modal} be {np} {prep} {pobj}.|"
     "{^person} {verb.ed} {obj} ({clause}).",
     8, WL_PHRASE},

    {"d", "0|1|2|3|4|5|6|7|8|9", 0, WL_PHRASE},
    {"d1", "1|2|3|4|5|6|7|8|9", 0, WL_PHRASE},
    {"hex", "0|1|2|3|4|5|6|7|8|9|a|b|c|d|e|f", 0, WL_PHRASE},
    {"year", "2019|2020|2021|2022|2023|2024|2025", 0, WL_PHRASE},
    {"date", "{year}-{mm}-{dd}", 0, WL_PHRASE},
    {"mm", "01|02|03|04|05|06|07|08|09|10|11|12", 0, WL_PHRASE},
    {"dd", "01|02|03|04|05|06|07|08|09|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24|25|26|27|28", 0,
     WL_PHRASE},
    {"clock",
     "08:00|08:30|09:00|09:30|10:00|10:30|11:00|13:00|13:30|14:00|14:30|15:00|16:00|16:30|17:00|18:30", 0,
     WL_PHRASE},
};

const wl_rule_table wl_english = WL_TABLE(rules);
