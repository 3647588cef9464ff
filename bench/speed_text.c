/* SPDX-License-Identifier: MIT */
/*
 * The text that `specbench speed` indexes: recorded responses, dealt out
 * round-robin over the files, or, where there are none, synthetic ones.
 *
 * The synthetic text stands for model output of a templated kind. Each token
 * comes, with probability
 *     0.35   from a phrase: the text continues as it did at an earlier place,
 *            for a geometric length of mean 12
 *     0.45   from the previous token's eight favourite successors, which are
 *            drawn by Zipf's law and weighted 1/1, 1/2, ... 1/8
 *     0.20   from Zipf's law over 32,000 ids (exponent 1)
 * Responses have 40 to 440 tokens, prompts 40 to 1,640, made in the same way.
 * It depends on nothing but the constants below.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "speed.h"
#include "util.h"

enum { ID_SHIFT = 32000, VOCAB = 32000, SUCCESSORS = 8, SYNTH_FILES = 4, SYNTH_REQUESTS = 500 };

/* ---- synthetic -------------------------------------------------------- */

typedef struct generator {
    uint64_t state;
    spec_token *text; /* (n) all that was made so far */
    size_t n, cap;
    size_t copy_from, copy_left;
} generator;

static double coin(generator *g) { return (double)(specp_mix64(g->state++) >> 11) * 0x1p-53; }

/* Rank r with probability about proportional to 1/r, from u in 0..1. */
static spec_token zipf(double u) {
    spec_token t = (spec_token)exp(u * log((double)VOCAB + 1)) - 1;
    return t < VOCAB ? t : VOCAB - 1;
}

static spec_token successor(generator *g, spec_token previous) {
    double total = 0, u;
    for (int i = 1; i <= SUCCESSORS; i++) total += 1.0 / i;
    u = coin(g) * total;
    int which = 1;
    while (which < SUCCESSORS && (u -= 1.0 / which) > 0) which++;
    uint64_t h = specp_mix64((uint64_t)previous * SUCCESSORS + (uint64_t)which);
    return zipf((double)(h >> 11) * 0x1p-53);
}

static spec_token next_token(generator *g) {
    if (!g->copy_left && g->n && coin(g) < 0.35 / 12) {
        g->copy_from = (size_t)(coin(g) * (double)g->n);
        g->copy_left = 1 + (size_t)(-12 * log(1 - coin(g)));
    }
    if (g->copy_left) {
        g->copy_left--;
        return g->text[g->copy_from++];
    }
    double u = coin(g);
    if (g->n && u < 0.45 / 0.65) return successor(g, g->text[g->n - 1]);
    return zipf(coin(g));
}

/* Makes n tokens at the end of g->text; a pointer to them, or NULL. */
static spec_token *generate(generator *g, size_t n) {
    if (g->n + n > g->cap) {
        size_t cap = 2 * (g->n + n);
        spec_token *p = realloc(g->text, cap * sizeof *p);
        if (!p) return NULL;
        g->text = p;
        g->cap = cap;
    }
    for (size_t i = 0; i < n; i++, g->n++) g->text[g->n] = next_token(g);
    return g->text + g->n - n;
}

static int synthetic_file(trace *t, generator *g) {
    for (size_t i = 0; i < SYNTH_REQUESTS; i++) {
        size_t n_prompt = 40 + (size_t)(coin(g) * 1600), n_response = 40 + (size_t)(coin(g) * 400);
        spec_token *p = generate(g, n_prompt + n_response);
        if (!p) return SPEC_ERR_NOMEM;
        int err = trace_add(t, "", "synthetic", p, n_prompt, p + n_prompt, n_response);
        if (err) return err;
    }
    return SPEC_OK;
}

static int synthetic(speed_corpus *c) {
    generator g = {.state = 1};
    int err = SPEC_OK;
    c->synthetic = true;
    snprintf(c->name, sizeof c->name, "synthetic text");
    c->file = calloc(SYNTH_FILES, sizeof *c->file);
    if (!c->file) return SPEC_ERR_NOMEM;
    for (; c->n_files < SYNTH_FILES && !err; c->n_files++) err = synthetic_file(&c->file[c->n_files], &g);
    free(g.text);
    return err;
}

/* ---- recorded --------------------------------------------------------- */

static int is_trace(const struct dirent *d) {
    size_t n = strlen(d->d_name);
    return n > 6 && strcmp(d->d_name + n - 6, ".jsonl") == 0;
}

/* Adds a file that has responses; one that has none (a list of prompts, say) is
 * passed over, as the round-robin has no use for it. */
static int add_file(speed_corpus *c, const char *dir, const char *name, spec_message *why) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    trace *t = &c->file[c->n_files];
    int err = trace_load(t, path, true, why);
    if (err) return err == SPEC_ERR_UNSUPPORTED ? SPEC_OK : err;
    if (t->n)
        c->n_files++;
    else
        trace_free(t);
    return SPEC_OK;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int recorded(speed_corpus *c, const char *dir, spec_message *why) {
    struct dirent **entry = NULL;
    int n = scandir(dir, &entry, is_trace, by_bytes), err = SPEC_OK;
    if (n < 0) {
        if (why) snprintf(why->text, sizeof why->text, "%.400s: expected a directory of trace files", dir);
        return SPEC_ERR_NOT_FOUND;
    }
    snprintf(c->name, sizeof c->name, "%s", dir);
    c->file = calloc((size_t)n + 1, sizeof *c->file);
    if (!c->file) err = SPEC_ERR_NOMEM;
    for (int i = 0; i < n; i++) {
        if (!err) err = add_file(c, dir, entry[i]->d_name, why);
        free(entry[i]);
    }
    free(entry);
    if (!err && !c->n_files) {
        if (why) snprintf(why->text, sizeof why->text, "%.400s: no trace file with responses", dir);
        err = SPEC_ERR_NOT_FOUND;
    }
    return err;
}

int speed_corpus_open(speed_corpus *out, const char *dir, spec_message *why) {
    memset(out, 0, sizeof *out);
    int err = dir ? recorded(out, dir, why) : synthetic(out);
    if (err) {
        speed_corpus_close(out);
        return err;
    }
    for (size_t i = 0; i < out->n_files; i++)
        for (size_t j = 0; j < out->file[i].n; j++) out->n_tokens += out->file[i].req[j].n_response;
    return SPEC_OK;
}

void speed_corpus_close(speed_corpus *c) {
    for (size_t i = 0; i < c->n_files; i++) trace_free(&c->file[i]);
    free(c->file);
    memset(c, 0, sizeof *c);
}

/* ---- dealing out ------------------------------------------------------ */

/* Appends up to `want` tokens of a response as a sequence of their own. */
static bool text_add(speed_text *t, const trace_request *q, size_t want, spec_token shift, size_t *cap) {
    if (t->n_seq == *cap) {
        size_t more = *cap ? 2 * *cap : 1024;
        size_t *p = realloc(t->end, more * sizeof *p);
        if (!p) return false;
        t->end = p;
        *cap = more;
    }
    size_t n = q->n_response < want ? q->n_response : want;
    for (size_t i = 0; i < n; i++) t->tok[t->n + i] = q->response[i] + shift;
    t->n += n;
    t->end[t->n_seq++] = t->n;
    return true;
}

const trace_request *speed_next(const speed_corpus *c, speed_walk *at) {
    for (bool any = true; any; at->row++, at->file = 0) {
        any = false;
        for (; at->file < c->n_files; at->file++) {
            if (at->row >= c->file[at->file].n) continue;
            return &c->file[at->file++].req[at->row];
        }
        for (size_t f = 0; f < c->n_files && !any; f++) any = at->row + 1 < c->file[f].n;
    }
    return NULL;
}

int speed_text_make(speed_text *out, const speed_corpus *c, size_t n, bool hold_out) {
    size_t cap = 0;
    spec_token shift = 0;
    speed_walk at = {0, 0};
    memset(out, 0, sizeof *out);
    out->tok = malloc(n * sizeof *out->tok);
    if (!out->tok) return SPEC_ERR_NOMEM;
    while (out->n < n) {
        const trace_request *q = speed_next(c, &at);
        if (!q) {
            at = (speed_walk){0, 0};
            shift += ID_SHIFT;
        } else if (!(hold_out && speed_is_held_out(at.row)) && !text_add(out, q, n - out->n, shift, &cap)) {
            speed_text_free(out);
            return SPEC_ERR_NOMEM;
        }
    }
    return SPEC_OK;
}

void speed_text_free(speed_text *t) {
    free(t->tok);
    free(t->end);
    memset(t, 0, sizeof *t);
}
