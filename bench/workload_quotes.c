/* SPDX-License-Identifier: MIT */
/*
 * The kind "quotes": retrieval answers. The prompt holds three or four passages
 * of a collection and a question; the response quotes sentences of them word
 * for word, with words of its own in between. The collections are part of the
 * world: every seed finds the same documents, and popular ones are retrieved
 * again and again.
 *
 * A document is made anew from its own random stream whenever it is needed, so
 * a session remembers numbers only:
 *
 *     state   | n passages | focus | document | document | document | ...
 */
#include <string.h>

#include "workload_gen.h"

#define STREAM       3u /* of the world */
#define N_DOCUMENTS  14
#define MAX_PASSAGES 4
#define N_FACTS      10 /* kinds of sentences of a collection */

enum { N_PASSAGES, FOCUS, DOCUMENT };

static const wl_rule rules[] = {
    {"q_lead",
     "According to passage [{$k}], |Passage [{$k}] says: |The text on {$name} puts it like this: |"
     "As stated in [{$k}], |On this point [{$k}] is clear: |{^clause}, and [{$k}] adds: |"
     "One passage notes that ",
     2, WL_PHRASE},
    {"q_own",
     "In other words, {clause}.|This means that {clause}.|So {np} {vps}.|"
     "The passages do not say whether {clause}.|Put simply, {npp} {vpp}.|{^sentence}|"
     "Taken together, {clause}.|That is why {clause}.",
     2, WL_PHRASE},
    {"q_open",
     "{$name} is covered by passage [{$k}].|The passages answer this in part.|Yes.|In short, {clause}.|"
     "{^clause}.|||",
     0, WL_PHRASE},
    {"q_close",
     "\n\nSource: [{$k}] {^$name}.|\n\nSources: [{$k}].|\n\nNothing else in the passages concerns {$name}.||",
     0, WL_PHRASE},
    {"plant",
     "{adj} {noun}wort|{noun} thistle|{adj} bellflower|{noun} orchid|{last}'s lily|{adj} {noun} fern", 2,
     WL_PHRASE},
    {"habitat",
     "wet meadows|limestone slopes|old walls|open pine woods|river gravel|hedges and ditches|peat bogs|"
     "stony pastures",
     0, WL_PHRASE},
    {"colour", "white|pale blue|yellow|deep red|violet|greenish|pink|orange", 0, WL_WORD},
    {"month", "March|April|May|June|July|August|September", 0, WL_WORD},
    {"part",
     "{noun} valve|drive belt|{noun} sensor|main filter|control board|{adj} bearing|{noun} pump|"
     "cooling fan|{noun} switch",
     2, WL_PHRASE},
    {"unit_of", "millimetres|bar|volts|newton metres|degrees|hours|litres", 0, WL_WORD},
    {"department",
     "human resources|finance|the legal team|facilities|the data protection officer|your line manager|"
     "procurement",
     0, WL_PHRASE},
    {"benefit",
     "parental leave|remote work|travel expenses|training days|company bicycles|overtime|sick leave|"
     "equipment loans|relocation|volunteering|study leave|season tickets|meal vouchers|language courses|"
     "care days|home internet|parking permits|flexible hours|sabbaticals",
     0, WL_PHRASE},
    {"building",
     "{^noun} Mill|Old {^noun} House|{last} Bridge|{^noun} Market Hall|St {first} Church|{last} Brewery|"
     "{^noun} Gate|{city} Street School",
     2, WL_PHRASE},
    {"trade", "wool|timber|salt|leather|paper|glass|grain|copper|beer", 0, WL_WORD},
    {"service", "{noun} gateway|{noun} store|{adj} scheduler|{noun} index|{verb} queue|{noun} cache", 2,
     WL_PHRASE},
};
static const wl_rule_table quote_rules = WL_TABLE(rules);

static const struct collection {
    const char *name;
    const char *title;         /* bound to name */
    const char *fact[N_FACTS]; /* its sentences */
    const char *ask;
} collections[] = {
    {"field-guide",
     "{^plant}",
     {"{$name} grows on {habitat} from the lowlands up to {#4-24}00 metres.",
      "Its {colour} flowers open in {month} and last until {month}.",
      "The leaves are {adj}, up to {#2-40} cm long and covered with {adj} hairs.",
      "It was first described by {first} {last} in {#17-19}{d}{d}.",
      "Walkers often mistake it for the {plant}, which has {colour} petals and a {adj} stem.",
      "The seeds are carried by {noun.s} and stay alive for {#2-30} years.",
      "In the valley there are about {#2-90}00 plants left, most of them near {habitat}.", "{^sentence}",
      "Picking {$name} has been forbidden since {#1950-2015}.",
      "Its root was once used against {mass} and {noun} pain, without any known effect."},
     "Where does {$name} grow, and when does it flower?|Is {$name} rare?|"
     "How can I tell {$name} from similar plants?|Who described {$name} first?|May I pick {$name}?"},
    {"machine-manual",
     "the {part}",
     {"Before any work on {$name}, switch the machine off and wait for {#2-30} minutes.",
      "{^$name} must be replaced after {#2-90}00 hours of operation.",
      "Tighten the {#3-12} screws crosswise to {#4-80} newton metres, starting at the {adj} side.",
      "A reading above {#10-400} {unit_of} points to a worn {part}.",
      "If code E{d}{d} appears, check the {part} first and the wiring of {$name} after that.",
      "Order number {d1}{d}{d}{d}-{d}{d} covers {$name} with its seals.",
      "Never clean {$name} with {adj} solvents; use a {adj} cloth and warm water.", "{^sentence}",
      "The clearance between {$name} and the {part} is {d}.{d} to {#1-9} millimetres.",
      "After assembly, run the machine at {#2-9}0 per cent for {#5-45} minutes and check for leaks."},
     "When do I have to replace {$name}?|What does the manual say about fitting {$name}?|"
     "How do I clean {$name}?|The display shows an error, could it be {$name}?|"
     "Which clearance does {$name} need?"},
    {"handbook",
     "{benefit}",
     {"Every employee may use {$name} after {#1-12} months with the company.",
      "Requests for {$name} go to {department} at least {#2-30} days in advance.",
      "The yearly limit is {#2-60} days or {#2-40}00 EUR, whichever is reached first.",
      "{^department} answers within {#2-10} working days, and silence counts as approval.",
      "Part-time staff receive {$name} in proportion to their hours.",
      "Receipts must show the date, the amount and the name of the {noun}.",
      "Exceptions need the written consent of {department} and {department}.", "{^sentence}",
      "Rules on {$name} were last changed on {date} and apply until further notice.",
      "Unused {$name} cannot be carried over for more than {#2-18} months."},
     "How do I apply for {$name}?|Is there a limit for {$name}?|Who decides about {$name}?|"
     "Does {$name} apply to part-time staff?|Can {$name} be carried over to next year?"},
    {"town-history",
     "{building}",
     {"{$name} was built in {#15-18}{d}{d} for a family of {trade} merchants.",
      "The architect, {first} {last}, had worked in {city} and {city} before.",
      "A fire destroyed the {adj} roof in {#16-19}{d}{d}; it took {#2-19} years to rebuild it.",
      "During the flood of {#17-19}{d}{d} the water stood {d1} metres high at {$name}.",
      "From {#18-19}{d}{d} on it served as {a} {noun} store and later as {a} school for {#2-40}0 children.",
      "Its {adj} {noun} is the oldest in the county.",
      "The town bought {$name} from {first} {last} for {#2-90}00 crowns.", "{^sentence}",
      "The inscription over the door reads: {^mass} and {mass}.",
      "Today {$name} houses {a} {noun} museum and is open from {month} to {month}."},
     "When was {$name} built, and by whom?|What happened to {$name} in the flood?|"
     "Who owns {$name} today?|What was {$name} used for?|Can {$name} be visited?"},
    {"runbook",
     "the {service}",
     {"{^$name} runs on {#2-24} nodes and restarts one of them at a time.",
      "An alarm is raised when more than {#2-90} requests a second fail for {#2-15} minutes.",
      "To drain a node, set its weight to zero and wait until fewer than {#2-50} sessions are left.",
      "Logs of {$name} are kept for {#7-90} days and then deleted.",
      "The team on call has {#5-60} minutes to answer and may wake {first} {last}.",
      "Roll back to the version of the day before if {clause}.",
      "{^$name} depends on the {service} and must be started after it.", "{^sentence}",
      "Snapshots are taken at {clock} and copied to {city} within {#1-6} hours.",
      "Do not raise the limit of {#2-90}000 connections without {a} {adj} test."},
     "How do I restart {$name}?|When does an alarm for {$name} go off?|"
     "How long are the logs of {$name} kept?|What does {$name} depend on?|"
     "Can we undo a release of {$name}?"},
};

/* ---- documents -------------------------------------------------------- */

typedef struct passage {
    size_t at[N_FACTS + 1]; /* where its sentences start in s->work; the last entry ends them */
    uint32_t n;
} passage;

static wl_rng document_stream(const wl_session *s, uint32_t document) {
    return wl_stream(WL_WORLD, STREAM, s->app * 100 + document);
}

/* Appends a document to s->work and binds its name. */
static void say_document(wl_session *s, uint32_t document, passage *p) {
    const struct collection *c = &collections[s->app];
    uint32_t used = 0;
    wl_rng own = s->gen.rng;
    s->gen.rng = document_stream(s, document);
    wl_bind(&s->gen, "name", c->title);
    p->n = 6 + wl_below(&s->gen.rng, N_FACTS - 6);
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t f = wl_below(&s->gen.rng, N_FACTS);
        while (used >> f & 1) f = (f + 1) % N_FACTS;
        used |= 1u << f;
        p->at[i] = s->work.n;
        wl_say(&s->gen, &s->work, c->fact[f]);
        wl_put(&s->work, " ");
    }
    p->at[p->n] = s->work.n;
    s->gen.rng = own;
}

static void bind_name(wl_session *s, uint32_t document) {
    wl_rng own = s->gen.rng;
    s->gen.rng = document_stream(s, document);
    wl_bind(&s->gen, "name", collections[s->app].title);
    s->gen.rng = own;
}

/* Draws documents, no two alike, popular ones more often. */
static void retrieve(wl_session *s) {
    uint32_t n = 3 + wl_below(&s->gen.rng, MAX_PASSAGES - 2), used = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t d = wl_skewed(&s->gen.rng, N_DOCUMENTS, 4);
        while (used >> d & 1) d = (d + 1) % N_DOCUMENTS;
        used |= 1u << d;
        s->state[DOCUMENT + i] = d;
    }
    s->state[N_PASSAGES] = n;
}

static void put_head(wl_buf *b) {
    wl_put(b, "<|system|>\nAnswer from the passages below. Quote them word for word and give the number "
              "of the passage.\n");
}

/* All passages: their texts to s->work, and the same with numbers and titles to the prompt. */
static void say_passages(wl_session *s, wl_buf *prompt, passage *p) {
    wl_clear(&s->work);
    for (uint32_t i = 0; i < s->state[N_PASSAGES]; i++) {
        size_t from = s->work.n;
        say_document(s, s->state[DOCUMENT + i], &p[i]);
        wl_put(prompt, "\n[");
        wl_num(prompt, i + 1);
        wl_say(&s->gen, prompt, "] {^$name}\n");
        if (!s->env->err) wl_putn(prompt, s->work.text + from, s->work.n - from - 1);
        wl_put(prompt, "\n");
    }
}

/* ---- answers ---------------------------------------------------------- */

/* Quotes a run of one or two sentences, or the part of one before a comma. */
static void say_quote(wl_session *s, wl_buf *b, const passage *p) {
    uint32_t i = wl_below(&s->gen.rng, p->n);
    uint32_t n = i + 1 < p->n && wl_chance(&s->gen.rng, 3) ? 2 : 1;
    const char *text = s->work.text + p->at[i];
    size_t length = p->at[i + n] - p->at[i] - 1;
    const char *comma = memchr(text, ',', length);
    if (n == 1 && comma && wl_chance(&s->gen.rng, 3)) length = (size_t)(comma - text);
    wl_put(b, "\"");
    wl_putn(b, text, length);
    wl_put(b, "\"");
}

static void bind_focus(wl_session *s, uint32_t focus) {
    static const char *const numbers[MAX_PASSAGES] = {"1", "2", "3", "4"};
    s->state[FOCUS] = focus;
    bind_name(s, s->state[DOCUMENT + focus]);
    wl_bind(&s->gen, "k", numbers[focus]);
}

static void say_answer(wl_session *s, wl_buf *b, const passage *p) {
    uint32_t n = 1 + wl_below(&s->gen.rng, 3);
    wl_say(&s->gen, b, "{q_open}");
    for (uint32_t i = 0; i < n; i++) {
        if (i && wl_chance(&s->gen.rng, 3)) bind_focus(s, wl_below(&s->gen.rng, s->state[N_PASSAGES]));
        wl_put(b, b->n ? " " : "");
        wl_say(&s->gen, b, "{q_lead}");
        say_quote(s, b, &p[s->state[FOCUS]]);
        wl_put(b, " ");
        wl_say(&s->gen, b, "{q_own}");
    }
    wl_say(&s->gen, b, "{q_close}");
}

static void quotes_open(wl_session *s) {
    s->app = wl_skewed(&s->gen.rng, WL_COUNT(collections), 2);
    s->group = collections[s->app].name;
    s->turns_left = 1 + wl_below(&s->gen.rng, 4);
    retrieve(s);
}

/* A follow-up keeps the passages and the dialogue so far; otherwise the
 * collection is searched again. */
static void quotes_turn(wl_session *s, wl_buf *prompt, wl_buf *response) {
    passage p[MAX_PASSAGES];
    if (s->history.n && wl_chance(&s->gen.rng, 2)) {
        wl_clear(&s->history);
        retrieve(s);
    }
    put_head(prompt);
    say_passages(s, prompt, p);
    if (s->env->err) return;
    bind_focus(s, wl_below(&s->gen.rng, s->state[N_PASSAGES]));
    wl_put(&s->history, "<|user|>\n");
    wl_say_one(&s->gen, &s->history, collections[s->app].ask);
    wl_put(&s->history, "\n<|assistant|>\n");
    wl_putn(prompt, wl_str(&s->history), s->history.n);
    say_answer(s, response, p);
    wl_putn(&s->history, wl_str(response), response->n);
    wl_put(&s->history, "\n");
}

const wl_kind wl_kind_quotes = {
    .name = "quotes",
    .about = "answers that quote the passages retrieved into their prompt",
    .rules = &quote_rules,
    .n_live = 5,
    .open = quotes_open,
    .turn = quotes_turn,
};
