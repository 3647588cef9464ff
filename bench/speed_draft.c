/* SPDX-License-Identifier: MIT */
/*
 * What a proposal costs through the drafter interface, with the request's own
 * index and the shared one, while the shared one holds N tokens.
 *
 *   decoding     held-out requests, one token a step: propose is timed, then the
 *                next token of the response is committed, which is timed too
 *   63 matched   a request whose text is a piece of the shared index: 62 tokens,
 *                a proposal, which brings the cursor there, one token more; the
 *                next proposal is timed
 */
#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"
#include "speed.h"
#include "util.h"

#define MATCHED 63

typedef struct draft_job {
    const speed_text *text;
    const speed_corpus *corpus;
    const char *drafter;
    size_t steps; /* decoding steps to time */
} draft_job;

static spec_request *begin(spec_drafter *d, const spec_token *prompt, size_t n) {
    spec_request *q;
    spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = n};
    if (spec_request_begin(d, &info, &q)) speed_die("request");
    return q;
}

static void commit(spec_request *q, const spec_token *tok, size_t n) {
    if (spec_request_commit(q, tok, n)) speed_die("commit");
}

static spec_drafter *build(const draft_job *j) {
    spec_drafter *d;
    spec_message why = {{0}};
    if (spec_drafter_open(&d, j->drafter, NULL, &why)) speed_die(why.text);
    for (size_t i = 0; i < j->text->n_seq; i++) {
        spec_request *q = begin(d, NULL, 0);
        commit(q, j->text->tok + speed_seq_start(j->text, i), speed_seq_length(j->text, i));
        spec_request_end(q);
    }
    return d;
}

static uint64_t time_propose(spec_request *q, spec_tree *tree) {
    const spec_propose_args args = {.size = sizeof args};
    uint64_t start = bench_now_ns();
    if (spec_request_propose(q, &args, tree)) speed_die("propose");
    return bench_now_ns() - start;
}

/* ---- decoding ------------------------------------------------------------ */

typedef struct decoding {
    speed_times propose, commit;
    uint64_t drafted, hits;
} decoding;

static void decode(spec_drafter *d, const trace_request *t, spec_tree *tree, decoding *out) {
    spec_request *q = begin(d, t->prompt, t->n_prompt);
    for (size_t i = 0; i < t->n_response; i++) {
        speed_times_add(&out->propose, time_propose(q, tree));
        out->drafted += tree->n;
        out->hits += tree->n && tree->token[0] == t->response[i];
        uint64_t start = bench_now_ns();
        commit(q, &t->response[i], 1);
        speed_times_add(&out->commit, bench_now_ns() - start);
    }
    spec_request_end(q);
}

static void decode_held_out(const draft_job *j, spec_drafter *d, spec_tree *tree, decoding *out) {
    speed_walk at = {0, 0};
    const trace_request *t;
    while (out->propose.n < j->steps && (t = speed_next(j->corpus, &at)))
        if (speed_is_held_out(at.row)) decode(d, t, tree, out);
}

/* ---- after a long match --------------------------------------------------- */

static double propose_matched_us(const draft_job *j, spec_drafter *d, spec_tree *tree, double *p99) {
    enum { WINDOWS = 4000 };
    const speed_text *t = j->text;
    bench_rng rng = {11};
    speed_times times;
    if (!speed_times_init(&times, WINDOWS)) speed_die("memory");
    while (times.n < WINDOWS) {
        size_t s = bench_rng_below(&rng, (uint32_t)t->n_seq), n = speed_seq_length(t, s);
        if (n < 2 * MATCHED) continue;
        const spec_token *tok =
            t->tok + speed_seq_start(t, s) + bench_rng_below(&rng, (uint32_t)(n - MATCHED));
        spec_request *q = begin(d, tok, MATCHED - 1);
        time_propose(q, tree);
        commit(q, tok + MATCHED - 1, 1);
        speed_times_add(&times, time_propose(q, tree));
        speed_consume(tree->match_len);
        spec_request_end(q);
    }
    double us = speed_times_us(&times, 0.5);
    *p99 = speed_times_us(&times, 0.99);
    speed_times_free(&times);
    return us;
}

/* ---- one size -------------------------------------------------------------- */

enum { D_P50, D_P99, D_COMMIT, D_DRAFTED, D_MATCHED, D_MATCHED_P99, D_KEYS };

static void draft_job_run(void *arg, double *out) {
    const draft_job *j = arg;
    spec_drafter *d = build(j);
    spec_tree tree;
    decoding done = {.drafted = 0};
    size_t room = j->steps + 100000; /* the last response goes on to its end */
    if (spec_tree_init(&tree, 64, 0, 0, NULL)) speed_die("tree");
    if (!speed_times_init(&done.propose, room) || !speed_times_init(&done.commit, room)) speed_die("memory");
    out[D_MATCHED] = propose_matched_us(j, d, &tree, &out[D_MATCHED_P99]);
    decode_held_out(j, d, &tree, &done);
    out[D_COMMIT] = speed_times_mean_us(&done.commit);
    out[D_P50] = speed_times_us(&done.propose, 0.5);
    out[D_P99] = speed_times_us(&done.propose, 0.99);
    out[D_DRAFTED] = (double)done.drafted / (double)done.propose.n;
}

void speed_run_draft(speed_report *r, const speed_corpus *c, size_t n) {
    static const struct {
        const char *drafter;
        const char *key[D_KEYS];
    } variant[] = {
        {"suffix:tree=0",
         {"path_p50_us", "path_p99_us", "path_commit_us", "path_drafted", "path_63_p50_us",
          "path_63_p99_us"}},
        {"suffix",
         {"tree_p50_us", "tree_p99_us", "tree_commit_us", "tree_drafted", "tree_63_p50_us",
          "tree_63_p99_us"}},
        {"suffix:preset=arctic",
         {"arctic_p50_us", "arctic_p99_us", "arctic_commit_us", "arctic_drafted", "arctic_63_p50_us",
          "arctic_63_p99_us"}},
    };
    speed_text t;
    if (speed_text_make(&t, c, n, true)) {
        r->failed = true;
        return;
    }
    for (size_t i = 0; i < sizeof variant / sizeof *variant; i++) {
        draft_job j = {
            .text = &t, .corpus = c, .drafter = variant[i].drafter, .steps = r->quick ? 5000 : 20000};
        speed_measure(r, n, draft_job_run, &j, variant[i].key, D_KEYS);
    }
    speed_text_free(&t);
}
