/* SPDX-License-Identifier: MIT */
/*
 * The tables of a session at 80 columns: for each workload one on acceptance,
 * one on cost, and the details asked for; over several workloads an overview.
 */
#include <math.h>
#include <string.h>

#include "format.h"
#include "session.h"

static void left_out(const trace *t, FILE *out) {
    if (t->n_empty)
        fprintf(out, "  left out: %s request%s with an empty response\n", fmt_count(t->n_empty).text,
                fmt_plural(t->n_empty));
    if (t->n_bad)
        fprintf(out, "  left out: %s faulty line%s, the first: %s\n", fmt_count(t->n_bad).text,
                fmt_plural(t->n_bad), t->first_bad);
}

static void settings_heading(const session *s, FILE *out) {
    fprintf(out, "specbench %s, budget %llu", s->command, (unsigned long long)s->budget);
    if (s->goodput) fprintf(out, " at most, policy goodput");
    if (s->min_prob > 0) fprintf(out, ", min-prob %g", s->min_prob);
    if (!s->shared) fprintf(out, ", nothing shared between requests");
    if (s->shuffled) fprintf(out, ", shuffled with seed %llu", (unsigned long long)s->shuffle_seed);
    if (s->corpus) fprintf(out, ", corpus %s", s->corpus);
    fputc('\n', out);
    for (size_t i = 0; i < s->n_warm; i++) {
        fprintf(out, "warmed with %s: %s request%s\n", s->warm[i].name, fmt_count(s->warm[i].n).text,
                fmt_plural(s->warm[i].n));
        left_out(&s->warm[i], out);
    }
}

static void workload_heading(const session *s, size_t w, FILE *out) {
    const trace *t = &s->workload[w];
    uint64_t prompt = 0, response = 0;
    for (size_t i = 0; i < t->n; i++) {
        prompt += t->req[i].n_prompt;
        response += t->req[i].n_response;
    }
    fprintf(out, "\n%s: %s request%s, %s prompt and %s response tokens\n", t->name, fmt_count(t->n).text,
            fmt_plural(t->n), fmt_count(prompt).text, fmt_count(response).text);
    left_out(t, out);
}

static void acceptance_table(const session *s, size_t w, FILE *out) {
    double limit = s->limits[w].limit;
    fprintf(out, "\n%-*s%9s%12s%6s%6s%6s%7s%6s%8s\n", TABLE_NAME, "drafter", "tok/step", "95%", "hit%", "T1%",
            "kept%", "limit%", "even", "speedup");
    table_rule(out, 80);
    for (size_t d = 0; d < s->drafters.n; d++) {
        const session_run *r = session_at(s, w, d);
        const metrics_cell *c = &r->m.total;
        double tps = metrics_tokens_per_step(c);
        table_drafter(out, r->drafter);
        fprintf(out, "%9s%12s%6s%6s%6s%7s%6s%8s\n", fmt_real(tps, 2).text,
                fmt_range(c->ci95[0], c->ci95[1]).text, fmt_percent(metrics_hit_rate(c)).text,
                fmt_percent(metrics_top1(c)).text, fmt_percent(metrics_acceptance_rate(c)).text,
                fmt_percent(tps / limit).text, fmt_ratio(r->cost.break_even).text,
                fmt_ratio(r->cost.speedup).text);
    }
}

static void cost_table(const session *s, size_t w, FILE *out) {
    fprintf(out, "\n%-*s%27s%10s%10s%13s\n", TABLE_NAME, "", "draft, us a step   ", "update", "prompt",
            "index");
    fprintf(out, "%-*s%9s%9s%9s%10s%10s%13s\n", TABLE_NAME, "drafter", "p50", "p99", "mean", "ns/token",
            "ns/token", "bytes/token");
    table_rule(out, 80);
    for (size_t d = 0; d < s->drafters.n; d++) {
        const session_run *r = session_at(s, w, d);
        const metrics *m = &r->m;
        table_drafter(out, r->drafter);
        fprintf(out, "%9s%9s%9s%10s%10s%13s\n", fmt_real(m->draft.p50 / 1000, 2).text,
                fmt_real(m->draft.p99 / 1000, 2).text, fmt_real(m->draft.mean / 1000, 2).text,
                fmt_real(m->update.mean * (double)m->total.steps / (double)m->total.out, 0).text,
                fmt_real(m->prompt_tokens ? (double)m->begin_ns / (double)m->prompt_tokens : NAN, 0).text,
                fmt_real(r->stats.index_tokens ? (double)r->stats.index_bytes / (double)r->stats.index_tokens
                                               : NAN,
                         1)
                    .text);
    }
}

static void legend(const session *s, FILE *out) {
    fprintf(out,
            "\ntok/step  tokens per run of the model: 1 is plain decoding, more is better\n"
            "95%%       interval of it, by drawing the requests again\n"
            "hit%%      steps with a draft; T1%%: of those, first drafted token right\n"
            "kept%%     drafted tokens accepted (of at most %llu a step)\n"
            "limit%%    of the tok/step that copying earlier text could reach at best%s%s\n"
            "even      tok/step at which drafting pays; speedup: predicted. Both by the\n"
            "          cost model \"%s\"\n",
            (unsigned long long)s->budget, s->n_workloads == 1 ? ": " : "",
            s->n_workloads == 1 ? fmt_real(s->limits[0].limit, 2).text : "", s->cost.name);
}

void report_tables(const session *s, FILE *out) {
    settings_heading(s, out);
    for (size_t w = 0; w < s->n_workloads && !s->overview_only; w++) {
        workload_heading(s, w, out);
        acceptance_table(s, w, out);
        cost_table(s, w, out);
        report_details(s, w, out);
    }
    if (!s->overview_only) legend(s, out);
    if (s->n_workloads > 1) report_overview(s, out);
}
