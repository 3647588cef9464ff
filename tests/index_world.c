/* SPDX-License-Identifier: MIT */
/*
 * Operations done to an index and to the oracle alike. After each the index must
 * have answered as the header says; eviction, which the index decides, is read
 * back from it and judged: victims in the right order, only from their ends, and
 * never the sequence that grows.
 */
#include "index_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specp.h"

static bool SPECP_PRINTF(2, 3) differ(world *w, const char *format, ...) {
    va_list ap;
    int n =
        snprintf(w->why.text, sizeof w->why.text, "step %llu, %s: ", (unsigned long long)w->steps, w->did);
    va_start(ap, format);
    vsnprintf(w->why.text + n, sizeof w->why.text - (size_t)n, format, ap);
    va_end(ap);
    return false;
}

/* Keeps the story of a comparison, with the step in front. */
static bool retell(world *w) {
    spec_message told = w->why;
    return differ(w, "%.400s", told.text);
}

static bool expect(world *w, const char *what, int got, int want) {
    return got == want || differ(w, "%s gave %d (%s), not %d", what, got, spec_strerror(got), want);
}

/* ---- life ------------------------------------------------------------- */

static bool open_cursors(world *w) {
    for (size_t i = 0; i < WORLD_CURSORS; i++) {
        world_cursor *c = &w->cursor[i];
        if (!c->fed) c->fed = malloc(w->options.depth * sizeof *c->fed);
        if (!c->fed) abort();
        if (!expect(w, "spec_cursor_new", spec_cursor_new(&c->cursor, w->index), SPEC_OK)) return false;
        spec_cursor_feed(c->cursor, c->fed, c->n);
    }
    return true;
}

static void close_cursors(world *w) {
    for (size_t i = 0; i < WORLD_CURSORS; i++) {
        spec_cursor_free(w->cursor[i].cursor);
        w->cursor[i].cursor = NULL;
    }
}

bool world_open(world *w, const world_options *options) {
    memset(w, 0, sizeof *w);
    w->options = *options;
    if (!w->options.longest) w->options.longest = 12;
    strcpy(w->did, "opening");
    oracle_init(&w->truth, options->depth);
    spec_index_options o = {.size = sizeof o,
                            .depth = options->depth,
                            .evict = options->evict,
                            .memory_limit = options->memory_limit,
                            .alloc = options->alloc};
    return expect(w, "spec_index_new", spec_index_new(&w->index, &o), SPEC_OK) && open_cursors(w);
}

void world_close(world *w) {
    close_cursors(w);
    for (size_t i = 0; i < WORLD_CURSORS; i++) free(w->cursor[i].fed);
    spec_index_free(w->index);
    oracle_free(&w->truth);
    memset(w, 0, sizeof *w);
}

/* ---- eviction --------------------------------------------------------- */

static bool earlier(const world *w, const oracle_seq *a, const oracle_seq *b) {
    return w->options.evict == SPEC_EVICT_LRU ? a->used < b->used : false; /* FIFO: as they stand */
}

/* Sequences that may be evicted, first victim first; how many. */
static size_t victims(const world *w, spec_seq keep, spec_seq *out) {
    size_t n = 0;
    for (size_t i = 0; i < w->truth.n; i++) {
        const oracle_seq *s = &w->truth.seq[i];
        if (s->id == keep) continue;
        size_t at = n++;
        while (at > 0 && earlier(w, s, oracle_find_seq(&w->truth, out[at - 1]))) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = s->id;
    }
    return n;
}

/* Makes the oracle follow what happened to one victim. */
static bool follow_victim(world *w, spec_seq id, bool *spared) {
    oracle_seq *s = oracle_find_seq(&w->truth, id);
    size_t n = 0;
    int err = spec_index_seq_length(w->index, id, &n);
    if (err && err != SPEC_ERR_NOT_FOUND) return expect(w, "spec_index_seq_length", err, SPEC_OK);
    if (!err && !n && !s->n) return true; /* an empty one may stay when its turn comes, or go */
    if (n > s->n || (!err && !n))
        return differ(w, "after eviction a sequence has %zu of %zu tokens", n, s->n);
    if (*spared && (err || n != s->n)) return differ(w, "a sequence was evicted before its turn");
    w->evicted_tokens += s->n - n;
    w->evicted += n == 0;
    if (n) {
        *spared = true;
        if (n < s->n) s->evicted = true;
        oracle_truncate(&w->truth, id, s->n - n);
    } else {
        oracle_remove(&w->truth, id);
        w->gone = id;
    }
    return true;
}

bool world_follow_evictions(world *w, spec_seq keep) {
    bool spared = false, ok = true;
    spec_seq *order = malloc((w->truth.n + 1) * sizeof *order);
    if (!order) abort();
    size_t n = victims(w, keep, order);
    for (size_t i = 0; i < n && ok; i++) ok = follow_victim(w, order[i], &spared);
    free(order);
    spec_index_stats s;
    if (!ok) return false;
    if (spec_index_get_stats(w->index, &s) || s.evicted != w->evicted ||
        s.evicted_tokens != w->evicted_tokens)
        return differ(w, "stats count %llu evicted sequences, %llu tokens, not %llu and %llu",
                      (unsigned long long)s.evicted, (unsigned long long)s.evicted_tokens,
                      (unsigned long long)w->evicted, (unsigned long long)w->evicted_tokens);
    return true;
}

bool world_evict(world *w, size_t max_tokens) {
    size_t before = oracle_tokens(&w->truth);
    int err = spec_index_evict(w->index, max_tokens);
    if (!expect(w, "spec_index_evict", err, SPEC_OK) || !world_follow_evictions(w, 0)) return false;
    size_t after = oracle_tokens(&w->truth);
    if (after > max_tokens)
        return differ(w, "%zu tokens are left of %zu, more than %zu", after, before, max_tokens);
    return before > max_tokens || after == before || differ(w, "evicted without need");
}

/* ---- single operations ------------------------------------------------- */

bool world_begin(world *w, spec_seq *id) {
    spec_seq s = 0;
    if (!expect(w, "spec_index_begin", spec_index_begin(w->index, &s), SPEC_OK)) return false;
    if (!s || s == w->gone || oracle_find_seq(&w->truth, s)) return differ(w, "begin gave a used id");
    oracle_begin(&w->truth, s);
    if (id) *id = s;
    return true;
}

bool world_append(world *w, spec_seq id, const spec_token *tok, size_t n) {
    int err = spec_index_append(w->index, id, tok, n);
    if (!expect(w, "spec_index_append", err, SPEC_OK)) return false;
    oracle_append(&w->truth, id, tok, n);
    return !w->options.memory_limit || world_follow_evictions(w, id);
}

bool world_truncate(world *w, spec_seq id, size_t n) {
    if (!expect(w, "spec_index_truncate", spec_index_truncate(w->index, id, n), SPEC_OK)) return false;
    oracle_truncate(&w->truth, id, n);
    return true;
}

bool world_remove(world *w, spec_seq id) {
    if (!expect(w, "spec_index_remove", spec_index_remove(w->index, id), SPEC_OK)) return false;
    oracle_remove(&w->truth, id);
    w->gone = id;
    return true;
}

/* Touches tokens [from, from + n) of a sequence, if they stand nowhere else. */
bool world_touch(world *w, spec_seq id, size_t from, size_t n) {
    const oracle_seq *s = oracle_find_seq(&w->truth, id);
    const spec_token *tok = s->tok + from;
    uint32_t count = oracle_count(&w->truth, tok, n);
    if (!count || count != oracle_count_in(s, tok, n)) return true;
    spec_index_touch(w->index, spec_index_find(w->index, tok, n));
    oracle_use(&w->truth, id);
    return true;
}

bool world_compact(world *w) {
    return expect(w, "spec_index_compact", spec_index_compact(w->index), SPEC_OK);
}

bool world_reload(world *w) {
    spec_message why = {{0}};
    spec_index *loaded = NULL;
    if (!w->options.snapshot) return true;
    spec_index_load_options o = {.size = sizeof o,
                                 .trust = (int)(w->loads++ & 1),
                                 .memory_limit = w->options.memory_limit,
                                 .evict = w->options.evict,
                                 .alloc = w->options.alloc};
    if (spec_index_save(w->index, w->options.snapshot, &why)) return differ(w, "save: %.300s", why.text);
    if (spec_index_load(&loaded, w->options.snapshot, &o, &why)) return differ(w, "load: %.300s", why.text);
    close_cursors(w);
    spec_index_free(w->index);
    w->index = loaded;
    spec_index_stats s; /* whether "ever" reaches back beyond a load is left open */
    if (spec_index_get_stats(loaded, &s)) return differ(w, "stats of a loaded index");
    w->evicted = s.evicted;
    w->evicted_tokens = s.evicted_tokens;
    return open_cursors(w);
}

void world_feed(world *w, size_t cursor, const spec_token *tok, size_t n) {
    world_cursor *c = &w->cursor[cursor];
    spec_cursor_feed(c->cursor, tok, n);
    for (size_t i = 0; i < n; i++) {
        if (c->n == w->options.depth) memmove(c->fed, c->fed + 1, --c->n * sizeof *c->fed);
        c->fed[c->n++] = tok[i];
    }
}

/* ---- choosing --------------------------------------------------------- */

static uint32_t below(world_choice c, uint32_t n) { return n > 1 ? c.below(c.user, n) : 0; }

static oracle_seq *any_seq(world *w, world_choice c) {
    return w->truth.n ? &w->truth.seq[below(c, (uint32_t)w->truth.n)] : NULL;
}

/* A sequence that can grow, begun now if there is none. */
static bool growing_seq(world *w, world_choice c, spec_seq *id) {
    uint32_t start = below(c, (uint32_t)w->truth.n);
    for (size_t i = 0; i < w->truth.n; i++) {
        const oracle_seq *s = &w->truth.seq[(start + i) % w->truth.n];
        if (s->ended || s->evicted) continue;
        *id = s->id;
        return true;
    }
    return world_begin(w, id);
}

static spec_token letter(const world *w, uint32_t i) {
    spec_token t = (spec_token)(i % w->options.alphabet);
    if (!w->options.extreme) return t;
    return t & 1 ? INT32_MAX - t / 2 : t / 2;
}

/* n tokens that go on from a place `at`: periodic text, a copy of something that
 * is held, or letters drawn alone. */
static void make_text(world *w, world_choice c, spec_token *out, size_t n, size_t at) {
    const oracle_seq *s = any_seq(w, c);
    if (w->options.period) {
        for (size_t i = 0; i < n; i++) out[i] = letter(w, (uint32_t)((at + i) % w->options.period));
        uint32_t slip = below(c, 6), where = below(c, (uint32_t)n);
        if (slip == 0) out[where] = letter(w, below(c, w->options.alphabet));
    } else if (s && s->n && below(c, 3) == 0) {
        size_t from = below(c, (uint32_t)s->n);
        for (size_t i = 0; i < n; i++) out[i] = s->tok[(from + i) % s->n];
    } else {
        for (size_t i = 0; i < n; i++) out[i] = letter(w, below(c, w->options.alphabet));
    }
}

/* ---- operations by choice ---------------------------------------------- */

static bool op_append(world *w, world_choice c) {
    spec_token tok[4096];
    spec_seq id;
    if (!growing_seq(w, c, &id)) return false;
    size_t n = 1 + below(c, w->options.longest);
    make_text(w, c, tok, n, oracle_find_seq(&w->truth, id)->n);
    snprintf(w->did, sizeof w->did, "append of %zu to %llu", n, (unsigned long long)id);
    return world_append(w, id, tok, n);
}

static bool op_begin(world *w, world_choice c) {
    (void)c;
    return w->truth.n >= 8 || world_begin(w, NULL);
}

static bool op_end(world *w, world_choice c) {
    oracle_seq *s = any_seq(w, c);
    if (!s) return true;
    s->ended = true;
    return expect(w, "spec_index_end", spec_index_end(w->index, s->id), SPEC_OK);
}

static bool op_truncate(world *w, world_choice c) {
    const oracle_seq *s = any_seq(w, c);
    if (!s) return true;
    size_t n = below(c, 4) ? below(c, 5) : below(c, (uint32_t)s->n + 3);
    snprintf(w->did, sizeof w->did, "truncation of %llu by %zu", (unsigned long long)s->id, n);
    return world_truncate(w, s->id, n);
}

static bool op_remove(world *w, world_choice c) {
    const oracle_seq *s = any_seq(w, c);
    return !s || world_remove(w, s->id);
}

static bool op_compact(world *w, world_choice c) {
    (void)c;
    return world_compact(w);
}

static bool op_reload(world *w, world_choice c) {
    (void)c;
    return world_reload(w);
}

static bool op_feed(world *w, world_choice c) {
    spec_token tok[16];
    size_t cursor = below(c, WORLD_CURSORS), n = 1 + below(c, 16);
    make_text(w, c, tok, n, w->cursor[cursor].n);
    if (below(c, 16) == 0) tok[below(c, (uint32_t)n)] = -1; /* matches nothing */
    world_feed(w, cursor, tok, n);
    return true;
}

static bool op_reset(world *w, world_choice c) {
    world_cursor *k = &w->cursor[below(c, WORLD_CURSORS)];
    spec_cursor_reset(k->cursor);
    k->n = 0;
    return true;
}

static bool op_touch(world *w, world_choice c) {
    const oracle_seq *s = any_seq(w, c);
    if (!s || !s->n) return true;
    size_t from = below(c, (uint32_t)s->n), n = 1 + below(c, (uint32_t)(s->n - from));
    return world_touch(w, s->id, from, n);
}

static bool op_evict(world *w, world_choice c) {
    size_t held = oracle_tokens(&w->truth);
    return world_evict(w, held - below(c, (uint32_t)held / 3 + 1));
}

/* Calls with an id that is not there. */
static bool refuse_unknown(world *w, spec_seq id) {
    spec_token t = 0;
    size_t n;
    spec_seq s;
    return expect(w, "append to nothing", spec_index_append(w->index, id, &t, 1), SPEC_ERR_NOT_FOUND) &&
           expect(w, "end of nothing", spec_index_end(w->index, id), SPEC_ERR_NOT_FOUND) &&
           expect(w, "truncate nothing", spec_index_truncate(w->index, id, 1), SPEC_ERR_NOT_FOUND) &&
           expect(w, "remove nothing", spec_index_remove(w->index, id), SPEC_ERR_NOT_FOUND) &&
           expect(w, "length of nothing", spec_index_seq_length(w->index, id, &n), SPEC_ERR_NOT_FOUND) &&
           expect(w, "tokens of nothing", spec_index_seq_tokens(w->index, id, 0, 0, &t),
                  SPEC_ERR_NOT_FOUND) &&
           (id == 0 ||
            expect(w, "next of nothing", spec_index_next_seq(w->index, id, &s), SPEC_ERR_NOT_FOUND)) &&
           (spec_index_tail(w->index, id).len == 0 || differ(w, "tail of nothing"));
}

/* What must be refused; world_check sees that nothing has changed. */
static bool op_bad(world *w, world_choice c) {
    const oracle_seq *s = any_seq(w, c);
    if (!refuse_unknown(w, 0) || !refuse_unknown(w, UINT64_MAX)) return false;
    if (w->gone && !refuse_unknown(w, w->gone)) return false;
    if (!s) return true;
    spec_token tok[5] = {letter(w, 0), letter(w, 1), letter(w, 0), letter(w, 1), letter(w, 2)};
    if (!refuse_unknown(w, s->id + 77777)) return false;
    if (s->evicted)
        return expect(w, "append after eviction", spec_index_append(w->index, s->id, tok, 5),
                      SPEC_ERR_NOT_FOUND);
    if (s->ended)
        return expect(w, "append after end", spec_index_append(w->index, s->id, tok, 5), SPEC_ERR_STATE);
    uint32_t where = below(c, 5);
    tok[where] = below(c, 2) ? -1 : INT32_MIN;
    return expect(w, "append of a negative", spec_index_append(w->index, s->id, tok, 5), SPEC_ERR_INVALID);
}

typedef struct operation {
    const char *name;
    uint32_t weight;
    bool (*run)(world *w, world_choice c);
} operation;

static const operation operations[] = {
    {"append", 50, op_append},    {"begin", 8, op_begin},   {"end", 3, op_end},
    {"truncate", 8, op_truncate}, {"remove", 5, op_remove}, {"compact", 2, op_compact},
    {"reload", 2, op_reload},     {"feed", 12, op_feed},    {"reset", 1, op_reset},
    {"touch", 4, op_touch},       {"evict", 1, op_evict},   {"bad calls", 4, op_bad},
};

static bool make_room(world *w) {
    while (oracle_tokens(&w->truth) > w->options.max_tokens && w->truth.n) {
        strcpy(w->did, "removal of the oldest");
        if (!world_remove(w, w->truth.seq[0].id)) return false;
    }
    return true;
}

bool world_step(world *w, world_choice c) {
    uint32_t pick = below(c, 100);
    const operation *op = operations;
    while (pick >= op->weight) pick -= op++->weight;
    w->steps++;
    snprintf(w->did, sizeof w->did, "%s", op->name);
    if (!op->run(w, c)) return false;
    return !w->options.max_tokens || make_room(w);
}

/* ---- checking --------------------------------------------------------- */

static bool check_cursor(world *w, size_t i) {
    world_cursor *c = &w->cursor[i];
    spec_locus at = spec_cursor_locus(c->cursor);
    size_t n = oracle_match(&w->truth, c->fed, c->n);
    if (oracle_compare_locus(&w->truth, w->index, at, c->fed + c->n - n, n, &w->why)) return true;
    spec_message told = w->why;
    return differ(w, "cursor %zu: %.300s", i, told.text);
}

bool world_check(world *w) {
    static const uint64_t interval[WORLD_CURSORS] = {1, 7, 41};
    if (spec_index_check(w->index, &w->why)) return retell(w);
    if (!oracle_compare_seqs(&w->truth, w->index, &w->why)) return retell(w);
    for (size_t i = 0; i < WORLD_CURSORS; i++)
        if (w->steps % interval[i] == 0 && !check_cursor(w, i)) return false;
    return true;
}

bool world_check_all(world *w) {
    if (!world_check(w)) return false;
    for (size_t i = 0; i < WORLD_CURSORS; i++)
        if (!check_cursor(w, i)) return false;
    return oracle_compare(&w->truth, w->index, &w->why) || retell(w);
}
