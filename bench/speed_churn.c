/* SPDX-License-Identifier: MIT */
/*
 * Churn: an index with a memory limit takes in ten times what it can hold. It
 * must end with the memory that it had when it was full for the first time.
 */
#include <stdlib.h>

#include "spec_index.h"
#include "speed.h"
#include "util.h"

#define LIMIT_BYTES (16u << 20)
/* Fewer bytes a token than any text needs: so many tokens surely fill the limit. */
#define LEAST_BYTES_PER_TOKEN 16

typedef struct churn_job {
    const speed_text *text;
    size_t limit;
} churn_job;

enum { C_FILL_TOKENS, C_FILL_BYTES, C_END_BYTES, C_MOST_BYTES, C_FILL_RSS, C_END_RSS, C_US, C_KEYS };

static void append_one(spec_index *x, const speed_text *t, size_t i) {
    spec_seq s;
    i %= t->n_seq;
    if (spec_index_begin(x, &s) ||
        spec_index_append(x, s, t->tok + speed_seq_start(t, i), speed_seq_length(t, i)))
        speed_die("append");
    spec_index_end(x, s);
}

static void churn_job_run(void *arg, double *out) {
    const churn_job *j = arg;
    spec_index *x;
    spec_index_stats s = {0};
    spec_index_options o = {.size = sizeof o, .memory_limit = j->limit};
    double rss = speed_rss(), most = 0;
    uint64_t filled = 0, start = 0;
    if (spec_index_new(&x, &o)) speed_die("new");
    for (size_t i = 0; !filled || s.tokens_total < 11 * filled; i++) {
        append_one(x, j->text, i);
        if (spec_index_get_stats(x, &s)) speed_die("stats");
        if ((double)s.bytes > most) most = (double)s.bytes;
        if (filled || !s.evicted_tokens) continue;
        filled = s.tokens_total;
        start = speed_cpu_ns();
        out[C_FILL_TOKENS] = (double)filled;
        out[C_FILL_BYTES] = (double)s.bytes * 1e-6;
        out[C_FILL_RSS] = (speed_rss() - rss) * 1e-6;
    }
    out[C_US] = (double)(speed_cpu_ns() - start) * 1e-3 / (double)(s.tokens_total - filled);
    out[C_END_BYTES] = (double)s.bytes * 1e-6;
    out[C_MOST_BYTES] = most * 1e-6;
    out[C_END_RSS] = (speed_rss() - rss) * 1e-6;
}

void speed_run_churn(speed_report *r, const speed_corpus *c) {
    static const char *const key[C_KEYS] = {
        "churn_tokens_at_fill", "churn_fill_mb",    "churn_end_mb", "churn_most_mb",
        "churn_fill_rss_mb",    "churn_end_rss_mb", "churn_us"};
    size_t limit = r->quick ? LIMIT_BYTES / 4 : LIMIT_BYTES;
    speed_text t;
    if (speed_text_make(&t, c, limit / LEAST_BYTES_PER_TOKEN, false)) {
        r->failed = true;
        return;
    }
    churn_job j = {.text = &t, .limit = limit};
    speed_measure(r, 0, churn_job_run, &j, key, C_KEYS);
    speed_text_free(&t);
}
