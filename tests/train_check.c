/* SPDX-License-Identifier: MIT */
/* Gradients and steps against recorded ones, and against differences. */
#include "train_check.h"

#include <math.h>
#include <stdlib.h>

#include "adamw.h"

void *train_check_make(size_t n, size_t size) {
    void *p = calloc(n, size);
    assert_non_null(p);
    return p;
}

spec_tensors *train_check_open(const char *name) {
    char relative[128], path[256];
    snprintf(relative, sizeof relative, "golden/heads/%s", name);
    spec_tensors *f = NULL;
    spec_message why;
    if (support_shared(relative, path, sizeof path) && spec_tensors_open(&f, path, NULL, &why))
        fail_msg("%s", why.text);
    return f;
}

const void *train_check_data(const spec_tensors *f, const char *kind, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", kind, name);
    const spec_tensor *t = spec_tensors_find(f, full);
    if (!t) fail_msg("no tensor %s", full);
    return t->data;
}

void train_check_gradients(const train_params *p, const spec_tensors *expected, const char *kind,
                           double scale) {
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        const float *want = train_check_data(expected, kind, v->name), *got = p->grad + v->offset;
        double most = 0.0, worst = 0.0;
        for (size_t j = 0; j < v->rows * v->cols; j++) {
            most = fmax(most, fabs((double)want[j]));
            worst = fmax(worst, fabs((double)got[j] * scale - (double)want[j]));
        }
        if (!(most > 0.0 && worst <= 1e-4 * most))
            fail_msg("%s%s: off by %g of %g", kind, v->name, worst, most);
    }
}

void train_check_values(const train_params *p, const spec_tensors *expected, const char *kind) {
    size_t far = 0;
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        const float *want = train_check_data(expected, kind, v->name), *got = p->value + v->offset;
        size_t n = v->rows * v->cols;
        double sum = 0.0;
        for (size_t j = 0; j < n; j++) {
            double d = fabs((double)got[j] - (double)want[j]);
            sum += d * d;
            far += !(d <= 1e-5);
        }
        if (!(sqrt(sum / (double)n) <= 2e-5)) fail_msg("%s%s: rms %g", kind, v->name, sqrt(sum / (double)n));
    }
    assert_true(far * 1000 <= p->n);
}

void train_check_step(train_params *p, uint64_t t, double scale, double norm) {
    const train_adamw o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.01};
    assert_true(fabs(train_norm(p->grad, p->n) * scale / norm - 1.0) < 1e-4);
    train_adamw_step(&o, t, scale, p->grad, p->value, p->m, p->v, p->n);
}

void train_check_differences(const train_params *p, support_rng *r, size_t n,
                             double (*loss)(const void *arg, const double *values), const void *arg) {
    double *x = train_check_make(p->n, sizeof *x);
    for (size_t i = 0; i < p->n; i++) x[i] = (double)p->value[i];
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        size_t all = v->rows * v->cols;
        double most = 0.0;
        for (size_t j = 0; j < all; j++) most = fmax(most, fabs((double)p->grad[v->offset + j]));
        assert_true(most > 0.0);
        for (size_t k = 0; k < n; k++) {
            size_t j = v->offset + support_rng_below(r, (uint32_t)all);
            const double h = 1e-5, at = x[j];
            x[j] = at + h;
            double above = loss(arg, x);
            x[j] = at - h;
            double d = (above - loss(arg, x)) / (2.0 * h);
            x[j] = at;
            if (!(fabs((double)p->grad[j] - d) <= 2e-5 * most + 1e-7))
                fail_msg("%s: %.9g, expected %.9g (of %.3g)", v->name, (double)p->grad[j], d, most);
        }
    }
    free(x);
}

void train_check_random(train_params *p, support_rng *r) {
    for (size_t i = 0; i < p->n; i++) p->value[i] = (float)(support_rng_unit(r) - 0.5);
}
