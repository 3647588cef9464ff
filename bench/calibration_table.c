/* SPDX-License-Identifier: MIT */
/* Calibration as a reliability table of at most 80 columns; bins without nodes have no row. */
#include <math.h>
#include <string.h>

#include "calibration.h"
#include "format.h"

#define WIDTH 72

static void row(const char *name, const calibration_bin *b, uint64_t all, FILE *out) {
    double error = round(1000 * (calibration_said(b) - calibration_was(b))) / 10 + 0.0; /* never -0.0 */
    table_name(out, name);
    fprintf(out, "%12s%10s%10s%12s%+8.1f\n", fmt_count(b->nodes).text,
            fmt_percent((double)b->nodes / (double)all).text, fmt_percent(calibration_said(b)).text,
            fmt_percent(calibration_was(b)).text, error);
}

static void summary(const calibration *c, const calibration_bin *all, FILE *out) {
    double steps = (double)c->steps;
    fprintf(out, "ECE %s%%; a step: %s accepted expected, %s were", fmt_percent(calibration_ece(c)).text,
            fmt_real(all->prob_sum / steps, 2).text, fmt_real((double)all->accepted / steps, 2).text);
    if (c->skip) fprintf(out, "; first %s tokens left out", fmt_count(c->skip).text);
    fputc('\n', out);
}

void calibration_table(const calibration *c, const char *drafter, FILE *out) {
    const calibration_bin all = calibration_sum(c);
    const char *by = "calibration of its probabilities";
    fprintf(out, "\n%s,%s%s\n", drafter, strlen(drafter) + strlen(by) + 2 <= 80 ? " " : "\n", by);
    fprintf(out, "%-*s%12s%10s%10s%12s%8s\n", TABLE_NAME, "probability", "nodes", "share%", "said%",
            "accepted%", "error");
    table_rule(out, WIDTH);
    for (size_t b = 0; b < CALIBRATION_BINS; b++) {
        char name[32];
        snprintf(name, sizeof name, "%.2f-%.2f", (double)b / CALIBRATION_BINS,
                 (double)(b + 1) / CALIBRATION_BINS);
        if (c->bin[b].nodes) row(name, &c->bin[b], all.nodes, out);
    }
    if (all.nodes) {
        row("all", &all, all.nodes, out);
        summary(c, &all, out);
    } else if (c->skipped) {
        fprintf(out, "(no node to judge behind the first %s tokens of the run)\n", fmt_count(c->skip).text);
    } else {
        fprintf(out, "(no node to judge)\n");
    }
}
