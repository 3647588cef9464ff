/* SPDX-License-Identifier: MIT */
/*
 * The demo workload: runs the generators of the six kinds and turns their
 * texts into traces.
 *
 * Sessions of a kind overlap: n_live of them are open, and each request is the
 * next turn of one of them, drawn at random; a session that is over makes room
 * for a new one. Every session has a random stream of its own, named by
 * (seed, kind, number of the session), and the order has another. So the
 * requests of a short run are the first ones of a longer run.
 */
#include "workload.h"

#include <stdio.h>
#include <string.h>

#include "specp.h"
#include "workload_gen.h"

static const wl_kind *const kinds[] = {&wl_kind_tools,  &wl_kind_sql,  &wl_kind_edits,
                                       &wl_kind_quotes, &wl_kind_chat, &wl_kind_summaries};

#define N_KINDS WL_COUNT(kinds)

const char *workload_kind_name(size_t i) { return i < N_KINDS ? kinds[i]->name : NULL; }
const char *workload_kind_about(size_t i) { return i < N_KINDS ? kinds[i]->about : NULL; }

/* ---- grammar ---------------------------------------------------------- */

int wl_workload_grammar(wl_grammar **out, const spec_allocator *alloc) {
    wl_rule_table table[N_KINDS + 1] = {wl_english};
    size_t n = 1;
    for (size_t i = 0; i < N_KINDS; i++)
        if (kinds[i]->rules) table[n++] = *kinds[i]->rules;
    return wl_grammar_new(out, table, n, alloc);
}

/* All but the last quarter of a list: rare words are left to their pieces. */
static int each_frequent(const wl_rule *r, int (*add)(void *, const char *, size_t, wl_word_class),
                         void *user) {
    size_t n = 1;
    int err = SPEC_OK;
    for (const char *c = r->body; *c; c++) n += *c == '|';
    const char *at = r->body;
    for (size_t i = 0; i < n - n / 4 && !err; i++) {
        size_t length = strcspn(at, "|");
        err = add(user, at, length, r->words);
        at += length + 1;
    }
    return err;
}

int wl_each_word(int (*add)(void *user, const char *word, size_t n, wl_word_class words), void *user) {
    int err = SPEC_OK;
    for (size_t i = 0; i < wl_english.n && !err; i++)
        if (wl_english.rule[i].words != WL_PHRASE) err = each_frequent(&wl_english.rule[i], add, user);
    return err;
}

/* ---- sessions --------------------------------------------------------- */

static void open_session(wl_source *s, wl_session *x) {
    memset(x, 0, sizeof *x);
    x->env = s->env;
    wl_gen_init(&x->gen, s->env, wl_stream(s->seed, s->kind_number, 1 + s->n_opened++));
    wl_buf_init(&x->history, s->env);
    wl_buf_init(&x->work, s->env);
    s->kind->open(x);
}

static void close_session(wl_session *x) {
    wl_gen_free(&x->gen);
    wl_buf_free(&x->history);
    wl_buf_free(&x->work);
}

int wl_source_open(wl_source *s, size_t kind, uint64_t seed, wl_env *env) {
    if (kind >= N_KINDS) return SPEC_ERR_INVALID;
    memset(s, 0, sizeof *s);
    s->kind = kinds[kind];
    s->env = env;
    s->seed = seed;
    s->kind_number = kind;
    s->order = wl_stream(seed, kind, 0);
    s->live = specp_calloc(env->alloc, s->kind->n_live, sizeof *s->live);
    return s->live ? SPEC_OK : SPEC_ERR_NOMEM;
}

const char *wl_source_next(wl_source *s, wl_buf *prompt, wl_buf *response) {
    s->place = wl_below(&s->order, s->kind->n_live);
    wl_session *x = &s->live[s->place];
    if (!x->turns_left) {
        if (x->env) close_session(x);
        open_session(s, x);
    }
    wl_clear(prompt);
    wl_clear(response);
    x->turns_left--;
    if (!s->env->err) s->kind->turn(x, prompt, response);
    return s->env->err ? NULL : x->group;
}

void wl_source_close(wl_source *s) {
    if (!s->live) return;
    for (size_t i = 0; i < s->kind->n_live; i++)
        if (s->live[i].env) close_session(&s->live[i]);
    specp_release(s->env->alloc, s->live, s->kind->n_live, sizeof *s->live);
    s->live = NULL;
}

/* ---- requests --------------------------------------------------------- */

/* What turns sessions into texts. */
typedef struct writer {
    wl_env env;
    wl_grammar *grammar;
    wl_buf prompt, response;
    uint64_t seed;
    size_t n_requests;
} writer;

static int writer_open(writer *w, const workload_options *options) {
    memset(w, 0, sizeof *w);
    w->env.alloc = options ? options->allocator : NULL;
    w->seed = options && options->seed ? options->seed : WORKLOAD_SEED;
    w->n_requests = options && options->requests_per_kind ? options->requests_per_kind : WORKLOAD_REQUESTS;
    wl_buf_init(&w->prompt, &w->env);
    wl_buf_init(&w->response, &w->env);
    int err = wl_workload_grammar(&w->grammar, w->env.alloc);
    w->env.grammar = w->grammar;
    return err;
}

static void writer_close(writer *w) {
    wl_buf_free(&w->prompt);
    wl_buf_free(&w->response);
    wl_grammar_free(w->grammar);
}

static int write_kind(writer *w, size_t kind, int (*take)(void *user, const workload_request *r),
                      void *user) {
    wl_source s;
    char id[64];
    int err = wl_source_open(&s, kind, w->seed, &w->env);
    if (err) return err;
    for (size_t i = 0; i < w->n_requests && !err; i++) {
        workload_request r = {.id = id, .group = wl_source_next(&s, &w->prompt, &w->response)};
        snprintf(id, sizeof id, "%s-%05zu", s.kind->name, i);
        r.prompt = wl_str(&w->prompt), r.n_prompt = w->prompt.n;
        r.response = wl_str(&w->response), r.n_response = w->response.n;
        r.place = s.place;
        err = r.group ? take(user, &r) : w->env.err;
    }
    wl_source_close(&s);
    return err;
}

int workload_each(size_t kind, const workload_options *options,
                  int (*take)(void *user, const workload_request *r), void *user) {
    writer w;
    if (kind >= N_KINDS || (options && options->size != sizeof *options)) return SPEC_ERR_INVALID;
    int err = writer_open(&w, options);
    if (!err) err = write_kind(&w, kind, take, user);
    writer_close(&w);
    return err;
}

/* ---- traces ----------------------------------------------------------- */

typedef struct maker {
    writer w;
    workload_vocab *vocab;
    trace *trace;    /* being made */
    spec_token *tok; /* (cap) the prompt's, then the response's */
    size_t cap;
} maker;

static int maker_open(maker *m, const workload_options *options) {
    memset(m, 0, sizeof *m);
    int err = writer_open(&m->w, options);
    return err ? err : workload_vocab_new(&m->vocab, m->w.env.alloc);
}

static void maker_close(maker *m) {
    specp_release(m->w.env.alloc, m->tok, m->cap, sizeof *m->tok);
    workload_vocab_free(m->vocab);
    writer_close(&m->w);
}

/* Room for as many tokens as there are bytes. */
static int reserve_tokens(maker *m, size_t want) {
    if (want <= m->cap) return SPEC_OK;
    spec_token *p = specp_resize(m->w.env.alloc, m->tok, m->cap, 2 * want, sizeof *p);
    if (!p) return SPEC_ERR_NOMEM;
    m->tok = p, m->cap = 2 * want;
    return SPEC_OK;
}

static int add_request(void *user, const workload_request *r) {
    maker *m = user;
    int err = reserve_tokens(m, r->n_prompt + r->n_response);
    if (err) return err;
    size_t n_prompt = workload_encode(m->vocab, r->prompt, r->n_prompt, m->tok);
    spec_token *response = m->tok + n_prompt;
    size_t n_response = workload_encode(m->vocab, r->response, r->n_response, response);
    return trace_add(m->trace, r->id, r->group, m->tok, n_prompt, response, n_response);
}

static int make_trace(maker *m, trace *t, size_t kind) {
    size_t room = strlen(kinds[kind]->name) + 1;
    t->name = specp_alloc(NULL, room, 1);
    if (!t->name) return SPEC_ERR_NOMEM;
    memcpy(t->name, kinds[kind]->name, room);
    m->trace = t;
    return write_kind(&m->w, kind, add_request, m);
}

int workload_demo(trace **out, size_t *n_traces, const workload_options *options) {
    maker m;
    if (options && options->size != sizeof *options) return SPEC_ERR_INVALID;
    trace *t = specp_calloc(NULL, N_KINDS, sizeof *t);
    int err = maker_open(&m, options);
    if (!err && !t) err = SPEC_ERR_NOMEM;
    for (size_t i = 0; i < N_KINDS && !err; i++) err = make_trace(&m, &t[i], i);
    maker_close(&m);
    if (err) {
        workload_free(t, N_KINDS);
        return err;
    }
    *out = t;
    *n_traces = N_KINDS;
    return SPEC_OK;
}

void workload_free(trace *traces, size_t n_traces) {
    if (!traces) return;
    for (size_t i = 0; i < n_traces; i++) trace_free(&traces[i]);
    specp_release(NULL, traces, n_traces, sizeof *traces);
}
