/* SPDX-License-Identifier: MIT */
/* The report of a live session as JSON, schema "specbench/1" (docs/FORMATS.md). */
#include <jansson.h>
#include <math.h>

#include "jout.h"
#include "live.h"
#include "metrics_json.h"

static json_t *passes(const engine_run *r) {
    json_t *list = json_array();
    for (size_t n = 1; n < r->n_pass; n++) {
        if (!r->pass[n].count) continue;
        jout o = jout_begin();
        jout_int(&o, "rows", n);
        jout_int(&o, "count", r->pass[n].count);
        jout_real(&o, "mean_us", (double)r->pass[n].ns / (double)r->pass[n].count / 1e3);
        list = jout_append(list, jout_end(o));
    }
    return list;
}

static json_t *ends(const engine_run *r) {
    static const char *const name[] = {"limit", "eos", "stop", "context"};
    uint64_t count[4] = {0};
    for (size_t i = 0; i < r->n; i++) count[r->response[i].end] += r->response[i].n > 0;
    jout o = jout_begin();
    for (size_t i = 0; i < 4; i++) jout_int(&o, name[i], count[i]);
    return jout_end(o);
}

static void speeds(jout *o, const live *s, const live_run *r) {
    jout_real(o, "tokens_per_second", r->tokens_per_second);
    jout_real(o, "baseline_tokens_per_second", s->run[0].tokens_per_second);
    jout_real(o, "speedup", r->speedup);
    jout_put(o, "speedup_ci95",
             isnan(r->speedup_ci95[0])
                 ? json_null()
                 : jout_append(jout_append(json_array(), jout_value(r->speedup_ci95[0])),
                               jout_value(r->speedup_ci95[1])));
    jout_real(o, "speedup_with_prompts", r->speedup_total);
    jout_put(o, "identical", r->sampled && !r->identical ? json_null() : json_boolean(r->identical));
    jout_bool(o, "drafts_sampled", r->sampled);
    jout_put(o, "replay_agrees",
             r->replay == LIVE_REPLAY_NONE ? json_null() : json_boolean(r->replay == LIVE_REPLAY_SAME));
    jout_text(o, "replay_note", r->replay_note);
}

static json_t *run_json(const live *s, const live_run *r) {
    jout o = jout_begin();
    jout_text(&o, "drafter", r->drafter);
    jout_text(&o, "workload", s->prompts.name);
    speeds(&o, s, r);
    metrics_json_cell(&o, &r->run.m.total);
    jout_real(&o, "hindsight_limit", s->copy_limit);
    jout_real(&o, "share_of_limit", metrics_tokens_per_step(&r->run.m.total) / s->copy_limit);
    jout_real(&o, "break_even_tokens_per_step", r->break_even);
    metrics_json_times(&o, "verify_us", r->run.verify);
    jout_put(&o, "passes", passes(&r->run));
    jout_put(&o, "ends", ends(&r->run));
    jout_int(&o, "prompt_rows", r->run.prompt_rows);
    jout_real(&o, "prompt_seconds", (double)r->run.prompt_ns / 1e9);
    jout_real(&o, "decode_seconds", (double)r->run.decode_ns / 1e9);
    metrics_json_run_times(&o, &r->run.m);
    metrics_json_index(&o, &r->run.stats);
    metrics_json_parts(&o, &r->run.m);
    return jout_end(o);
}

static json_t *settings(const live *s) {
    jout o = jout_begin();
    json_t *stops = json_array();
    for (size_t i = 0; i < s->stop.n; i++) stops = jout_append(stops, jout_string(s->stop.item[i]));
    jout_int(&o, "budget", s->budget);
    jout_text(&o, "policy", s->goodput ? "goodput" : "fixed");
    jout_int(&o, "batch", s->batch);
    jout_int(&o, "rounds", s->repeat);
    jout_int(&o, "max_tokens", s->max_tokens);
    jout_int(&o, "seed", s->seed);
    jout_real(&o, "temperature", s->temperature);
    jout_int(&o, "top_k", s->top_k);
    jout_real(&o, "top_p", s->top_p);
    jout_real(&o, "min_p", s->min_p);
    jout_real(&o, "repetition_penalty", s->penalty);
    jout_put(&o, "ignore_eos", json_boolean(s->ignore_eos));
    jout_put(&o, "stop", stops);
    jout_text(&o, "chat", spec_chat_name(s->engine.chat));
    jout_put(&o, "limit", s->limit ? json_integer((json_int_t)s->limit) : json_null());
    jout_text(&o, "prompts", s->prompt_file);
    return jout_end(o);
}

static json_t *workloads(const live *s) {
    jout o = jout_begin();
    const engine_run *plain = &s->run[0].run;
    uint64_t asked = 0;
    for (size_t i = 0; i < plain->n; i++) asked += plain->response[i].n_asked;
    jout_text(&o, "name", s->prompts.name);
    jout_int(&o, "requests", plain->n - plain->left_out);
    jout_int(&o, "prompt_tokens", asked);
    jout_int(&o, "response_tokens", plain->m.total.out);
    jout_int(&o, "left_out", plain->left_out);
    jout_int(&o, "skipped_bad", s->prompts.n_bad);
    jout_text(&o, "first_bad", s->prompts.first_bad);
    jout_real(&o, "hindsight_limit", s->copy_limit);
    return jout_append(json_array(), jout_end(o));
}

int report_live_json(FILE *out, void *user) {
    const live *s = user;
    json_t *runs = json_array();
    jout o = jout_begin();
    for (size_t i = 0; i < s->n_runs; i++) runs = jout_append(runs, run_json(s, &s->run[i]));
    jout_heading(&o, s->command);
    jout_put(&o, "settings", settings(s));
    model_put_json(&o, s->target);
    jout_int(&o, "peak_memory_bytes", s->peak_bytes);
    jout_put(&o, "workloads", workloads(s));
    jout_put(&o, "runs", runs);
    return jout_write(o, out);
}
