/* SPDX-License-Identifier: MIT */
/* Reports as tab-separated values, for plots and scripts: a line of names, then a line for each run, bin
 * of calibration, or match length. "-" stands for what has no value. */
#include <math.h>

#include "report_file.h"

const char *const report_lists[] = {"runs", "bins", "matches", NULL};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef struct field {
    const char *name, *path;
} field;

static const field of_settings[] = {
    {"budget", "settings.budget"},
    {"min_prob", "settings.min_prob"},
    {"temperature", "settings.temperature"},
};

static const field of_run[] = {
    {"steps", "steps"},
    {"tokens_out", "tokens_out"},
    {"tokens_drafted", "tokens_drafted"},
    {"tokens_accepted", "tokens_accepted"},
    {"tokens_per_step", "tokens_per_step"},
    {"low", "ci95.tokens_per_step.0"},
    {"high", "ci95.tokens_per_step.1"},
    {"drafted_per_step", "drafted_per_step"},
    {"acceptance_rate", "acceptance_rate"},
    {"hit_rate", "hit_rate"},
    {"top1", "top1"},
    {"hindsight_limit", "hindsight_limit"},
    {"share_of_limit", "share_of_limit"},
    {"predicted_speedup", "predicted_speedup"},
    {"speedup", "speedup"},
    {"draft_us", "draft_us.mean"},
    {"draft_us_p50", "draft_us.p50"},
    {"draft_us_p99", "draft_us.p99"},
    {"update_us", "update_us.mean"},
    {"calibrated_nodes", "calibration.nodes"},
    {"ece", "calibration.ece"},
    {"bias", "calibration.bias"},
    {"expected_per_step", "calibration.expected_per_step"},
    {"calibration_accepted_per_step", "calibration.accepted_per_step"},
};

static const field of_bin[] = {
    {"from", "from"},         {"to", "to"},     {"nodes", "nodes"},
    {"accepted", "accepted"}, {"said", "said"}, {"was", "was"},
};

static const field of_match[] = {
    {"from", "from"},
    {"to", "to"},
    {"steps", "steps"},
    {"hits", "hits"},
    {"top1_hits", "top1_hits"},
    {"top1", "top1"},
    {"tokens_drafted", "tokens_drafted"},
    {"tokens_accepted", "tokens_accepted"},
    {"accepted_per_step", "accepted_per_step"},
};

static const struct kind {
    const char *path; /* of the list within a run; "": the run itself */
    const field *field;
    size_t n;
} kinds[] = {
    {"", of_run, COUNT(of_run)},
    {"calibration.bins", of_bin, COUNT(of_bin)},
    {"match_lengths", of_match, COUNT(of_match)},
};

static void names(const field *f, size_t n, FILE *out) {
    for (size_t i = 0; i < n; i++) fprintf(out, "\t%s", f[i].name);
}

static void values(json_t *from, const field *f, size_t n, FILE *out) {
    for (size_t i = 0; i < n; i++) {
        double v = report_number(from, f[i].path);
        if (isnan(v))
            fputs("\t-", out);
        else
            fprintf(out, "\t%.9g", v);
    }
}

/* A field of text: what would end it becomes a blank. */
static void word(const char *text, FILE *out) {
    for (; *text; text++) fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
}

static void line(json_t *report, json_t *run, json_t *item, const struct kind *k, FILE *out) {
    word(report_text(run, "workload", "-"), out);
    fputc('\t', out);
    word(report_text(run, "drafter", "-"), out);
    values(report, of_settings, COUNT(of_settings), out);
    values(item, k->field, k->n, out);
    fputc('\n', out);
}

static void lines(json_t *report, json_t *run, const struct kind *k, FILE *out) {
    size_t i;
    json_t *item;
    if (!*k->path) line(report, run, run, k, out);
    json_array_foreach(*k->path ? report_dig(run, k->path) : NULL, i, item) {
        line(report, run, item, k, out);
    }
}

void report_list(json_t *const *report, size_t n, size_t what, FILE *out) {
    const struct kind *k = &kinds[what];
    fputs("workload\tdrafter", out);
    names(of_settings, COUNT(of_settings), out);
    names(k->field, k->n, out);
    fputc('\n', out);
    for (size_t r = 0; r < n; r++) {
        size_t i;
        json_t *run;
        json_array_foreach(json_object_get(report[r], "runs"), i, run) { lines(report[r], run, k, out); }
    }
}
