/* SPDX-License-Identifier: MIT */
/* The times of a training run, part by part; all of them together are the wall time. */
#include "train_summary.h"

void train_summary_add(train_summary *s, const train_step *t) {
    s->steps++;
    s->tokens += t->tokens;
    s->wall_ns += t->wall_ns;
    s->optimiser_ns += t->optimiser_ns;
    s->validation_ns += t->validation_ns;
    s->checkpoint_ns += t->checkpoint_ns;
    s->report_ns += t->report_ns;
    s->other_ns += t->other_ns;
    for (size_t i = 0; i < TRAIN_PARTS_MOST; i++) {
        s->part_ns[i] += t->part_ns[i];
        s->part_flop[i] += t->part_flop[i];
    }
}

double train_gflops(const uint64_t *ns, const double *flop, size_t n) {
    double time = 0.0, done = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!(flop[i] > 0.0)) continue;
        time += (double)ns[i];
        done += flop[i];
    }
    return time > 0.0 ? done / time : 0.0;
}

static void row(FILE *out, const char *name, uint64_t ns, double gflops, const train_summary *s) {
    if (!ns) return;
    fprintf(out, "%-24s%12.3f%9.1f%%", name, (double)ns / 1e9 / (double)s->steps,
            100.0 * (double)ns / (double)s->wall_ns);
    if (gflops > 0.0) fprintf(out, "%12.0f", gflops);
    fputc('\n', out);
}

void train_summary_print(const train_summary *s, const train_task *task, double sgemm, FILE *out) {
    if (!s->steps) return;
    fprintf(out, "%-24s%12s%10s%12s\n", "where the time went", "s a step", "share", "GFLOP/s");
    for (size_t i = 0; i < task->n_parts; i++)
        row(out, task->part[i], s->part_ns[i], train_gflops(&s->part_ns[i], &s->part_flop[i], 1), s);
    row(out, "optimiser", s->optimiser_ns, 0.0, s);
    row(out, "validation", s->validation_ns, 0.0, s);
    row(out, "checkpoint", s->checkpoint_ns, 0.0, s);
    row(out, "report", s->report_ns, 0.0, s);
    row(out, "other", s->other_ns, 0.0, s);
    double gflops = train_gflops(s->part_ns, s->part_flop, task->n_parts);
    row(out, "all", s->wall_ns, gflops, s);
    if (gflops > 0.0 && sgemm > 0.0)
        fprintf(out, "products at %.0f%% of the rate of a large sgemm (%.0f GFLOP/s)\n",
                100.0 * gflops / sgemm, sgemm);
    fprintf(out, "%.0f tokens/s in %llu steps\n", (double)s->tokens / ((double)s->wall_ns / 1e9),
            (unsigned long long)s->steps);
}
