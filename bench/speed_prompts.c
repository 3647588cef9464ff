/* SPDX-License-Identifier: MIT */
/*
 * A request's own index: made when the request begins, of its prompt. Timed is
 * all that a request waits for: making the index and appending the prompt. The
 * prompts are taken PASSES times, one after the other, and the fastest of a
 * prompt's times counts: it is the one in which nothing else ran.
 */
#include <stdlib.h>
#include <string.h>

#include "spec_index.h"
#include "speed.h"
#include "util.h"

#define LONG_PROMPT 4096

/* Nanoseconds to index a prompt. */
static uint64_t time_prompt(const spec_token *tok, size_t n) {
    spec_index *x;
    spec_seq s;
    uint64_t start = bench_now_ns();
    if (spec_index_new(&x, NULL) || spec_index_begin(x, &s) || spec_index_append(x, s, tok, n))
        speed_die("prompt");
    uint64_t ns = bench_now_ns() - start;
    spec_index_free(x);
    return ns;
}

/* The next prompts laid end to end, LONG_PROMPT tokens of them. */
static bool long_prompt(const speed_corpus *c, speed_walk *at, spec_token *out) {
    for (size_t n = 0; n < LONG_PROMPT;) {
        const trace_request *q = speed_next(c, at);
        if (!q) return false;
        size_t now = q->n_prompt < LONG_PROMPT - n ? q->n_prompt : LONG_PROMPT - n;
        memcpy(out + n, q->prompt, now * sizeof *out);
        n += now;
    }
    return true;
}

enum { PASSES = 3, PROMPTS = 2000, LONG = 200 };

/* The prompts' fastest times in best[], and how many tokens they have. */
static uint64_t pass_over(const speed_corpus *c, uint64_t *best, size_t *n) {
    speed_walk at = {0, 0};
    const trace_request *q;
    uint64_t tokens = 0;
    for (*n = 0; *n < PROMPTS && (q = speed_next(c, &at)); ++*n) {
        uint64_t ns = time_prompt(q->prompt, q->n_prompt);
        if (ns < best[*n]) best[*n] = ns;
        tokens += q->n_prompt;
    }
    return tokens;
}

static void pass_over_long(const speed_corpus *c, uint64_t *best, size_t *n) {
    static spec_token tok[LONG_PROMPT];
    speed_walk at = {0, 0};
    for (*n = 0; *n < LONG && long_prompt(c, &at, tok); ++*n) {
        uint64_t ns = time_prompt(tok, LONG_PROMPT);
        if (ns < best[*n]) best[*n] = ns;
    }
}

enum { P_TOKEN, P_LONG, P_LONG_WORST, P_KEYS };

static void prompts_job(void *arg, double *out) {
    static uint64_t best[PROMPTS], best_long[LONG];
    uint64_t tokens = 0, ns = 0;
    size_t n = 0, n_long = 0;
    speed_times times;
    memset(best, 0xff, sizeof best);
    memset(best_long, 0xff, sizeof best_long);
    for (size_t i = 0; i < PASSES; i++) {
        tokens = pass_over(arg, best, &n);
        pass_over_long(arg, best_long, &n_long);
    }
    for (size_t i = 0; i < n; i++) ns += best[i];
    if (tokens) out[P_TOKEN] = (double)ns * 1e-3 / (double)tokens;
    if (!speed_times_init(&times, LONG)) speed_die("memory");
    for (size_t i = 0; i < n_long; i++) speed_times_add(&times, best_long[i]);
    out[P_LONG] = speed_times_us(&times, 0.5) * 1e-3;
    out[P_LONG_WORST] = speed_times_us(&times, 1) * 1e-3;
    speed_times_free(&times);
}

void speed_run_prompts(speed_report *r, const speed_corpus *c) {
    static const char *const key[P_KEYS] = {"prompt_us", "prompt_4096_ms", "prompt_4096_worst_ms"};
    speed_measure(r, 0, prompts_job, (void *)c, key, P_KEYS);
}
