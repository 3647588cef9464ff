/* SPDX-License-Identifier: MIT */
/*
 * workload_gen.h - the parts that the demo workload's generators share: random
 * numbers, a text buffer, and templates expanded by a grammar.
 *
 * Errors are sticky: every buffer and generator of one run shares a wl_env,
 * and once its err is set all further writing is a no-op. The run looks at it
 * once per request, so the generators themselves need no error paths.
 */
#ifndef BENCH_WORKLOAD_GEN_H
#define BENCH_WORKLOAD_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specdec.h"

/* ---- random numbers --------------------------------------------------- */

typedef struct wl_rng {
    uint64_t state; /* a counter; wl_next mixes it (splitmix64) */
} wl_rng;

/* A stream named by its numbers: the same names, the same stream. */
wl_rng wl_stream(uint64_t seed, uint64_t kind, uint64_t number);
#define WL_WORLD 20250101u /* seeds the streams that make files and documents, whatever the run's seed */

uint64_t wl_next(wl_rng *r);
uint32_t wl_below(wl_rng *r, uint32_t n); /* 0 .. n-1; n > 0 */
bool wl_chance(wl_rng *r, uint32_t one_in);

/* ---- rules ------------------------------------------------------------ */

/*
 * A rule is a name and its alternatives, separated by '|'. With skew s > 0
 * alternative number r (from 0) has weight 1 / (r + s), which is Zipf's law
 * with an offset; with 0 all are equally likely. Expansion may recurse: beyond
 * a depth of WL_DEEP the first alternative is taken, so that one must end.
 */
#define WL_DEEP 12

typedef enum wl_word_class { WL_PHRASE, WL_WORD, WL_NOUN, WL_VERB } wl_word_class;

typedef struct wl_rule {
    const char *name;
    const char *body;
    uint32_t skew;
    wl_word_class words; /* not WL_PHRASE: single words, known to the tokenizer */
} wl_rule;

typedef struct wl_rule_table {
    const wl_rule *rule;
    size_t n;
} wl_rule_table;

typedef struct wl_grammar wl_grammar;

/* Joins the tables; names must be unique. Borrows them. */
int wl_grammar_new(wl_grammar **out, const wl_rule_table *table, size_t n_tables,
                   const spec_allocator *alloc);
void wl_grammar_free(wl_grammar *g);

/* The name of a rule that some alternative uses and nobody defines, or NULL. */
const char *wl_grammar_undefined(const wl_grammar *g, char *room, size_t n_room);

/* ---- text ------------------------------------------------------------- */

typedef struct wl_env {
    const spec_allocator *alloc;
    const wl_grammar *grammar;
    int err; /* sticky */
} wl_env;

typedef struct wl_buf {
    wl_env *env;
    char *text; /* (n), and a NUL once anything was written */
    size_t n, cap;
    size_t article; /* end of an "a" that may have to become "an"; 0 = none */
} wl_buf;

void wl_buf_init(wl_buf *b, wl_env *env);
void wl_buf_free(wl_buf *b);
void wl_clear(wl_buf *b);
const char *wl_str(const wl_buf *b); /* "" when nothing was written */
void wl_putn(wl_buf *b, const char *s, size_t n);
void wl_put(wl_buf *b, const char *s);
void wl_num(wl_buf *b, uint64_t x);
void wl_copy(wl_buf *to, const wl_buf *from);

/* Puts s in place of the `cut` bytes at `at`. s must not point into b.
 * SPEC_ERR_INVALID sticks when b has no such bytes. */
void wl_splice(wl_buf *b, size_t at, size_t cut, const char *s);

/* Inflects the word that starts at `from`: 's', 'e' for -ed, 'i' for -ing, 0 for not at all. */
void wl_inflect(wl_buf *b, size_t from, char how);

/* ---- templates -------------------------------------------------------- */

/*
 * In a template, braces followed by a letter or one of $ ^ # are a slot; any
 * other brace stands for itself.
 *   {rule}     an alternative of the rule, expanded
 *   {$name}    the value bound to the name
 *   {#10-99}   a whole number from the range
 *   {a}        "a" or "an", as the next word wants
 *   {^...}     the same with its first letter in upper case
 *   {rule.s} {rule.ed} {rule.ing}   inflected: -s (verbs and plurals), -ed, -ing
 */
#define WL_BINDINGS 40
#define WL_NAME_MAX 24

typedef struct wl_gen {
    wl_env *env;
    wl_rng rng;
    size_t n_bound;
    char name[WL_BINDINGS][WL_NAME_MAX];
    wl_buf value[WL_BINDINGS];
    wl_buf scratch;
} wl_gen;

void wl_gen_init(wl_gen *g, wl_env *env, wl_rng rng);
void wl_gen_free(wl_gen *g);
void wl_say(wl_gen *g, wl_buf *b, const char *template);
void wl_bind(wl_gen *g, const char *name, const char *template); /* replaces an earlier value */
const char *wl_bound(const wl_gen *g, const char *name);         /* "" when unbound */

/* Says one of the templates that `list` separates by '|', all equally likely. */
void wl_say_one(wl_gen *g, wl_buf *b, const char *list);

/* A number from 0 .. n-1 under the skewed law of the rules. */
uint32_t wl_skewed(wl_rng *r, uint32_t n, uint32_t skew);

/* ---- kinds ------------------------------------------------------------ */

/*
 * A kind is a stream of sessions; a session is some turns of one user with one
 * application, and each turn is a request. Sessions overlap in time.
 */
typedef struct wl_session {
    wl_env *env;
    wl_gen gen;
    size_t turns_left;  /* set by open, counted down by the driver */
    const char *group;  /* set by open */
    wl_buf history;     /* what the next prompt repeats */
    wl_buf work;        /* the kind's own */
    size_t app;         /* likewise: which application, catalogue, ... */
    uint32_t state[12]; /* likewise */
} wl_session;

typedef struct wl_kind {
    const char *name, *about;
    const wl_rule_table *rules; /* NULL = none of its own */
    uint32_t n_live;            /* sessions going on at a time */
    void (*open)(wl_session *s);
    void (*turn)(wl_session *s, wl_buf *prompt, wl_buf *response);
} wl_kind;

extern const wl_kind wl_kind_tools, wl_kind_sql, wl_kind_edits, wl_kind_quotes, wl_kind_chat,
    wl_kind_summaries;
extern const wl_rule_table wl_english;

#define WL_TABLE(rules)                                                                                      \
    { (rules), sizeof(rules) / sizeof((rules)[0]) }
#define WL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * The requests of one kind, one after another. Opened with a zeroed struct;
 * wl_source_next writes the next request's texts and returns its group, or
 * NULL when env->err is set.
 */
typedef struct wl_source {
    const wl_kind *kind;
    wl_env *env;
    uint64_t seed;
    uint64_t kind_number, n_opened;
    wl_rng order;
    wl_session *live; /* (kind->n_live) */
    size_t place;     /* which of them made the last request */
} wl_source;

int wl_source_open(wl_source *s, size_t kind, uint64_t seed, wl_env *env);
const char *wl_source_next(wl_source *s, wl_buf *prompt, wl_buf *response);
void wl_source_close(wl_source *s);

/* The grammar of all kinds. */
int wl_workload_grammar(wl_grammar **out, const spec_allocator *alloc);

/* Every word that is to be a token of its own: calls add(user, word, class). */
int wl_each_word(int (*add)(void *user, const char *word, size_t n, wl_word_class words), void *user);

#endif
