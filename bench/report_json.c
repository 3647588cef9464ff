/* SPDX-License-Identifier: MIT */
/*
 * The report as JSON, schema "specbench/1" (docs/FORMATS.md). What has no value
 * (a rate with nothing to divide by) is null.
 */
#include <jansson.h>
#include <math.h>

#include "jout.h"
#include "metrics_json.h"
#include "session.h"

static json_t *run_json(const session *s, const session_run *r) {
    jout o = jout_begin();
    double limit = s->limits[r->workload].limit;
    jout_text(&o, "drafter", r->drafter);
    jout_text(&o, "workload", s->workload[r->workload].name);
    metrics_json_cell(&o, &r->m.total);
    jout_real(&o, "hindsight_limit", limit);
    jout_real(&o, "share_of_limit", metrics_tokens_per_step(&r->m.total) / limit);
    jout_real(&o, "break_even_tokens_per_step", r->cost.break_even);
    jout_real(&o, "predicted_speedup", r->cost.speedup);
    metrics_json_run_times(&o, &r->m);
    metrics_json_index(&o, &r->stats);
    metrics_json_parts(&o, &r->m);
    return jout_end(o);
}

/* ---- around the runs ----------------------------------------------------- */

static json_t *texts(const cli_list *l) {
    json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++) list = jout_append(list, jout_string(l->item[i]));
    return list;
}

static json_t *cost_json(const cost_model *m) {
    jout o = jout_begin();
    json_t *points = json_array();
    for (size_t i = 0; i < m->n; i++)
        points = jout_append(points, jout_append(jout_append(json_array(), jout_value(m->point[i].n)),
                                                 jout_value(m->point[i].ratio)));
    jout_text(&o, "name", m->name);
    jout_real(&o, "t1_us", m->t1_us > 0 ? m->t1_us : NAN);
    jout_put(&o, "points", points);
    return jout_end(o);
}

static json_t *settings(const session *s) {
    jout o = jout_begin();
    jout_int(&o, "budget", s->budget);
    jout_text(&o, "policy", s->goodput ? "goodput" : "fixed");
    jout_real(&o, "min_prob", s->min_prob);
    jout_int(&o, "seed", s->seed);
    jout_put(&o, "shared", json_boolean(s->shared));
    jout_put(&o, "shuffle", s->shuffled ? json_integer((json_int_t)s->shuffle_seed) : json_null());
    jout_put(&o, "limit", s->limit ? json_integer((json_int_t)s->limit) : json_null());
    jout_put(&o, "skip_bad", json_boolean(s->skip_bad));
    jout_put(&o, "traces", texts(&s->trace_files));
    jout_put(&o, "left_out", texts(&s->left_out));
    jout_put(&o, "warm", texts(&s->warm_files));
    jout_text(&o, "corpus", s->corpus);
    jout_put(&o, "cost_model", cost_json(&s->cost));
    return jout_end(o);
}

static json_t *workloads(const session *s) {
    json_t *list = json_array();
    for (size_t w = 0; w < s->n_workloads; w++) {
        const trace *t = &s->workload[w];
        jout o = jout_begin();
        uint64_t prompt = 0, response = 0;
        for (size_t i = 0; i < t->n; i++) {
            prompt += t->req[i].n_prompt;
            response += t->req[i].n_response;
        }
        jout_text(&o, "name", t->name);
        jout_int(&o, "requests", t->n);
        jout_int(&o, "prompt_tokens", prompt);
        jout_int(&o, "response_tokens", response);
        jout_int(&o, "skipped_empty", t->n_empty);
        jout_int(&o, "skipped_bad", t->n_bad);
        jout_text(&o, "first_bad", t->first_bad);
        jout_real(&o, "hindsight_limit", s->limits[w].limit);
        list = jout_append(list, jout_end(o));
    }
    return list;
}

int report_json(FILE *out, void *user) {
    const session *s = user;
    json_t *runs = json_array();
    jout o = jout_begin();
    for (size_t i = 0; i < s->n_runs; i++) runs = jout_append(runs, run_json(s, &s->run[i]));
    jout_heading(&o, s->command);
    jout_put(&o, "settings", settings(s));
    jout_put(&o, "workloads", workloads(s));
    jout_put(&o, "runs", runs);
    return jout_write(o, out);
}
