/* SPDX-License-Identifier: MIT */
/*
 * The record of a live run, and the proof that it is worth something: replayed
 * without the model, it must give each drafter the acceptance that it had live.
 *
 *     plain decoding's responses --> trace --> replay with drafter --> same steps,
 *                                      |                               drafts, hits?
 *                                      +--> FILE, limit of copying
 */
#include <math.h>
#include <string.h>

#include "hindsight.h"
#include "live_internal.h"
#include "replay.h"
#include "util.h"

/* ---- writing ------------------------------------------------------------- */

static int write_trace(FILE *f, void *user) {
    const trace *t = user;
    for (size_t i = 0; i < t->n; i++)
        if (trace_write(f, &t->req[i])) return -1;
    return 0;
}

static int write_record(const live *s, trace *t) {
    spec_message why;
    if (!s->record || bench_write_file(s->record, write_trace, t, &why) == SPEC_OK) return EXIT_DONE;
    bench_complain("--record: %s", why.text);
    return EXIT_USAGE;
}

/* ---- replaying ----------------------------------------------------------- */

/* The first figure that differs, or NULL. */
static const char *difference(const metrics_cell *a, const metrics_cell *b) {
    if (a->steps != b->steps) return "another number of steps";
    if (a->out != b->out) return "another number of tokens";
    if (a->drafted != b->drafted) return "another number of drafted tokens";
    if (a->accepted != b->accepted) return "another number of accepted tokens";
    if (a->hits != b->hits || a->top1 != b->top1) return "other hits";
    if (a->n_length != b->n_length || memcmp(a->length, b->length, a->n_length * sizeof *a->length) != 0)
        return "other accepted lengths";
    return NULL;
}

static const char *why_not(const live *s, const live_run *r, const spec_drafter *d) {
    spec_needs needs;
    if (!r->identical) return "the record is plain decoding's, and the output differs from it";
    if (s->batch > 1) return "requests side by side learn from one another in another order";
    spec_drafter_needs(d, &needs);
    if (s->goodput) return "how much is drafted depends on the clock";
    if (needs.q_rows) return "the drafter draws its drafts, for which a replay has no room";
    return needs.top_k || needs.n_taps ? "the drafter needs more than tokens" : NULL;
}

static int replay_one(const live *s, live_run *r, spec_drafter *d, const trace *t) {
    replay_options o = {.budget = (uint32_t)s->budget, .seed = s->seed, .shared = true};
    spec_message why;
    metrics m;
    r->replay_note = why_not(s, r, d);
    if (r->replay_note) return EXIT_DONE;
    int rc = replay_run(d, t, &o, &m, &why);
    if (rc == SPEC_OK) {
        r->replay_note = difference(&r->run.m.total, &m.total);
        r->replay = r->replay_note ? LIVE_REPLAY_DIFFERS : LIVE_REPLAY_SAME;
    } else {
        bench_complain("replaying the record: %s: %s", r->drafter, why.text);
    }
    metrics_release(&m);
    return rc == SPEC_OK ? EXIT_DONE : model_exit_code(rc);
}

/* Side by side, requests see of one another what replay's order does not tell. */
static int find_limit(live *s, const trace *t) {
    hindsight h = {.limit = NAN};
    hindsight_options o = {.shared = true, .budget = (uint32_t)s->budget};
    int rc = s->batch == 1 ? hindsight_run(&h, t, &o) : SPEC_OK;
    s->copy_limit = h.limit;
    if (rc != SPEC_OK) bench_complain("copying limit: %s", spec_strerror(rc));
    return model_exit_code(rc);
}

int live_record(live *s) {
    trace t;
    if (engine_trace(&s->run[0].run, &s->engine, &t) != SPEC_OK) {
        bench_complain("out of memory");
        return EXIT_CHECK;
    }
    int code = write_record(s, &t);
    if (code == EXIT_DONE) code = find_limit(s, &t);
    for (size_t i = 1; i < s->n_runs && code == EXIT_DONE && t.n; i++) {
        spec_drafter *d = NULL;
        code = live_open_drafter(s, s->run[i].drafter, &d);
        if (code == EXIT_DONE) code = replay_one(s, &s->run[i], d, &t);
        spec_drafter_free(d);
    }
    trace_free(&t);
    return code;
}
