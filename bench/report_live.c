/* SPDX-License-Identifier: MIT */
/* The tables of a live session at 80 columns. */
#include <math.h>
#include <string.h>

#include "format.h"
#include "live.h"

/* How tokens are chosen. */
static void law(const live *s, FILE *out) {
    if (s->temperature > 0) {
        fprintf(out, "seed %llu\ntemperature %g", (unsigned long long)s->seed, s->temperature);
        if (s->top_k) fprintf(out, ", top-k %llu", (unsigned long long)s->top_k);
        if (s->top_p < 1) fprintf(out, ", top-p %g", s->top_p);
        if (s->min_p > 0) fprintf(out, ", min-p %g", s->min_p);
    } else {
        fputs("greedy", out);
    }
    if (s->penalty > 0 && s->penalty != 1) fprintf(out, ", repetition penalty %g", s->penalty);
    fputc('\n', out);
}

static void heading(const live *s, FILE *out) {
    uint64_t asked = 0;
    const engine_run *plain = &s->run[0].run;
    size_t answered = 0;
    for (size_t i = 0; i < plain->n; i++) {
        asked += plain->response[i].n_asked;
        answered += plain->response[i].n > 0;
    }
    fprintf(out, "specbench %s, budget %llu%s, batch %llu, %llu round%s, ", s->command,
            (unsigned long long)s->budget, s->goodput ? " at most, policy goodput" : "",
            (unsigned long long)s->batch, (unsigned long long)s->repeat, fmt_plural(s->repeat));
    law(s, out);
    model_describe(s->target, out);
    fprintf(out, "prompts  %s: %s request%s, %s prompt and %s response tokens\n", s->prompts.name,
            fmt_count(answered).text, fmt_plural(answered), fmt_count(asked).text,
            fmt_count(plain->m.total.out).text);
    if (plain->left_out)
        fprintf(out, "         left out: %s, empty or too long for the context\n",
                fmt_count(plain->left_out).text);
    if (s->prompts.n_bad)
        fprintf(out, "         left out: %s faulty line%s, the first: %s\n", fmt_count(s->prompts.n_bad).text,
                fmt_plural(s->prompts.n_bad), s->prompts.first_bad);
}

static const char *same_word(const live *s, const live_run *r) {
    return r == s->run ? "-" : r->identical ? "yes" : r->sampled ? "law" : "NO";
}

static const char *replay_word(const live_run *r) {
    return r->replay == LIVE_REPLAY_NONE ? "-" : r->replay == LIVE_REPLAY_SAME ? "yes" : "NO";
}

static void speed_table(const live *s, FILE *out) {
    fprintf(out, "\n%-*s%8s%8s%12s%9s%6s%6s%6s%5s\n", TABLE_NAME, "drafter", "tok/s", "speedup", "95%",
            "tok/step", "hit%", "T1%", "same", "rep");
    table_rule(out, 80);
    for (size_t i = 0; i < s->n_runs; i++) {
        const live_run *r = &s->run[i];
        const metrics_cell *c = &r->run.m.total;
        table_drafter(out, r->drafter);
        fprintf(out, "%8s%8s%12s%9s%6s%6s%6s%5s\n", fmt_real(r->tokens_per_second, 1).text,
                fmt_ratio(r->speedup).text, i ? fmt_range(r->speedup_ci95[0], r->speedup_ci95[1]).text : "-",
                fmt_real(metrics_tokens_per_step(c), 2).text, fmt_percent(metrics_hit_rate(c)).text,
                fmt_percent(metrics_top1(c)).text, same_word(s, r), replay_word(r));
    }
}

static double share(uint64_t part, uint64_t of) { return of ? (double)part / (double)of : NAN; }

static uint64_t verify_sum(const engine_run *r) {
    uint64_t ns = 0;
    for (size_t n = 0; n < r->n_pass; n++) ns += r->pass[n].ns;
    return ns;
}

static void draft_table(const live *s, FILE *out) {
    fprintf(out, "\n%-*s%18s%24s%18s\n", TABLE_NAME, "", "tokens a step", "", "us a step");
    fprintf(out, "%-*s%9s%9s%8s%8s%8s%9s%9s\n", TABLE_NAME, "drafter", "drafted", "kept", "kept%", "limit%",
            "even", "draft", "update");
    table_rule(out, 80);
    for (size_t i = 0; i < s->n_runs; i++) {
        const live_run *r = &s->run[i];
        const metrics *m = &r->run.m;
        const metrics_cell *c = &m->total;
        table_drafter(out, r->drafter);
        fprintf(out, "%9s%9s%8s%8s%8s%9s%9s\n", fmt_real(share(c->drafted, c->steps), 1).text,
                fmt_real(metrics_accepted_per_step(c), 2).text, fmt_percent(metrics_acceptance_rate(c)).text,
                fmt_percent(metrics_tokens_per_step(c) / s->copy_limit).text, fmt_ratio(r->break_even).text,
                fmt_real(m->draft.mean / 1e3, 2).text, fmt_real(m->update.mean / 1e3, 2).text);
    }
}

static void cost_table(const live *s, FILE *out) {
    fprintf(out, "\n%-*s%27s%15s\n", TABLE_NAME, "", "one pass, ms     ", "with prompts");
    fprintf(out, "%-*s%9s%9s%9s%15s\n", TABLE_NAME, "drafter", "p50", "p99", "share%", "speedup");
    table_rule(out, TABLE_NAME + 42);
    for (size_t i = 0; i < s->n_runs; i++) {
        const live_run *r = &s->run[i];
        const engine_run *e = &r->run;
        table_drafter(out, r->drafter);
        fprintf(out, "%9s%9s%9s%15s\n", fmt_real(e->verify.p50 / 1e6, 2).text,
                fmt_real(e->verify.p99 / 1e6, 2).text, fmt_percent(share(verify_sum(e), e->decode_ns)).text,
                fmt_ratio(r->speedup_total).text);
    }
}

/* ---- passes by size ------------------------------------------------------ */

enum { SIZES = 24 }; /* 1024 sequences and drafts as large as can be */

/* 1, 2, 3-4, 5-8, ...: the bucket of n rows. */
static size_t bucket(size_t n) {
    size_t b = 0;
    while (((size_t)1 << b) < n && b + 1 < SIZES) b++;
    return b;
}

/* All drafters' passes together: a pass costs what its rows cost. */
static void sum_passes(const live *s, engine_pass *sum) {
    for (size_t i = 0; i < s->n_runs; i++)
        for (size_t n = 1; n < s->run[i].run.n_pass; n++) {
            sum[bucket(n)].count += s->run[i].run.pass[n].count;
            sum[bucket(n)].ns += s->run[i].run.pass[n].ns;
        }
}

static void pass_table(const live *s, FILE *out) {
    engine_pass sum[SIZES] = {{0, 0}};
    double base = NAN;
    sum_passes(s, sum);
    fprintf(out, "\n%-*s%12s%12s%12s\n", TABLE_NAME, "rows of a pass", "passes", "mean ms", "T(N)/T(1)");
    table_rule(out, TABLE_NAME + 36);
    for (size_t b = 0; b < SIZES; b++) {
        char name[32];
        size_t low = b ? ((size_t)1 << (b - 1)) + 1 : 1, high = (size_t)1 << b;
        if (!sum[b].count) continue;
        double ms = (double)sum[b].ns / (double)sum[b].count / 1e6;
        if (b == 0) base = ms;
        snprintf(name, sizeof name, low == high ? "%zu" : "%zu-%zu", low, high);
        fprintf(out, "%-*s%12s%12s%12s\n", TABLE_NAME, name, fmt_count(sum[b].count).text,
                fmt_real(ms, 2).text, fmt_real(ms / base, 2).text);
    }
}

static void legend(const live *s, FILE *out) {
    fprintf(out,
            "\ntok/s     response tokens per second, prompts not counted; speedup: over plain,\n"
            "          95%%: interval of it, by drawing the requests again\n"
            "tok/step  tokens per pass of the model; hit%%: steps with a draft; T1%%: of those,\n"
            "          first drafted token right\n"
            "same      output equal to plain decoding's, token for token, in every round;\n"
            "          law: its drafts are drawn, and the text is another of the same law\n"
            "rep       replaying the record gives the same acceptance (-: not asked)\n"
            "kept%%     drafted tokens accepted; limit%%: of the tok/step that copying earlier\n"
            "          text could reach at best: %s\n"
            "even      tok/step at which drafting pays here: a step's cost over a plain one's\n"
            "share%%    time in the model, of decoding\n"
            "memory    %s at most, all drafters together\n",
            fmt_real(s->copy_limit, 2).text, fmt_bytes((double)s->peak_bytes).text);
}

void report_live(const live *s, FILE *out) {
    if (s->brief) {
        speed_table(s, out);
        fputs("\nspeedup  over plain decoding, by this machine's clock; same: the same output\n"
              "rep      replaying the record gives the same acceptance ('specbench run --help')\n",
              out);
        return;
    }
    heading(s, out);
    speed_table(s, out);
    draft_table(s, out);
    cost_table(s, out);
    pass_table(s, out);
    for (size_t i = 1; i < s->n_runs && s->calibration; i++)
        calibration_table(&s->run[i].run.m.calibration, s->run[i].drafter, out);
    legend(s, out);
}
