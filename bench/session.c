/* SPDX-License-Identifier: MIT */
/*
 * A session: load everything, check everything that can be checked before long
 * work starts, run, and only then show.
 *
 *     traces ------------------------> fine?
 *     JSON file ---------------------> can it be written?
 *     drafter names --opened once----> fine?   then for each workload:
 *                                                hindsight limit
 *                                                for each drafter: open, warm, replay
 *                                              then tables, then JSON
 */
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proposer.h"
#include "jout.h"
#include "replay.h"
#include "util.h"

void session_init(session *s, const char *command) {
    memset(s, 0, sizeof *s);
    s->command = command;
    s->budget = 64;
    s->seed = 1;
    s->calibration_skip = CALIBRATION_SKIP;
    s->shared = true;
}

static void free_traces(trace *t, size_t n) {
    for (size_t i = 0; i < n; i++) trace_free(&t[i]);
    free(t);
}

void session_release(session *s) {
    for (size_t i = 0; i < s->n_runs; i++) metrics_release(&s->run[i].m);
    free(s->run);
    free(s->limits);
    free_traces(s->workload, s->n_workloads);
    free_traces(s->warm, s->n_warm);
    cli_list_free(&s->drafters);
    cli_list_free(&s->trace_files);
    cli_list_free(&s->warm_files);
    cli_list_free(&s->left_out);
    cost_model_free(&s->cost);
    memset(s, 0, sizeof *s);
}

const session_run *session_at(const session *s, size_t workload, size_t drafter) {
    return &s->run[workload * s->drafters.n + drafter];
}

/* What a failure of the library or of the machine means to the shell. */
static int exit_code(int err) {
    return err == SPEC_ERR_NOMEM || err == SPEC_ERR_FULL || err == SPEC_ERR_STATE ? EXIT_CHECK : EXIT_USAGE;
}

/* ---- loading ------------------------------------------------------------- */

/* Loads a trace after those there are. A file of prompts alone is no trace: it
 * is left out, with a note, so that a wildcard may catch it. */
static int load_one(session *s, const char *path, trace *list, size_t *n) {
    spec_message why;
    trace *out = &list[*n];
    int rc = trace_load(out, path, s->skip_bad, &why);
    if (rc == SPEC_ERR_UNSUPPORTED) {
        bench_complain("%s; left out", why.text);
        return cli_list_add(&s->left_out, path) ? EXIT_CHECK : EXIT_DONE;
    }
    if (rc != SPEC_OK) {
        bench_complain("%s", why.text);
        return exit_code(rc);
    }
    (*n)++;
    if (out->n) return EXIT_DONE;
    bench_complain("%s: expected at least one request with a response, found none", path);
    return EXIT_USAGE;
}

static int load_list(session *s, const cli_list *files, trace **out, size_t *n) {
    *out = specp_calloc(NULL, files->n ? files->n : 1, sizeof **out);
    if (!*out) {
        bench_complain("out of memory");
        return EXIT_CHECK;
    }
    int rc = EXIT_DONE;
    for (size_t i = 0; i < files->n && rc == EXIT_DONE; i++) rc = load_one(s, files->item[i], *out, n);
    if (rc != EXIT_DONE || *n || !files->n) return rc;
    bench_complain("no trace is left; expected at least one file with recorded responses");
    return EXIT_USAGE;
}

/* Keeps the first n requests. */
static void cut(trace *t, size_t n) {
    for (; t->n > n; t->n--) {
        trace_request *last = &t->req[t->n - 1];
        free(last->id);
        free(last->group);
        free(last->prompt);
        free(last->response);
    }
}

static void arrange(session *s) {
    for (size_t w = 0; w < s->n_workloads; w++) {
        trace *t = &s->workload[w];
        if (s->shuffled) trace_shuffle(t, s->shuffle_seed);
        if (s->limit && t->n > s->limit) cut(t, (size_t)s->limit);
    }
}

int session_load(session *s) {
    int rc = load_list(s, &s->trace_files, &s->workload, &s->n_workloads);
    if (rc == EXIT_DONE) rc = load_list(s, &s->warm_files, &s->warm, &s->n_warm);
    if (rc == EXIT_DONE) arrange(s);
    return rc;
}

/* ---- drafters ------------------------------------------------------------ */

static bool is_suffix(const char *spec) {
    return strncmp(spec, "suffix", 6) == 0 && (!spec[6] || spec[6] == ':');
}

/* The drafter's text with one more option, or NULL when memory is out. */
static char *with_option(const char *spec, const char *key, const char *value) {
    return bench_format("%s%c%s=%s", spec, strchr(spec, ':') ? ',' : ':', key, value);
}

static int open_text(char *spec, spec_drafter **out, spec_message *why) {
    if (!spec) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    why->text[0] = '\0';
    int rc = spec_drafter_open(out, spec, NULL, why);
    if (rc != SPEC_OK && !why->text[0]) specp_fail(why, rc, "%s: %s", spec, spec_strerror(rc));
    free(spec);
    return rc;
}

/* Opens a drafter; suffix drafters get the corpus as one more option. Where
 * nothing is shared, a drafter that can be told so is spared the work of
 * learning for others; the rest are kept apart by a tenant for each request. */
static int open_drafter(const session *s, const char *spec, spec_drafter **out, spec_message *why) {
    if (s->corpus && is_suffix(spec)) return open_text(with_option(spec, "corpus", s->corpus), out, why);
    if (!s->shared && open_text(with_option(spec, "shared", "0"), out, why) == SPEC_OK) return SPEC_OK;
    return open_text(bench_format("%s", spec), out, why);
}

/* The same, under the policy where that is wanted. */
static int open_proposer(const session *s, const char *spec, proposer *g, spec_message *why) {
    int rc = open_drafter(s, spec, &g->drafter, why);
    if (rc != SPEC_OK || !s->goodput) return rc;
    rc = proposer_under_policy(g, g->drafter, &s->cost, PROPOSER_COST_POINTS, (uint32_t)s->budget, why);
    if (rc != SPEC_OK) proposer_free(g);
    return rc;
}

/* Opens every drafter once, so that a wrong name is told before long work. */
static int check_drafters(const session *s) {
    bool takes_corpus = false;
    for (size_t d = 0; d < s->drafters.n; d++) {
        spec_drafter *drafter = NULL;
        spec_message why;
        int rc = open_drafter(s, s->drafters.item[d], &drafter, &why);
        if (rc != SPEC_OK) {
            bool corpus = s->corpus && is_suffix(s->drafters.item[d]);
            bench_complain("-d %s%s: %s", s->drafters.item[d], corpus ? " with --corpus" : "", why.text);
            return exit_code(rc);
        }
        spec_drafter_free(drafter);
        takes_corpus = takes_corpus || is_suffix(s->drafters.item[d]);
    }
    if (!s->corpus || takes_corpus) return EXIT_DONE;
    bench_complain("--corpus needs a suffix drafter; expected -d suffix among the drafters");
    return EXIT_USAGE;
}

/* ---- the progress line --------------------------------------------------- */

typedef struct progress {
    bench_line line;
    const char *workload, *drafter;
} progress;

static void progress_line(void *user, size_t done, size_t of) {
    progress *p = user;
    bench_line_print(&p->line, "%.30s: %.30s, %zu of %zu requests", p->workload, p->drafter, done, of);
}

/* ---- running ------------------------------------------------------------- */

static int run_failed(const session *s, const session_run *r, int rc, const char *why) {
    bench_complain("%s on %s: %s", r->drafter, s->workload[r->workload].name, why);
    return exit_code(rc == SPEC_ERR_CORRUPT ? SPEC_ERR_STATE : rc);
}

static int run_one(const session *s, session_run *r, progress *p) {
    proposer g = {0};
    spec_message why;
    replay_options o = {.budget = (uint32_t)s->budget,
                        .min_prob = (float)s->min_prob,
                        .seed = s->seed,
                        .calibration_skip = s->calibration_skip,
                        .shared = s->shared,
                        .warm = s->warm,
                        .n_warm = s->n_warm,
                        .progress = progress_line,
                        .user = p};
    int rc = open_proposer(s, r->drafter, &g, &why);
    if (rc == SPEC_OK) {
        o.policy = g.policy;
        rc = replay_run(g.drafter, &s->workload[r->workload], &o, &r->m, &why);
        spec_drafter_get_stats(g.drafter, &r->stats);
        proposer_free(&g);
    }
    if (rc != SPEC_OK) {
        bench_line_clear(&p->line);
        return run_failed(s, r, rc, why.text);
    }
    r->cost = cost_model_estimate(&s->cost, &r->m);
    return EXIT_DONE;
}

static int load_corpus(const session *s, spec_index **out) {
    spec_message why;
    spec_index_load_options o = {.size = sizeof o};
    *out = NULL;
    int rc = s->corpus ? spec_index_load(out, s->corpus, &o, &why) : SPEC_OK;
    if (rc == SPEC_OK) return EXIT_DONE;
    bench_complain("%s", why.text);
    return exit_code(rc);
}

static int find_limit(session *s, size_t w, const spec_index *corpus, progress *p) {
    hindsight_options o = {.warm = s->warm,
                           .n_warm = s->n_warm,
                           .corpus = corpus,
                           .shared = s->shared,
                           .budget = (uint32_t)s->budget};
    p->drafter = "copying limit";
    progress_line(p, 0, s->workload[w].n);
    int rc = hindsight_run(&s->limits[w], &s->workload[w], &o);
    if (rc == SPEC_OK) return EXIT_DONE;
    bench_complain("%s: copying limit: %s", s->workload[w].name, spec_strerror(rc));
    return exit_code(rc);
}

static int run_all(session *s, progress *p) {
    spec_index *corpus;
    int rc = load_corpus(s, &corpus);
    for (size_t w = 0; w < s->n_workloads && rc == EXIT_DONE; w++) {
        p->workload = s->workload[w].name;
        rc = find_limit(s, w, corpus, p);
        for (size_t d = 0; d < s->drafters.n && rc == EXIT_DONE; d++) {
            session_run *r = &s->run[s->n_runs++];
            r->drafter = p->drafter = s->drafters.item[d];
            r->workload = w;
            rc = run_one(s, r, p);
        }
    }
    spec_index_free(corpus);
    return rc;
}

int session_execute(session *s) {
    progress p = {.line = {.wanted = !s->quiet}};
    int rc = jout_check(s->json);
    if (rc == EXIT_DONE) rc = check_drafters(s);
    if (rc != EXIT_DONE) return rc;
    s->limits = specp_calloc(NULL, s->n_workloads, sizeof *s->limits);
    s->run = specp_calloc(NULL, s->n_workloads * s->drafters.n, sizeof *s->run);
    if (!s->limits || !s->run) {
        bench_complain("out of memory");
        return EXIT_CHECK;
    }
    rc = run_all(s, &p);
    bench_line_clear(&p.line);
    if (rc != EXIT_DONE) return rc;
    if (!s->quiet) report_tables(s, jout_tables(s->json));
    return jout_report(s->json, report_json, s);
}
