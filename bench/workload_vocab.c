/* SPDX-License-Identifier: MIT */
/*
 * The tokenizer of the demo workload: a fixed table of byte strings, matched
 * longest first. Ids, from 0 and without gaps:
 *
 *     0 .. 255       the single bytes, so that any text can be encoded
 *     256 .. 355     "00" .. "99"
 *     356 .. 1355    "000" .. "999"
 *     1356 ..        strings: layout and punctuation, words of programs and
 *                    data, the frequent words of English, pieces of words
 *
 * A word of English comes bare, with a space before it, and both in upper
 * case; nouns and verbs also inflected. The last quarter of each word list is
 * left out: rare words fall apart into pieces, as they do in real tokenizers.
 *
 * The table is a byte trie with sibling lists:
 *
 *     node   | byte | first child | next sibling | token or -1 |
 *
 * whose node 0 is the root. Strings lie end to end in `text`.
 */
#include <string.h>

#include "specp.h"
#include "workload.h"
#include "workload_gen.h"

static const char LAYOUT[] =
    "\n\n|\n  |\n    |\n      |\n        |\n          |\n            |\n                |  |    |      |"
    "        |, |: |; |. |.\n|:\n|,\n|;\n|);\n|)\n|):\n|()|();|();\n|()\n|()) |(\"|\")|\",|\", \"|\": |"
    "\": \"|\":{\"|\":\"|\",\"|\"},|\"}|{\"|}\n|},|},\n|{\n| {\n| {| }|}}|}}}|[\"|\"]|[{\"|\"}]|\"}}|[]|"
    "{}|==|!=|<=|>=|=>|->|&&| =| ==| !=| <| >| <=| >=| +| -| *| /| =>| ->| &&| (| (\"| \"|\"\n|\".|\".\n|"
    "'|''|'s|n't|'re|'ll|'ve| '|'.|',|'\n|' |\"\"\"|```|```\n|``|--|--- |...| - |- |\n- |</|<|>\n|>|_|__|"
    "**|\n#| #|# |## |::|?\n|!\n| [|].|],|]\n| (`|`)|`.| `|` |` to|.\n\n|:\n\n|?\"|,\" |.\" ";

static const char PROGRAM[] =
    "def|return|import|from|class|self|None|True|False|raise|if|else|elif|for|in|not|and|or|is|with|as|"
    "try|except|finally|lambda|while|continue|break|assert|str|int|float|bool|dict|list|set|tuple|len|"
    "range|sum|min|max|sorted|append|items|values|keys|get|format|join|split|strip|lower|upper|logger|"
    "logging|info|debug|warning|error|log|print|typing|Optional|List|Dict|dataclass|dataclasses|field|"
    "ValueError|KeyError|TypeError|RuntimeError|datetime|timedelta|Decimal|json|path|const|let|var|"
    "function|export|async|await|new|null|undefined|number|string|boolean|void|interface|type|this|throw|"
    "Error|console|Map|Promise|Array|filter|map|reduce|push|length|async function|readonly|SELECT|FROM|"
    "WHERE|GROUP|BY|ORDER|GROUP BY|ORDER BY|HAVING|LIMIT|JOIN|LEFT JOIN|ON|AS|AND|OR|NOT|IN|IS|NULL|"
    "IS NULL|DESC|ASC|COUNT|SUM|AVG|MIN|MAX|ROUND|CREATE|TABLE|CREATE TABLE|PRIMARY|KEY|PRIMARY KEY|"
    "FOREIGN KEY|REFERENCES|INTEGER|TEXT|DATE|REAL|NUMERIC|VARCHAR|BOOLEAN|WITH|CASE|WHEN|THEN|END|"
    "DISTINCT|BETWEEN|STRFTIME|UNION|OVER|RANK|PARTITION|sql|json|python|typescript|tool|tools|call|"
    "tool_call|name|arguments|parameters|description|required|properties|object|array|enum|result|"
    "results|status|user|assistant|system|total|average|count|amount|price|cost|date|time|start|end|day|"
    "month|year|week|id|code|value|type|kind|title|text|number|level|rate|score|state|city|country|"
    "region|address|email|phone|customer|order|product|invoice|payment|account|item|quantity|category|"
    "supplier|warehouse|shipment|carrier|ticket|event|calendar|flight|hotel|room|booking|guest|patient|"
    "doctor|visit|ward|airport|airline|passenger|route|member|author|loan|branch|meter|reading|station|"
    "tariff|vehicle|driver|trip|depot|device|sensor|light|temperature|file|folder|document|version|"
    "message|channel|project|task|owner|priority|label|comment|query|limit|offset|page|from|to|created|"
    "updated|deleted|active|pending|paid|open|closed|failed|success|unit|units|config|options|default|"
    "update|create|delete|find|list|search|send|cancel|check|add|remove|set|record|records|entry|entries|"
    "batch|buffer|cache|store|index|key|row|rows|column|table|parse|load|save|read|write|validate|"
    "compute|build|merge|apply|handle|process|collect|select|retry|timeout|attempt|threshold|_id|_at|_on|"
    "_name|_date|_time|_by|_to|_of|_count|_total|_type|_code|_no|_for|_from|_list|_key|_rate|_per|_by_|"
    "MAX_|MIN_|DEFAULT_|ORD-|INV-|TCK-|EUR|USD|GBP";

static const char COMMON[] = "the|of|and|to|a|in|that|is|was|it|for|on|are|as|with|his|they|at|be|this|"
                             "have|from|or|one|had|by|but|not|what|all|were|we|when|your|can|said|there|"
                             "an|each|which|she|do|how|their|if|will|up|other|about|out|many|then|them|"
                             "these|so|some|her|would|make|like|him|into|has|more|no|way|could|people|my|"
                             "than|first|been|who|its|now|find|long|down|did|come|made|may|part|over|"
                             "after|I|you|he|me|us|our|any|very|just|most|also|around|another|came|work|"
                             "three|must|because|does|even|place|well|such|here|take|why|help|put|away|"
                             "again|off|went|tell|men|say|small|every|found|still|between|should|home|"
                             "big|give|air|line|own|under|read|last|never|left|end|along|while|might|"
                             "next|below|saw|something|thought|both|few|those|always|show|together|got|"
                             "group|often|run|until|once|without|enough|since|though|although|before|"
                             "behind|beside|beyond|through|across|above|against|inside|outside|towards|"
                             "unless|whenever|wherever|neither|nor|two|four|five|six|seven|ten|dozen|"
                             "several|countless|plenty|little|less|much|great|deal|becomes|become|seems|"
                             "stay|stays|Please|please|sure|Sure|thanks|Thanks|sorry|Sorry|yes|Hello|"
                             "dear|Dear|keep|sentence|sentences|paragraph|according|According|passage|"
                             "passages|page|source|sources|quote|quoted|section|states|notes|same|only|"
                             "top|latest|highest|lowest|broken|down|per|instead|exactly|done|given|"
                             "following|schema|database|question|answer|code|whole|change|rename|"
                             "parameter|docstring|constant|variable|import|unused|line|lines|file|"
                             "nothing|else|already|available|January|February|March|April|May|June|July|"
                             "August|September|October|November|December|Monday|Tuesday|Wednesday|"
                             "Thursday|Friday|Saturday|Sunday|one of|as well|such as|in the|of the|"
                             "to the|let|know|anything|there's|that's|it's|don't";

static const char PIECES[] = "ing|ed|er|es|ly|tion|ment|ness|able|ous|ful|less|al|ive|ity|ion|ant|ent|"
                             "ist|ory|ary|age|ure|ish|est|ate|ise|ify|an|ar|as|at|be|bo|br|ca|ch|ck|cl|"
                             "co|cr|cu|da|de|di|do|dr|ea|el|em|en|et|fa|fe|fi|fl|fo|fr|ga|ge|gi|gl|go|gr|"
                             "ha|he|hi|ho|hu|ic|id|il|im|in|ir|is|it|ja|ka|ke|ki|la|le|li|lo|lu|ma|me|mi|"
                             "mo|mu|na|ne|ni|no|nu|ob|ol|om|on|op|or|ou|ow|pa|pe|ph|pi|pl|po|pr|pu|qu|ra|"
                             "re|ri|ro|ru|sa|sc|se|sh|si|sk|sl|sm|sn|so|sp|st|su|sw|ta|te|th|ti|to|tr|tu|"
                             "tw|ul|um|un|ur|us|ut|va|ve|vi|vo|wa|we|wh|wi|wo|ya|ye|za|ack|all|and|ang|"
                             "app|ast|aul|bar|ber|cal|can|cel|com|con|cor|cou|dis|ell|ember|end|ern|ess|"
                             "ett|ever|ght|gra|her|ight|ill|ime|int|itt|lan|lar|low|man|mar|mer|ner|oll|"
                             "ome|one|ong|ook|oon|oot|ort|oss|oun|our|out|own|par|per|pro|que|ran|rea|"
                             "ree|res|sal|ser|sil|sta|ster|str|tar|ter|the|tor|tra|tur|under|ver|war|win|"
                             "wood|work";

#define N_BYTES 256
#define LONGEST 64 /* of a word */

typedef struct node {
    int32_t first, next, token;
    unsigned char byte;
} node;

struct workload_vocab {
    const spec_allocator *alloc;
    node *node;   /* (n_nodes) */
    char *text;   /* (n_text) */
    uint32_t *at; /* (n_at) where a token's string starts; one more entry ends the last */
    size_t n_nodes, cap_nodes, n_text, cap_text, n_at, cap_at;
};

/* ---- building --------------------------------------------------------- */

static int grow(const workload_vocab *v, void **p, size_t *cap, size_t want, size_t size) {
    if (want <= *cap) return SPEC_OK;
    size_t bigger = want + want / 2 + 1024;
    void *q = specp_resize(v->alloc, *p, *cap, bigger, size);
    if (!q) return SPEC_ERR_NOMEM;
    *p = q, *cap = bigger;
    return SPEC_OK;
}

/* The root's children are the bytes, the first nodes to be made; the other
 * nodes have lists. -1: no such child. */
static int32_t find_child(const workload_vocab *v, int32_t parent, unsigned char byte) {
    if (!parent && v->n_nodes > N_BYTES) return 1 + byte;
    int32_t c = v->node[parent].first;
    while (c >= 0 && v->node[c].byte != byte) c = v->node[c].next;
    return c;
}

static int32_t add_child(workload_vocab *v, int32_t parent, unsigned char byte) {
    int32_t c = (int32_t)v->n_nodes++;
    v->node[c] = (node){-1, v->node[parent].first, -1, byte};
    v->node[parent].first = c;
    return c;
}

static int reserve(workload_vocab *v, size_t n) {
    void *nodes = v->node, *text = v->text, *at = v->at;
    int err = grow(v, &nodes, &v->cap_nodes, v->n_nodes + n, sizeof *v->node);
    v->node = nodes;
    if (!err) err = grow(v, &text, &v->cap_text, v->n_text + n, 1);
    v->text = text;
    if (!err) err = grow(v, &at, &v->cap_at, v->n_at + 1, sizeof *v->at);
    v->at = at;
    return err;
}

/* Gives the string the next id, unless it has one. */
static int add(workload_vocab *v, const char *s, size_t n) {
    int err = reserve(v, n);
    if (err) return err;
    int32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t c = find_child(v, at, (unsigned char)s[i]);
        at = c >= 0 ? c : add_child(v, at, (unsigned char)s[i]);
    }
    if (v->node[at].token >= 0) return SPEC_OK;
    v->node[at].token = (int32_t)v->n_at - 1;
    memcpy(v->text + v->n_text, s, n);
    v->n_text += n;
    v->at[v->n_at++] = (uint32_t)v->n_text;
    return SPEC_OK;
}

static int add_bytes_and_digits(workload_vocab *v) {
    int err = SPEC_OK;
    for (int i = 0; i < N_BYTES && !err; i++) err = add(v, (char[]){(char)i}, 1);
    for (int i = 0; i < 100 && !err; i++)
        err = add(v, (char[]){(char)('0' + i / 10), (char)('0' + i % 10)}, 2);
    for (int i = 0; i < 1000 && !err; i++)
        err = add(v, (char[]){(char)('0' + i / 100), (char)('0' + i / 10 % 10), (char)('0' + i % 10)}, 3);
    return err;
}

/* "word", " word", "Word", " Word". */
static int add_forms(workload_vocab *v, const char *word, size_t n) {
    char s[LONGEST + 1] = " ";
    if (n > LONGEST) return SPEC_ERR_INVALID;
    memcpy(s + 1, word, n);
    int err = add(v, s, n + 1);
    if (!err) err = add(v, s + 1, n);
    if (s[1] >= 'a' && s[1] <= 'z') s[1] = (char)(s[1] - 'a' + 'A');
    if (!err) err = add(v, s, n + 1);
    if (!err) err = add(v, s + 1, n);
    return err;
}

typedef struct word_adder {
    workload_vocab *vocab;
    wl_buf word; /* room for an inflected form */
} word_adder;

static int add_inflected(word_adder *w, const char *word, size_t n, char how) {
    wl_clear(&w->word);
    wl_putn(&w->word, word, n);
    wl_inflect(&w->word, 0, how);
    return w->word.env->err ? w->word.env->err : add_forms(w->vocab, wl_str(&w->word), w->word.n);
}

/* A word of the grammar. Entries of several words are left to their parts. */
static int add_word(void *user, const char *word, size_t n, wl_word_class words) {
    word_adder *w = user;
    if (memchr(word, ' ', n)) return SPEC_OK;
    int err = add_forms(w->vocab, word, n);
    const char *how = words == WL_VERB ? "sei" : words == WL_NOUN ? "s" : "";
    for (; *how && !err; how++) err = add_inflected(w, word, n, *how);
    return err;
}

static int add_words(workload_vocab *v) {
    wl_env env = {v->alloc, NULL, SPEC_OK};
    word_adder w = {.vocab = v};
    wl_buf_init(&w.word, &env);
    int err = wl_each_word(add_word, &w);
    wl_buf_free(&w.word);
    return err;
}

/* One list, '|' between its entries; as they stand or in the forms of words. */
static int add_list(workload_vocab *v, const char *list, bool forms) {
    for (;;) {
        size_t n = strcspn(list, "|");
        int err = forms ? add_forms(v, list, n) : add(v, list, n);
        if (err || !list[n]) return err;
        list += n + 1;
    }
}

static int fill(workload_vocab *v) {
    int err = reserve(v, 1);
    if (err) return err;
    v->node[v->n_nodes++] = (node){-1, -1, -1, 0};
    v->at[v->n_at++] = 0;
    err = add_bytes_and_digits(v);
    if (!err) err = add_list(v, LAYOUT, false);
    if (!err) err = add_list(v, COMMON, true);
    if (!err) err = add_list(v, PROGRAM, true);
    if (!err) err = add_words(v);
    if (!err) err = add_list(v, PIECES, true);
    return err;
}

int workload_vocab_new(workload_vocab **out, const spec_allocator *alloc) {
    workload_vocab *v = specp_calloc(alloc, 1, sizeof *v);
    if (!v) return SPEC_ERR_NOMEM;
    v->alloc = alloc;
    int err = fill(v);
    if (err) {
        workload_vocab_free(v);
        return err;
    }
    *out = v;
    return SPEC_OK;
}

void workload_vocab_free(workload_vocab *v) {
    if (!v) return;
    specp_release(v->alloc, v->node, v->cap_nodes, sizeof *v->node);
    specp_release(v->alloc, v->text, v->cap_text, 1);
    specp_release(v->alloc, v->at, v->cap_at, sizeof *v->at);
    specp_release(v->alloc, v, 1, sizeof *v);
}

/* ---- using ------------------------------------------------------------ */

size_t workload_vocab_size(const workload_vocab *v) { return v->n_at - 1; }

/* The longest entry that the text begins with; every byte is one. */
static spec_token longest(const workload_vocab *v, const char *text, size_t n, size_t *length) {
    spec_token best = -1;
    int32_t at = 0;
    for (size_t i = 0; i < n && (at = find_child(v, at, (unsigned char)text[i])) >= 0; i++)
        if (v->node[at].token >= 0) best = v->node[at].token, *length = i + 1;
    return best;
}

size_t workload_encode(const workload_vocab *v, const char *text, size_t n, spec_token *tok) {
    size_t n_tok = 0, length = 0;
    for (size_t i = 0; i < n; i += length) tok[n_tok++] = longest(v, text + i, n - i, &length);
    return n_tok;
}

static size_t put(char *out, size_t at, const char *s, size_t n) {
    if (out) memcpy(out + at, s, n);
    return at + n;
}

size_t workload_text(const workload_vocab *v, const spec_token *tok, size_t n, char *out) {
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (tok[i] < 0 || (size_t)tok[i] >= workload_vocab_size(v))
            at = put(out, at, "?", 1);
        else
            at = put(out, at, v->text + v->at[tok[i]], v->at[tok[i] + 1] - v->at[tok[i]]);
    }
    return at;
}
