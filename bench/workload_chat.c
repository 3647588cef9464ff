/* SPDX-License-Identifier: MIT */
/*
 * The kind "chat": open questions and answers of one to four paragraphs, with
 * little that repeats. A conversation has a few words of its own (bound as t1
 * to t4, m1 and j1) that come back in its sentences, as topics do; everything
 * else is drawn afresh from the English grammar.
 */
#include "workload_gen.h"

#include <string.h>

static const wl_rule rules[] = {
    {"tnoun", "{$t1}|{$t2}|{$t3}|{$t4}", 2, WL_PHRASE},
    {"tnp",
     "the {$t1}|{a} {adj} {tnoun}|{poss} {tnoun}|the {adj} {tnoun}|{tnoun.s}|the {tnoun} {prep} {pobj}|"
     "{det} {tnoun}|{noun.s} and {tnoun.s}|{a} {tnoun}|the {tnoun} of {person}|{mass} and {$m1}|{$m1}|"
     "the {$j1} {noun}",
     3, WL_PHRASE},
    {"tsentence", "{^sentence_about}|{sentence}|{stock}|{^sentence_about}|{sentence}", 3, WL_PHRASE},
    {"stock",
     "It is worth remembering that {clause}.|There are a few things to keep in mind: {clause}.|"
     "On the other hand, {clause}.|As a rule of thumb, {verb} {tnp} first.|In most cases, {clause}.|"
     "One way to do this is to {verb} {obj}.|Keep in mind that {clause}.|"
     "That said, {tnp} {modal} {verb} {obj}.|For example, {clause}.|"
     "It helps to {verb} {obj} before you {verb} {obj}.|Of course, {clause}.|"
     "This is especially true when {clause}.|A good place to start is {tnp}.|"
     "There is no need to {verb} {obj}.|Make sure that {clause}.|The most important thing is {tnp}.|"
     "At the same time, {clause}.|Take your time with {tnp}.|You do not have to {verb} {obj} right away.|"
     "What matters in the end is {tnp}.",
     6, WL_PHRASE},
    {"sentence_about",
     "{tnp} {modal} {verb} {obj}, {link} {clause}.|{verb} {tnp} {link} {clause}.|"
     "{link} {tnp} {modal} {verb} {obj}, {clause}.|{person} {verb.ed} {tnp} and {verb.ed} {obj}.|"
     "{when}, {tnp} {modal} {verb} {obj}.|it {modal} {verb} {tnp}, or {verb} {obj}.|"
     "{tnp} {modal} not {verb} {obj} {prep} {pobj}.|{clause}, and so {modal} {tnp}.|"
     "without {tnp}, {clause}.|{adv} {verb.ing} {tnp} {modal} {verb} {obj}.|{np} {prep} {tnp} {vps}.|"
     "{clause}; {tnp} {modal} {adv} {verb} {obj}.|of all {noun.s}, {tnp} {modal} {verb} {obj} best.|"
     "{modal} {tnp} {verb} {obj}?|{npp} {verb} {tnp} {when}.|{verb.ing} {obj} {prep} {tnp} {vps}.|"
     "for {tnp}, {adj} {noun.s} {vpp}.|{a} {adj} {tnoun} and {a} {adj} {noun} {modal} {verb} {obj}.",
     5, WL_PHRASE},
    {"opening",
     "{tsentence}|Short answer: {clause}.|{^feel}, but not simple: {clause}.|That depends on {tnp}.|"
     "Think of {tnp} as {np}.|Good question, and {a} {adj} one.|Yes, {link} {clause}.|"
     "No, and {link} {clause}, {clause}.|In my view, {tnp} {modal} {verb} {obj}.|Start with {tnp}.|"
     "{^count} {noun.s} matter here.|Let me {verb} {tnp} first.",
     3, WL_PHRASE},
    {"closing",
     "{tsentence}|{^verb} {obj}, and {verb} {tnp}.|I hope {clause}.|Above all, {verb} {tnp}.|"
     "In short, {clause}.|Tell me more about {tnp} and I can {verb} {obj}.|The rest is {mass}.|"
     "{^adj} {noun.s}, {adj} {noun.s}.",
     3, WL_PHRASE},
    {"bullet",
     "{^verb} {obj} {prep} {pobj}.|{^tnp}: {clause}.|{^adj} {noun.s} for {tnp}.|"
     "{^verb.ing} {obj} {link} {clause}.|{^np}, {adj} and {adj}.|{^adv} {verb} {tnp}.|"
     "{^obj} {prep} {pobj}.|{^clause}.|{^verb} {tnp} {when}.",
     3, WL_PHRASE},
};

static const wl_rule_table chat_rules = WL_TABLE(rules);

/* What each task asks, how a follow-up goes on, and how its answer is laid out. */
static const struct task {
    const char *name, *ask, *more;
    uint32_t paragraphs, sentences; /* one to this many */
    uint32_t list_one_in;           /* how often there is a list of bullets */
} tasks[] = {
    {"advice",
     "How do I {verb} {a} {adj} {$t1} without {verb.ing} the {$t2}?|"
     "My {$t1} {verb.s} the {$t2} {when}. What should I do about the {$t3}?|"
     "Is it worth {verb.ing} {a} {$j1} {$t1} {link} {clause}?|"
     "I want to {verb} {poss} {$t1} but the {$t2} is too {$j1}. Any ideas?",
     "And what if the {$t3} is {adj}?|Would {$m1} help here?|Could you say more about the {$t4}?", 4, 6, 2},
    {"story",
     "Write a short story about {a} {$j1} {$t1} and {person} who {verb.ed} {a} {$t2}.|"
     "Tell me a story that begins with {a} {$t1} {prep} the {$t2}.|"
     "Invent a scene in which {first} {verb.s} the {$t3} {when}.",
     "Now tell it from the side of the {$t2}.|Go on: what happened to the {$t4}?", 4, 7, 9},
    {"explain",
     "Why does {a} {$t1} {verb} {a} {$t2}?|Explain {$m1} to someone who only knows the {$t1}.|"
     "What is the difference between {a} {$t1} and {a} {$t2}?|"
     "Explain in plain words how {a} {$j1} {$t1} {verb.s} the {$t3}.",
     "Can you give an example with {a} {$t4}?|So is the {$t2} {$j1} too?", 4, 7, 4},
    {"letter",
     "Draft a note to {first} {last} about the {$j1} {$t1} and the {$t2}.|"
     "Please write a polite message: the {$t1} was {verb.ed}, the {$t2} was not.|"
     "Help me word an apology to the {$t1} committee about {$m1}.",
     "Make it shorter and leave out the {$t3}.|Friendlier, please, and mention the {$t4}.", 3, 6, 12},
    {"ideas",
     "Give me ideas for {a} {$j1} {$t1} with {a} {$t2}.|List ways to {verb} {a} {$t1} on a small budget.|"
     "What are good names for {a} {$t1} that {verb.s} {$t2.s}?",
     "More like the first one, with {a} {$t4}.|Which of them needs the least {$m1}?", 3, 4, 1},
    {"opinion",
     "Do you think {$j1} {$t1.s} {modal} {verb} {$t2.s}?|Is the {$t1} better than the {$t2}?|"
     "What would you say to someone who {verb.s} only {$m1}?",
     "I disagree: the {$t2} was {adj}.|What would change your mind about the {$t3}?", 4, 6, 7},
};

static void chat_open(wl_session *s) {
    s->app = wl_below(&s->gen.rng, WL_COUNT(tasks));
    s->group = tasks[s->app].name;
    s->turns_left = wl_chance(&s->gen.rng, 3) ? 2 + wl_below(&s->gen.rng, 2) : 1;
    wl_bind(&s->gen, "t1", "{noun}");
    wl_bind(&s->gen, "t2", "{noun}");
    wl_bind(&s->gen, "t3", "{noun}");
    wl_bind(&s->gen, "t4", "{noun}");
    wl_bind(&s->gen, "m1", "{mass}");
    wl_bind(&s->gen, "j1", "{adj}");
    wl_put(&s->history, "<|system|>\nYou are a helpful assistant. Answer in plain English.\n");
}

static void say_list(wl_gen *g, wl_buf *out) {
    bool numbered = wl_chance(&g->rng, 2);
    uint32_t n = 3 + wl_below(&g->rng, 4);
    wl_put(out, "\n");
    for (uint32_t i = 1; i <= n; i++) {
        wl_put(out, "\n");
        if (numbered) wl_num(out, i);
        wl_say(g, out, numbered ? ". {bullet}" : "- {bullet}");
    }
}

static void say_paragraph(wl_gen *g, wl_buf *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (i) wl_put(out, " ");
        wl_say(g, out, "{tsentence}");
    }
}

static void say_answer(wl_gen *g, wl_buf *out, const struct task *t) {
    uint32_t n = 1 + wl_below(&g->rng, t->paragraphs);
    uint32_t list_after = wl_chance(&g->rng, t->list_one_in) ? wl_below(&g->rng, n) : n;
    wl_say(g, out, "{opening}");
    for (uint32_t i = 0; i < n; i++) {
        wl_put(out, i ? "\n\n" : " ");
        say_paragraph(g, out, 2 + wl_below(&g->rng, t->sentences - 1));
        if (i == list_after) say_list(g, out);
    }
    wl_put(out, list_after + 1 == n ? "\n\n" : " ");
    wl_say(g, out, "{closing}");
}

static void chat_turn(wl_session *s, wl_buf *prompt, wl_buf *response) {
    const struct task *t = &tasks[s->app];
    bool first = !s->state[0]++;
    wl_put(&s->history, "<|user|>\n");
    wl_say_one(&s->gen, &s->history, first ? t->ask : t->more);
    wl_put(&s->history, "\n<|assistant|>\n");
    wl_copy(prompt, &s->history);
    say_answer(&s->gen, response, t);
    wl_putn(&s->history, wl_str(response), response->n);
    wl_put(&s->history, "\n");
}

const wl_kind wl_kind_chat = {
    .name = "chat",
    .about = "open questions answered in free prose, little of it repeated",
    .rules = &chat_rules,
    .n_live = 6,
    .open = chat_open,
    .turn = chat_turn,
};
