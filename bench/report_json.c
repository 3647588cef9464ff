/* SPDX-License-Identifier: MIT */
/*
 * The report as JSON, schema "specbench/1" (docs/FORMATS.md). What has no value
 * (a rate with nothing to divide by) is null.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "session.h"
#include "util.h"

/* Every setter steals its value and remembers nothing: a refusal of memory
 * shows when a NULL reaches json_object_set_new, which then returns -1. */
typedef struct object {
    json_t *o;
    bool failed;
} object;

static object object_new(void) {
    json_t *o = json_object();
    return (object){o, !o};
}

static void put(object *x, const char *key, json_t *value) {
    if (json_object_set_new(x->o, key, value)) x->failed = true;
}

static void put_int(object *x, const char *key, uint64_t v) { put(x, key, json_integer((json_int_t)v)); }

/* A file name may be any bytes; JSON takes UTF-8 only. */
static json_t *text(const char *v) {
    json_t *j = json_string(v);
    char *copy = j ? NULL : bench_copy_text(v, strlen(v));
    if (!copy) return j;
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p >= 128) *p = '?';
    j = json_string(copy);
    free(copy);
    return j;
}

static void put_text(object *x, const char *key, const char *v) { put(x, key, v ? text(v) : json_null()); }
static json_t *real(double v) { return isfinite(v) ? json_real(v) : json_null(); }
static void put_real(object *x, const char *key, double v) { put(x, key, real(v)); }

/* Puts a finished child, or notes its failure. */
static void put_object(object *x, const char *key, object child) {
    if (child.failed) x->failed = true;
    put(x, key, child.o);
}

/* Appends; a failure shows up as a NULL array put into its object. */
static json_t *append(json_t *list, json_t *value) {
    if (!list || json_array_append_new(list, value) == 0) return list;
    json_decref(list);
    return NULL;
}

static json_t *finished(object x) {
    if (!x.failed) return x.o;
    json_decref(x.o);
    return NULL;
}

/* ---- cells --------------------------------------------------------------- */

static void put_times(object *x, const char *key, stats_times t) {
    object o = object_new();
    put_real(&o, "mean", t.mean / 1000);
    put_real(&o, "p50", t.p50 / 1000);
    put_real(&o, "p99", t.p99 / 1000);
    put_object(x, key, o);
}

static void put_interval(object *x, const metrics_cell *c) {
    object ci = object_new();
    put(&ci, "tokens_per_step",
        isnan(c->ci95[0]) ? json_null() : append(append(json_array(), real(c->ci95[0])), real(c->ci95[1])));
    put_object(x, "ci95", ci);
}

static void put_sums(object *x, const metrics_cell *c) {
    put_int(x, "steps", c->steps);
    put_int(x, "tokens_out", c->out);
    put_int(x, "tokens_drafted", c->drafted);
    put_int(x, "tokens_accepted", c->accepted);
    put_int(x, "hits", c->hits);
    put_int(x, "top1_hits", c->top1);
    put_real(x, "tokens_per_step", metrics_tokens_per_step(c));
    if (c->requests) put_real(x, "tokens_per_step_macro", metrics_tokens_per_step_macro(c));
    put_real(x, "accepted_per_step", metrics_accepted_per_step(c));
    put_real(x, "acceptance_rate", metrics_acceptance_rate(c));
    put_real(x, "hit_rate", metrics_hit_rate(c));
    put_real(x, "top1", metrics_top1(c));
    put_real(x, "top1_unconditional", metrics_top1_unconditional(c));
}

static void put_positions(object *x, const metrics_cell *c) {
    json_t *conditional = json_array(), *unconditional = json_array(), *offered = json_array(),
           *histogram = json_array();
    for (size_t k = 1; metrics_offered(c, k); k++) {
        conditional = append(conditional, real(metrics_conditional(c, k)));
        unconditional = append(unconditional, real(metrics_unconditional(c, k)));
        offered = append(offered, json_integer((json_int_t)metrics_offered(c, k)));
    }
    for (size_t k = 0; k < c->n_length; k++)
        histogram = append(histogram, json_integer((json_int_t)c->length[k]));
    put(x, "position_offered", offered);
    put(x, "position_conditional", conditional);
    put(x, "position_unconditional", unconditional);
    put(x, "accepted_histogram", histogram);
}

/* What every cell has that counts requests. */
static void put_cell(object *x, const metrics_cell *c) {
    put_int(x, "requests", c->requests);
    put_sums(x, c);
    put_positions(x, c);
    put_interval(x, c);
}

/* ---- a run --------------------------------------------------------------- */

static json_t *groups(const metrics *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_groups; i++) {
        object o = object_new();
        put_text(&o, "group", m->group[i].name);
        put_cell(&o, &m->group[i].cell);
        list = append(list, finished(o));
    }
    return list;
}

static json_t *quarters(const metrics *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < METRICS_QUARTERS; i++) {
        object o = object_new();
        put_int(&o, "quarter", i + 1);
        put_cell(&o, &m->quarter[i]);
        list = append(list, finished(o));
    }
    return list;
}

static json_t *match_lengths(const metrics *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < METRICS_MATCHES; i++) {
        object o = object_new();
        uint32_t low, high;
        metrics_match_range(i, &low, &high);
        put_int(&o, "from", low);
        put(&o, "to", high == UINT32_MAX ? json_null() : json_integer(high));
        put_sums(&o, &m->match[i]);
        put_positions(&o, &m->match[i]);
        list = append(list, finished(o));
    }
    return list;
}

static double share(uint64_t part, uint64_t of) { return of ? (double)part / (double)of : NAN; }

static json_t *sources(const metrics *m) {
    json_t *list = json_array();
    for (int i = 0; i < 256; i++) {
        const metrics_source *c = &m->source[i];
        object o;
        if (c->drafted == 0) continue;
        o = object_new();
        put_text(&o, "source", spec_source_name(i));
        put_int(&o, "number", (uint64_t)i);
        put_int(&o, "tokens_drafted", c->drafted);
        put_int(&o, "tokens_accepted", c->accepted);
        put_real(&o, "acceptance_rate", share(c->accepted, c->drafted));
        put_int(&o, "first", c->first);
        put_int(&o, "top1_hits", c->top1);
        put_real(&o, "top1", share(c->top1, c->first));
        list = append(list, finished(o));
    }
    return list;
}

static void put_index(object *x, const spec_drafter_stats *stats) {
    object o = object_new();
    put_int(&o, "tokens", stats->index_tokens);
    put_int(&o, "states", stats->index_states);
    put_int(&o, "bytes", stats->index_bytes);
    put_real(&o, "bytes_per_token", share(stats->index_bytes, stats->index_tokens));
    put_int(&o, "evicted", stats->evicted);
    put_object(x, "index", o);
}

static void put_run_times(object *x, const metrics *m) {
    double update_ns = m->update.mean * (double)m->total.steps;
    put_times(x, "draft_us", m->draft);
    put_times(x, "update_us", m->update);
    put_real(x, "update_ns_per_token", m->total.out ? update_ns / (double)m->total.out : NAN);
    put_real(x, "prompt_ns_per_token", share(m->begin_ns, m->prompt_tokens));
    put_real(x, "end_us_per_request", m->n_requests ? (double)m->end_ns / 1000 / (double)m->n_requests : NAN);
}

static json_t *run_json(const session *s, const session_run *r) {
    object o = object_new();
    double limit = s->limits[r->workload].limit;
    put_text(&o, "drafter", r->drafter);
    put_text(&o, "workload", s->workload[r->workload].name);
    put_cell(&o, &r->m.total);
    put_real(&o, "hindsight_limit", limit);
    put_real(&o, "share_of_limit", metrics_tokens_per_step(&r->m.total) / limit);
    put_real(&o, "break_even_tokens_per_step", r->cost.break_even);
    put_real(&o, "predicted_speedup", r->cost.speedup);
    put_run_times(&o, &r->m);
    put_index(&o, &r->stats);
    put(&o, "groups", groups(&r->m));
    put(&o, "quarters", quarters(&r->m));
    put(&o, "sources", sources(&r->m));
    put(&o, "match_lengths", match_lengths(&r->m));
    return finished(o);
}

/* ---- around the runs ----------------------------------------------------- */

static json_t *texts(const cli_list *l) {
    json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++) list = append(list, text(l->item[i]));
    return list;
}

static json_t *cost_json(const cost_model *m) {
    object o = object_new();
    json_t *points = json_array();
    for (size_t i = 0; i < m->n; i++)
        points = append(points, append(append(json_array(), real(m->point[i].n)), real(m->point[i].ratio)));
    put_text(&o, "name", m->name);
    put_real(&o, "t1_us", m->t1_us > 0 ? m->t1_us : NAN);
    put(&o, "points", points);
    return finished(o);
}

static json_t *settings(const session *s) {
    object o = object_new();
    put_int(&o, "budget", s->budget);
    put_int(&o, "seed", s->seed);
    put(&o, "shared", json_boolean(s->shared));
    put(&o, "shuffle", s->shuffled ? json_integer((json_int_t)s->shuffle_seed) : json_null());
    put(&o, "limit", s->limit ? json_integer((json_int_t)s->limit) : json_null());
    put(&o, "skip_bad", json_boolean(s->skip_bad));
    put(&o, "traces", texts(&s->trace_files));
    put(&o, "left_out", texts(&s->left_out));
    put(&o, "warm", texts(&s->warm_files));
    put_text(&o, "corpus", s->corpus);
    put(&o, "cost_model", cost_json(&s->cost));
    return finished(o);
}

static json_t *workloads(const session *s) {
    json_t *list = json_array();
    for (size_t w = 0; w < s->n_workloads; w++) {
        const trace *t = &s->workload[w];
        object o = object_new();
        uint64_t prompt = 0, response = 0;
        for (size_t i = 0; i < t->n; i++) {
            prompt += t->req[i].n_prompt;
            response += t->req[i].n_response;
        }
        put_text(&o, "name", t->name);
        put_int(&o, "requests", t->n);
        put_int(&o, "prompt_tokens", prompt);
        put_int(&o, "response_tokens", response);
        put_int(&o, "skipped_empty", t->n_empty);
        put_int(&o, "skipped_bad", t->n_bad);
        put_text(&o, "first_bad", t->first_bad);
        put_real(&o, "hindsight_limit", s->limits[w].limit);
        list = append(list, finished(o));
    }
    return list;
}

/* The processor's name as Linux gives it, or NULL. */
static json_t *processor(void) {
    char line[256];
    json_t *name = NULL;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && !name && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        name = json_string(colon + 2);
    }
    if (f) fclose(f);
    return name ? name : json_null();
}

static json_t *machine(void) {
    object o = object_new();
    struct utsname u;
    put(&o, "processor", processor());
    put_int(&o, "cores", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    if (uname(&u) == 0) {
        put_text(&o, "system", u.sysname);
        put_text(&o, "release", u.release);
        put_text(&o, "architecture", u.machine);
    }
    return finished(o);
}

static json_t *build(void) {
    object o = object_new();
#if defined(__clang__)
    put_text(&o, "compiler", __VERSION__);
#else
    put_text(&o, "compiler", "gcc " __VERSION__);
#endif
#if defined(__OPTIMIZE__)
    put(&o, "optimized", json_true());
#else
    put(&o, "optimized", json_false());
#endif
    return finished(o);
}

int report_json(FILE *out, void *user) {
    const session *s = user;
    json_t *runs = json_array();
    object o = object_new();
    for (size_t i = 0; i < s->n_runs; i++) runs = append(runs, run_json(s, &s->run[i]));
    put_text(&o, "schema", "specbench/1");
    put_text(&o, "version", spec_version());
    put_text(&o, "command", s->command);
    put(&o, "machine", machine());
    put(&o, "build", build());
    put(&o, "settings", settings(s));
    put(&o, "workloads", workloads(s));
    put(&o, "runs", runs);
    int rc = o.failed
                 ? -1
                 : json_dumpf(o.o, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) || fputc('\n', out) == EOF;
    json_decref(o.o);
    return rc;
}
