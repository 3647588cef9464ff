/* SPDX-License-Identifier: MIT */
/*
 * The kind "summaries": a report of some paragraphs, and what matters in it in a
 * few sentences or points. The people and places of a collection are part of the
 * world; what is reported of them is new in every session.
 *
 * A fact is told twice: at length in the report, among sentences that a summary
 * drops, and in brief. Of the brief forms the first keeps the report's words, the
 * others put them otherwise, with the same names and numbers.
 *
 *     report    facts, two to a paragraph        | 0 | 5 | 2 | 6 | 3 |
 *     summary   three of them: the first of the  | 0 |   | 2 |   | 3 |
 *               collection, where they are listed by weight
 *
 * A session remembers these numbers; names and figures stay bound.
 */
#include "workload_gen.h"

#define STREAM    4u /* of the world */
#define N_CASTS   6  /* of a collection: who and where */
#define N_FACTS   7
#define N_BRIEFS  3
#define MAX_TOLD  6 /* facts of a report */
#define MAX_NAMES 14

/* The session's state words: how many facts the report has, what was asked for last, the facts. */
enum { N_TOLD, FORM, FACT };

typedef struct name {
    const char *name, *value;
} name;

static const wl_rule rules[] = {
    {"s_lead", "|||||In short, |According to the {$doc}, |The {$doc} says that |The main point: ", 0,
     WL_PHRASE},
    {"s_beside",
     "{^sentence}|{^person} said that {clause}.|It was {feel} that {clause}.|{^when}, {clause}.|"
     "{$first2} {$last2} did not want to say whether {clause}.|Not everybody agrees {link} {clause}.|"
     "As in the year before, {clause}.",
     2, WL_PHRASE},
    {"s_day", "{#1-28} {month}", 0, WL_PHRASE},
};
static const wl_rule_table summary_rules = WL_TABLE(rules);

static const struct collection {
    const char *name, *doc, *title;
    name cast[2]; /* beside the people, the same in every report on it */
    name names[MAX_NAMES];
    struct fact {
        const char *full, *brief[N_BRIEFS];
    } fact[N_FACTS];
} collections[] = {
    {"minutes",
     "record",
     "Minutes of {$org}, {s_day}",
     {{"city", "{city}"}, {"place", "{^noun} Street|{last} Square|{^noun} Lane"}},
     {{"org", "the {$city} town council"},
      {"sum", "{#12-96}0"},
      {"thing", "{noun} hall|{noun} bridge|{noun} school|{noun} museum"},
      {"votes", "{#11-29}"},
      {"against", "{#2-10}"},
      {"rise", "{#5-60}"},
      {"start", "{month}"},
      {"span", "{#3-18}"},
      {"fee", "{#2-9}"},
      {"motion", "{verb} the {noun} market|close the {noun} baths|rename {$place}"},
      {"next", "{month}"}},
     {{"After {a} {adj} debate of {#2-4} hours, {$org} approved {$sum} thousand EUR for the repair of the "
       "{$thing}, to be paid in {#2-4} parts.",
       {"{$org} approved {$sum} thousand EUR for the repair of the {$thing}",
        "the {$thing} will be repaired for {$sum} thousand",
        "a repair of the {$thing} costs {$city} {$sum} thousand"}},
      {"The vote was {$votes} to {$against}, with {#1-4} members absent, {link} {clause}.",
       {"the vote was {$votes} to {$against}", "{$votes} members agreed and {$against} did not",
        "{$against} of the members voted no"}},
      {"{$first1} {$last1}, who chairs the {noun} committee, warned that the costs may rise by {$rise} per "
       "cent, and asked for {a} {adj} plan.",
       {"{$first1} {$last1} warned that the costs may rise by {$rise} per cent",
        "{$last1} fears costs {$rise} per cent higher", "{$last1} wants a plan first"}},
      {"Work begins on {#1-28} {$start} and should be finished within {$span} months, unless {clause}.",
       {"it should be finished within {$span} months", "the works take {$span} months from {$start}",
        "builders come in {$start}"}},
      {"From {s_day} on, parking in {$place} will cost {$fee} EUR an hour instead of {#10-18}0 cents.",
       {"parking in {$place} will cost {$fee} EUR an hour", "parking gets dearer ({$fee} EUR)",
        "drivers pay {$fee} EUR in {$place}"}},
      {"A motion by {$first2} {$last2} to {$motion} found no majority and goes back to the {noun} committee.",
       {"a motion by {$first2} {$last2} to {$motion} found no majority", "{$last2} failed with a motion",
        "nobody followed {$last2}"}},
      {"The next meeting is on {#1-28} {$next}; questions can be handed in until {#2-9} days before it.",
       {"questions can be handed in until then", "members meet again in {$next}",
        "there is time for questions until {$next}"}}}},
    {"incidents",
     "report",
     "What happened to {$org} on {s_day}",
     {{"org", "the {service}"}, {"place", "{city}"}},
     {{"span", "{#12-190}"},
      {"cause", "a full disk|an expired certificate|a wrong setting|a bad release|a broken cable"},
      {"share", "{#3-70}"},
      {"fix", "rolled back to version {d1}.{d}|restarted the {#3-9} nodes one by one|moved the traffic away"},
      {"lost", "{#120-980}"},
      {"action", "{noun} alarm|{noun} backup|{noun} limit|second {noun}"},
      {"due", "{month}"},
      {"clients", "{#2-90}0"}},
     {{"At {clock}, shortly after {a} {adj} change, {$org} stopped answering for {$span} minutes.",
       {"{$org} stopped answering for {$span} minutes", "{$org} was gone for {$span} minutes",
        "for {$span} minutes nobody reached {$org}"}},
      {"The cause was {$cause} in {$place}, which nobody had noticed {link} {clause}.",
       {"the cause was {$cause} in {$place}", "{$cause} brought it down", "it came from {$cause}"}},
      {"About {$share} per cent of all requests failed in that time, most of them from {city}, where "
       "{clause}.",
       {"about {$share} per cent of all requests failed", "{$share} in a hundred requests went wrong",
        "failures came to {$share} per cent"}},
      {"{$first1} {$last1}, who was on call that night, {$fix} and watched the {noun} figures until {clock}.",
       {"{$first1} {$last1}, who was on call that night, {$fix}", "then {$last1} found a way out",
        "{$last1} solved the problem"}},
      {"In all, {$lost} orders were lost and had to be entered again by hand, {#2-9} of them twice.",
       {"{$lost} orders were lost and had to be entered again", "people entered {$lost} lost orders anew",
        "{$lost} orders got lost"}},
      {"To keep this from happening again, the team will add {a} {$action} by {#1-28} {$due}; {$first2} "
       "{$last2} is in charge.",
       {"the team will add {a} {$action}", "{$last2} looks after {a} {$action}, due in {$due}",
        "a remedy is planned for {$due}"}},
      {"There were {$clients} customers who wrote to complain, and {#2-9} asked for their money back.",
       {"{$clients} customers wrote to complain", "complaints came from {$clients} people",
        "some want their money back"}}}},
    {"studies",
     "abstract",
     "{^$gain} and people who {$habit}",
     {{"city", "{city}"}, {"place", "{city}"}},
     {{"org", "the University of {$city}"},
      {"habit", "{verb} {noun.s} every day|{verb} {adj} {noun.s} before sleep|keep {a} {noun} at home"},
      {"gain", "{mass}"},
      {"many", "{#12-98}0"},
      {"years", "{#2-15}"},
      {"effect", "{#4-48}"},
      {"least", "{#18-70}"},
      {"share", "{#5-40}"},
      {"money", "{#2-19}"},
      {"next", "{year}"}},
     {{"A group at {$org} led by {$first1} {$last1} asked {$many} people in {$place} over {$years} years, in "
       "{adj} and {adj} conditions.",
       {"a group at {$org} asked {$many} people in {$place}", "{$last1} and others questioned {$many} people",
        "the study, from {$city}, took {$years} years"}},
      {"Those who {$habit} showed {$effect} per cent more {$gain} than the others, even though {clause}.",
       {"those who {$habit} showed {$effect} per cent more {$gain}",
        "it finds {$gain} up by {$effect} per cent in some", "there may be a way to more {$gain}"}},
      {"The effect was largest among people over {$least}, and did not depend on {mass} or income.",
       {"the effect was largest among people over {$least}",
        "it was above all those from {$least} on who gained", "income made no difference"}},
      {"About {$share} per cent gave up early, so that {clause}.",
       {"about {$share} per cent gave up early", "{$share} in a hundred did not stay to the end",
        "not all took part to the end"}},
      {"{$first2} {$last2}, who had no part in the study, calls the figures {adj} but doubts that they hold "
       "outside {$place}.",
       {"{$first2} {$last2} doubts that they hold outside {$place}", "{$last2} has doubts about other towns",
        "elsewhere it may be different, says {$last2}"}},
      {"The work cost {$money} million EUR and was paid for by the {noun} fund of {city}.",
       {"the work cost {$money} million EUR", "{$money} million were spent",
        "a fund paid {$money} million for it"}},
      {"A second study with children is to begin in {$next}, provided that {clause}.",
       {"a second study with children is to begin in {$next}", "children are to follow, from {$next}",
        "in {$next} there will be more"}}}},
    {"quarters",
     "report",
     "{$org} in the {$quarter} quarter",
     {{"org", "{last} and {last}|the {last} {noun} works|{city} {^noun} Trading"}, {"place", "{city}"}},
     {{"quarter", "first|second|third|fourth"},
      {"sales", "{#12-96}"},
      {"way", "rose|fell"},
      {"change", "{#2-29}"},
      {"goods", "{adj} {noun.s}|{noun.s}|{noun} services"},
      {"part", "{#20-75}"},
      {"profit", "{#2-9}"},
      {"jobs", "{#2-60}0"},
      {"open", "{month}"},
      {"debt", "{#10-40}"},
      {"hope", "{#3-19}"}},
     {{"In the {$quarter} quarter the sales of {$org} {$way} by {$change} per cent to {$sales} million EUR, "
       "{link} {clause}.",
       {"the sales of {$org} {$way} by {$change} per cent to {$sales} million EUR",
        "{$org} sold goods worth {$sales} million", "with {$sales} million, sales {$way}"}},
      {"The largest part, {$part} per cent, came from {$goods}, which {vpp} above all in {$place}.",
       {"the largest part came from {$goods}", "{$goods} made up {$part} in a hundred",
        "most of it was due to {$goods}"}},
      {"After taxes a profit of {$profit} million EUR remained, of which {#10-60} per cent goes to the "
       "owners.",
       {"a profit of {$profit} million EUR remained", "{$profit} million were earned after taxes",
        "it made a profit ({$profit} million)"}},
      {"The works in {$place} will open in {$open} and give work to {$jobs} people, most of them {adj}.",
       {"the works in {$place} will open in {$open}", "{$place} gets {$jobs} new jobs",
        "{$jobs} people are to work in {$place}"}},
      {"{$first1} {$last1}, who took over from {$first2} {$last2} in {month}, expects growth of {$hope} per "
       "cent for the whole year.",
       {"{$first1} {$last1} expects growth of {$hope} per cent for the whole year",
        "{$last1} hopes for {$hope} per cent this year", "the year should bring {$hope} per cent more"}},
      {"Debts were brought down to {$debt} million EUR, the lowest figure since {#1995-2018}.",
       {"debts were brought down to {$debt} million EUR", "{$debt} million of debts are left",
        "the company has less debt"}},
      {"The price of {mass} and of {noun.s} remains the greatest risk, says {$first2} {$last2}, because "
       "{clause}.",
       {"prices remain the greatest risk", "prices are a risk, thinks {$last2}",
        "{$last2} worries about prices"}}}},
    {"news",
     "article",
     "Storm over {$place}",
     {{"place", "{city}"}, {"org", "the {$place} fire brigade|the {$place} rescue service"}},
     {{"wind", "{#95-170}"},
      {"thing", "{noun} hall|{noun} tower|{noun} school"},
      {"day", "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"},
      {"calls", "{#60-490}"},
      {"hurt", "{#3-28}"},
      {"homes", "{#2-90}00"},
      {"until", "{clock}"},
      {"damage", "{#2-60}"},
      {"given", "{#12-96}"}},
     {{"A storm with winds of {$wind} km an hour tore the roof off the {$thing} in {$place} on {$day} "
       "evening, while {clause}.",
       {"a storm with winds of {$wind} km an hour tore the roof off the {$thing}",
        "{$place} was hit by a storm on {$day}", "on {$day}, a storm damaged the {$thing}"}},
      {"By midnight {$org} had answered {$calls} calls, more than in the whole month of {month}.",
       {"by midnight {$org} had answered {$calls} calls", "{$calls} people called for help",
        "helpers were busy with {$calls} calls"}},
      {"At least {$hurt} people were taken to hospital, {#2-9} of them with broken bones.",
       {"at least {$hurt} people were taken to hospital", "{$hurt} were hurt", "hospitals took in {$hurt}"}},
      {"Power failed in {$homes} homes and came back at {$until} the next morning, {link} {clause}.",
       {"power failed in {$homes} homes", "{$homes} homes were dark for a night",
        "there was no power until {$until}"}},
      {"The mayor, {$first1} {$last1}, puts the damage at {$damage} million EUR and has asked the county for "
       "help.",
       {"{$first1} {$last1} puts the damage at {$damage} million EUR", "{$damage} million were destroyed",
        "{$last1} wants help for the town"}},
      {"A collection begun by {$first2} {$last2}, who runs the {noun} shop, has brought in {$given} thousand "
       "EUR so far.",
       {"a collection begun by {$first2} {$last2} has brought in {$given} thousand EUR",
        "{$last2} has collected {$given} thousand", "people gave {$given} thousand"}},
      {"Trains between {$place} and {city} will not run before {s_day}, as {#20-90} trees lie on the line.",
       {"trains between {$place} and other towns stand still", "no trains run for now",
        "fallen trees stop the trains"}}}},
};

/* ---- reports ----------------------------------------------------------- */

static const name people[] = {
    {"first1", "{first}"}, {"last1", "{last}"}, {"first2", "{first}"}, {"last2", "{last}"}};

static void bind_all(wl_session *s, const name *n, size_t most) {
    for (size_t i = 0; i < most && n[i].name; i++) wl_bind(&s->gen, n[i].name, n[i].value);
}

/* Draws who and where, what happened, and which facts are told in which order,
 * the first of the collection before all others. */
static void draw_report(wl_session *s) {
    const struct collection *c = &collections[s->app];
    uint32_t cast = wl_skewed(&s->gen.rng, N_CASTS, 2), used = 0;
    wl_rng own = s->gen.rng;
    s->gen.rng = wl_stream(WL_WORLD, STREAM, s->app * 100 + cast);
    bind_all(s, people, WL_COUNT(people));
    bind_all(s, c->cast, WL_COUNT(c->cast));
    s->gen.rng = own;
    wl_bind(&s->gen, "doc", c->doc);
    bind_all(s, c->names, WL_COUNT(c->names));
    s->state[N_TOLD] = 4 + wl_below(&s->gen.rng, MAX_TOLD - 3);
    for (uint32_t i = 0; i < s->state[N_TOLD]; i++) {
        uint32_t f = i ? wl_below(&s->gen.rng, N_FACTS) : 0;
        while (used >> f & 1) f = (f + 1) % N_FACTS;
        used |= 1u << f;
        s->state[FACT + i] = f;
    }
}

/* The report to s->history. */
static void say_report(wl_session *s) {
    const struct collection *c = &collections[s->app];
    wl_clear(&s->history);
    wl_say(&s->gen, &s->history, c->title);
    for (uint32_t i = 0; i < s->state[N_TOLD]; i++) {
        wl_put(&s->history, i % 2 ? " " : "\n\n");
        wl_say(&s->gen, &s->history, c->fact[s->state[FACT + i]].full);
        for (uint32_t n = wl_below(&s->gen.rng, 3); n; n--) wl_say(&s->gen, &s->history, " {s_beside}");
    }
    wl_put(&s->history, "\n");
}

/* ---- summaries --------------------------------------------------------- */

/* What is asked for: at first, and of a summary that is there already. */
static const struct form {
    const char *ask, *again;
    uint32_t sentences, facts; /* sentences: 0 = points */
} forms[] = {
    {"Summarise the {$doc} in two sentences.|Two sentences on this {$doc}, please.",
     "Now in two sentences.|Two sentences, please.", 2, 3},
    {"Sum this {$doc} up in one sentence.|What does the {$doc} say, in one sentence?",
     "Shorter: one sentence.|Too long, one sentence will do.", 1, 2},
    {"Summarise this {$doc}.|What matters in this {$doc}? A short paragraph is enough.",
     "With a little more detail, please.|A short paragraph, please.", 3, 4},
    {"List the main points of the {$doc}.|Which points does this {$doc} make?",
     "Now as a list of points.|The same as points.", 0, 4},
};

/* Whether fact number f is among the n of the report that matter most. Those of a
 * collection are listed in that order. */
static bool matters(const wl_session *s, uint32_t f, uint32_t n) {
    uint32_t better = 0;
    for (uint32_t i = 0; i < s->state[N_TOLD]; i++) better += s->state[FACT + i] < f;
    return better < n;
}

static void bind_brief(wl_session *s, uint32_t f) {
    uint32_t which = wl_chance(&s->gen.rng, 8) ? 0 : 1 + wl_below(&s->gen.rng, N_BRIEFS - 1);
    wl_bind(&s->gen, "brief", collections[s->app].fact[f].brief[which]);
}

/* n facts as sentences: the first ones hold two while there are more facts than sentences. */
static void say_sentences(wl_session *s, wl_buf *b, const uint32_t *fact, uint32_t n, uint32_t sentences) {
    static const char joints[] = ", and {$brief}.|; {$brief}.|, while {$brief}.|, and {$brief}.";
    for (uint32_t i = 0; i < n; sentences--) {
        size_t from = b->n;
        if (!i) wl_say(&s->gen, b, "{s_lead}");
        bool lead = b->n > from;
        bind_brief(s, fact[i]);
        wl_put(b, i ? " " : "");
        wl_say(&s->gen, b, lead ? "{$brief}" : "{^$brief}");
        if (n - i++ <= sentences) {
            wl_put(b, ".");
            continue;
        }
        bind_brief(s, fact[i++]);
        wl_say_one(&s->gen, b, joints);
    }
}

static void say_points(wl_session *s, wl_buf *b, const uint32_t *fact, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        bind_brief(s, fact[i]);
        wl_say(&s->gen, b, i ? "\n- {^$brief}" : "- {^$brief}");
    }
}

/* What matters most, in the order of the report or, now and then, by weight. */
static void say_summary(wl_session *s, wl_buf *b) {
    const struct form *form = &forms[s->state[FORM]];
    uint32_t fact[N_FACTS] = {0}, n = 0;
    for (uint32_t i = 0; i < s->state[N_TOLD]; i++)
        if (matters(s, s->state[FACT + i], form->facts)) fact[n++] = s->state[FACT + i];
    bool by_weight = wl_chance(&s->gen.rng, 4);
    for (uint32_t i = 1; by_weight && i < n; i++)
        for (uint32_t k = i; k && fact[k] < fact[k - 1]; k--) {
            uint32_t f = fact[k];
            fact[k] = fact[k - 1], fact[k - 1] = f;
        }
    if (form->sentences)
        say_sentences(s, b, fact, n, form->sentences);
    else
        say_points(s, b, fact, n);
}

/* ---- turns ------------------------------------------------------------- */

static void summaries_open(wl_session *s) {
    s->app = wl_skewed(&s->gen.rng, WL_COUNT(collections), 4);
    s->group = collections[s->app].name;
    s->turns_left = 1 + wl_below(&s->gen.rng, 3);
}

/* A follow-up asks for another form of the same; otherwise there is another report. */
static void summaries_turn(wl_session *s, wl_buf *prompt, wl_buf *response) {
    bool again = s->history.n && wl_chance(&s->gen.rng, 2);
    uint32_t form = wl_below(&s->gen.rng, WL_COUNT(forms));
    if (again && form == s->state[FORM]) form = (form + 1) % WL_COUNT(forms);
    s->state[FORM] = form;
    if (!again) {
        draw_report(s);
        say_report(s);
    }
    wl_put(&s->history, "<|user|>\n");
    wl_say_one(&s->gen, &s->history, again ? forms[form].again : forms[form].ask);
    wl_put(&s->history, "\n<|assistant|>\n");
    wl_put(prompt, "<|system|>\nYou summarise what you are given. Keep to its names and figures.\n\n");
    wl_putn(prompt, wl_str(&s->history), s->history.n);
    say_summary(s, response);
    wl_putn(&s->history, wl_str(response), response->n);
    wl_put(&s->history, "\n");
}

const wl_kind wl_kind_summaries = {
    .name = "summaries",
    .about = "reports put in brief: names, figures and phrases stay, the rest is dropped",
    .rules = &summary_rules,
    .n_live = 5,
    .open = summaries_open,
    .turn = summaries_turn,
};
