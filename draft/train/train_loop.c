/* SPDX-License-Identifier: MIT */
/*
 * The run. Its state is the parameters and train_state, of which a checkpoint has
 * every bit; everything else is computed again from the micro-batch's number. A checkpoint is written
 * between two micro-batches; within a step it holds the gradients so far.
 */
#include "train_loop.h"

#include <math.h>
#include <string.h>

/* ---- life ---------------------------------------------------------------- */

static int check(const train_task *t, const train_options *o, spec_message *why) {
    if (o->steps < 1 || o->accum < 1)
        return specp_fail(why, SPEC_ERR_INVALID, "no steps, or steps of no micro-batch");
    if (t->n_measures < 1 || t->n_measures > TRAIN_MEASURES || t->n_parts > TRAIN_PARTS_MOST)
        return specp_fail(why, SPEC_ERR_INVALID, "a task of %zu measures and %zu parts: at most %d and %d",
                          t->n_measures, t->n_parts, TRAIN_MEASURES, TRAIN_PARTS_MOST);
    return SPEC_OK;
}

int train_loop_new(train_loop **out, const train_task *task, const train_options *o,
                   const spec_allocator *alloc, spec_message *why) {
    int err = check(task, o, why);
    if (err) return err;
    train_loop *l = specp_calloc(alloc, 1, sizeof *l);
    float *best = specp_calloc(alloc, task->params->n, sizeof *best);
    if (!l || !best) {
        specp_release(alloc, l, 1, sizeof *l);
        specp_release(alloc, best, task->params->n, sizeof *best);
        return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a training run of %zu parameters",
                          task->params->n);
    }
    if (alloc) l->alloc = *alloc;
    l->task = *task;
    l->o = *o;
    l->best = best;
    l->state.best_loss = (double)INFINITY;
    *out = l;
    return SPEC_OK;
}

void train_loop_free(train_loop *l) {
    if (!l) return;
    spec_allocator alloc = l->alloc;
    specp_release(&alloc, l->best, l->task.params->n, sizeof *l->best);
    specp_release(&alloc, l, 1, sizeof *l);
}

/* ---- time ---------------------------------------------------------------- */

/* Adds the time since *from to *sum, and moves *from on. */
static void lap(const train_loop *l, uint64_t *from, uint64_t *sum) {
    uint64_t now = l->o.now_ns();
    *sum += now - *from;
    *from = now;
}

/* What is counted for the next report begins here. */
static void begin_counting(train_loop *l) {
    uint64_t report = l->now.report_ns;
    l->now = (train_step){.report_ns = report};
    for (size_t i = 0; i < l->task.n_parts; i++) {
        l->part_began_ns[i] = l->task.part_ns[i];
        l->part_began_flop[i] = l->task.part_flop ? l->task.part_flop[i] : 0.0;
    }
}

/* The time it takes to report is counted with the next step. */
static void report(train_loop *l) {
    train_step *s = &l->now;
    uint64_t known = s->optimiser_ns + s->validation_ns + s->checkpoint_ns + s->report_ns, end = l->began_ns;
    s->wall_ns = s->report_ns;
    lap(l, &end, &s->wall_ns);
    for (size_t i = 0; i < l->task.n_parts; i++) {
        s->part_ns[i] = l->task.part_ns[i] - l->part_began_ns[i];
        s->part_flop[i] = l->task.part_flop ? l->task.part_flop[i] - l->part_began_flop[i] : 0.0;
        known += s->part_ns[i];
    }
    s->other_ns = s->wall_ns > known ? s->wall_ns - known : 0;
    s->step = l->state.steps;
    s->steps = l->o.steps;
    s->batches = l->state.batches;
    s->measured = l->state.measured;
    s->tokens = (uint64_t)s->measured.weight[0];
    s->all_tokens = l->state.tokens;
    if (l->o.report) l->o.report(l->o.user, s);
    l->began_ns = end;
    s->report_ns = 0;
    lap(l, &l->began_ns, &s->report_ns);
    begin_counting(l);
}

/* ---- checkpoints --------------------------------------------------------- */

static train_checkpoint checkpoint_of(train_loop *l) {
    return (train_checkpoint){.params = l->task.params,
                              .state = &l->state,
                              .best = l->best,
                              .setting = l->o.setting,
                              .n_settings = l->o.n_settings,
                              .under_way = l->under_way};
}

int train_loop_resume(train_loop *l, spec_message *why) {
    train_checkpoint c = checkpoint_of(l);
    int err = train_checkpoint_read(l->o.checkpoint, &c, &l->alloc, why);
    if (!err) l->under_way = c.under_way;
    return err;
}

static bool all_finite(const float *x, size_t n) {
    float sum = 0.0f; /* x - x is 0, but for what is not finite */
    for (size_t i = 0; i < n; i++) sum += x[i] - x[i];
    return sum == 0.0f;
}

/* A failure to write is no end of the run: *saved says whether it is there. */
static int save(train_loop *l, bool *saved, spec_message *why) {
    const train_params *p = l->task.params;
    uint64_t from = l->o.now_ns();
    train_checkpoint c = checkpoint_of(l);
    spec_message trouble = {""};
    *saved = false;
    if (!l->o.checkpoint) return SPEC_OK;
    if (!all_finite(p->value, p->n) || !all_finite(p->m, p->n) || !all_finite(p->v, p->n)) {
        return specp_fail(why, SPEC_ERR_STATE,
                          "step %llu: a weight or a moment is not a number; no checkpoint is written of that",
                          (unsigned long long)l->state.steps);
    }
    *saved = train_checkpoint_write(l->o.checkpoint, &c, &l->alloc, &trouble) == SPEC_OK;
    l->unsaved = !*saved;
    if (l->unsaved && l->o.trouble) l->o.trouble(l->o.user, trouble.text);
    lap(l, &from, &l->now.checkpoint_ns);
    return SPEC_OK;
}

/* At the end, where a checkpoint matters. */
static int save_last(train_loop *l, spec_message *why) {
    bool saved;
    int err = save(l, &saved, why);
    if (!err && l->unsaved)
        err = specp_fail(why, SPEC_ERR_IO, "%s: the last checkpoint could not be written", l->o.checkpoint);
    return err;
}

/* ---- a step -------------------------------------------------------------- */

typedef struct update {
    train_loop *loop;
    train_adamw adam;
    double scale;
} update;

static void update_views(void *arg, size_t begin, size_t end, unsigned thread) {
    (void)thread;
    const update *u = arg;
    const train_params *p = u->loop->task.params;
    for (size_t i = begin; i < end; i++) {
        const train_view *v = &p->view[i];
        train_adamw o = u->adam;
        size_t at = v->offset;
        if (v->n_dims == 1) o.weight_decay = 0.0; /* norms are not drawn to 0 */
        train_adamw_step(&o, u->loop->state.steps + 1, u->scale, p->grad + at, p->value + at, p->m + at,
                         p->v + at, v->rows * v->cols);
    }
}

static void update_on_thread(void *arg, unsigned thread) {
    update *u = arg;
    specp_team_each(u->loop->o.team, thread, u->loop->task.params->n_views, 1, update_views, u);
}

static int optimise(train_loop *l, spec_message *why) {
    const train_params *p = l->task.params;
    train_step *s = &l->now;
    uint64_t from = l->o.now_ns(), t = l->state.steps + 1;
    s->norm = train_norm(p->grad, p->n) / (double)l->o.accum;
    if (!isfinite(s->norm)) {
        return specp_fail(why, SPEC_ERR_STATE, "step %llu: the gradient's norm is not a number",
                          (unsigned long long)t);
    }
    s->rate = train_rate(&l->o.schedule, t);
    double clip = train_clip(s->norm, l->o.clip);
    s->clipped = clip < 1.0;
    update u = {l, l->o.adam, clip / (double)l->o.accum};
    u.adam.lr = s->rate;
    if (l->o.team)
        specp_team_run(l->o.team, update_on_thread, &u);
    else
        update_views(&u, 0, p->n_views, 0);
    l->state.steps++;
    l->under_way = false;
    lap(l, &from, &s->optimiser_ns);
    return SPEC_OK;
}

static bool is_due(const train_loop *l, uint64_t every) {
    return l->state.steps == l->o.steps || (every && l->state.steps % every == 0);
}

/* Keeps the values that do best. */
static int validate(train_loop *l, spec_message *why) {
    const train_params *p = l->task.params;
    train_measures *m = &l->now.validated;
    uint64_t from = l->o.now_ns();
    int err = l->task.validate(l->task.self, m, why);
    if (err) return err;
    double loss = m->sum[0] / m->weight[0];
    if (loss < l->state.best_loss) {
        l->state.best_loss = loss;
        l->state.best_step = l->state.steps;
        l->now.best = true;
        memcpy(l->best, p->value, p->n * sizeof *l->best);
    }
    l->now.is_validated = true;
    lap(l, &from, &l->now.validation_ns);
    return SPEC_OK;
}

static int finish_step(train_loop *l, spec_message *why) {
    int err = optimise(l, why);
    l->state.tokens += (uint64_t)l->state.measured.weight[0];
    if (!err && l->task.validate && is_due(l, l->o.validate_every)) err = validate(l, why);
    if (!err && is_due(l, l->o.checkpoint_every)) err = save(l, &l->now.saved, why);
    if (!err) report(l);
    return err;
}

static int run_batch(train_loop *l, spec_message *why) {
    const train_params *p = l->task.params;
    train_state *s = &l->state;
    uint64_t from = l->o.now_ns(), i = s->batches % l->o.accum;
    train_measures m = {0};
    if (!l->under_way) {
        memset(p->grad, 0, p->n * sizeof *p->grad);
        s->measured = (train_measures){0};
        l->under_way = true;
        lap(l, &from, &l->now.optimiser_ns);
    }
    int err = l->task.batch(l->task.self, s->batches, &m, why);
    if (err) return err;
    if (!isfinite(m.sum[0])) {
        return specp_fail(
            why, SPEC_ERR_STATE, "step %llu, micro-batch %llu of %llu: the loss is not a number",
            (unsigned long long)s->steps + 1, (unsigned long long)i + 1, (unsigned long long)l->o.accum);
    }
    for (size_t k = 0; k < l->task.n_measures; k++) {
        s->measured.sum[k] += m.sum[k];
        s->measured.weight[k] += m.weight[k];
    }
    s->batches++;
    if (l->o.batch_done) l->o.batch_done(l->o.user, s->steps + 1, i + 1);
    return SPEC_OK;
}

/* ---- the run ------------------------------------------------------------- */

int train_loop_run(train_loop *l, spec_message *why) {
    int err = SPEC_OK;
    l->began_ns = l->o.now_ns();
    begin_counting(l);
    while (l->state.steps < l->o.steps && !err && !l->stopped) {
        err = run_batch(l, why);
        if (!err && l->state.batches % l->o.accum == 0) err = finish_step(l, why);
        l->stopped = !err && l->state.steps < l->o.steps && l->o.stop && l->o.stop(l->o.user);
    }
    if (err) return err;
    if (!l->state.best_step) memcpy(l->best, l->task.params->value, l->task.params->n * sizeof *l->best);
    return l->stopped || l->unsaved ? save_last(l, why) : SPEC_OK;
}
