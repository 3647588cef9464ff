/* SPDX-License-Identifier: MIT */
/*
 * A request's own index: made when the request begins, of its prompt. Timed is
 * all that a request waits for: making the index and appending the prompt.
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

enum { P_TOKEN, P_LONG, P_LONG_WORST, P_KEYS };

static void prompts_job(void *arg, double *out) {
    enum { PROMPTS = 2000, LONG = 200 };
    const speed_corpus *c = arg;
    speed_walk at = {0, 0};
    const trace_request *q;
    static spec_token tok[LONG_PROMPT];
    uint64_t ns = 0, tokens = 0;
    speed_times times;
    for (size_t i = 0; i < PROMPTS && (q = speed_next(c, &at)); i++) {
        ns += time_prompt(q->prompt, q->n_prompt);
        tokens += q->n_prompt;
    }
    if (tokens) out[P_TOKEN] = (double)ns * 1e-3 / (double)tokens;
    if (!speed_times_init(&times, LONG)) speed_die("memory");
    at = (speed_walk){0, 0};
    for (size_t i = 0; i < LONG && long_prompt(c, &at, tok); i++)
        speed_times_add(&times, time_prompt(tok, LONG_PROMPT));
    out[P_LONG] = speed_times_us(&times, 0.5) * 1e-3;
    out[P_LONG_WORST] = speed_times_us(&times, 1) * 1e-3;
    speed_times_free(&times);
}

void speed_run_prompts(speed_report *r, const speed_corpus *c) {
    static const char *const key[P_KEYS] = {"prompt_us", "prompt_4096_ms", "prompt_4096_worst_ms"};
    speed_measure(r, 0, prompts_job, (void *)c, key, P_KEYS);
}
