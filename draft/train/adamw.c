/* SPDX-License-Identifier: MIT */
/*
 * AdamW, clipping and the learning rate. What all elements share is computed in
 * doubles and rounded once; elements are floats, each by itself, so that a step may be split anywhere.
 */
#include "adamw.h"

#include <math.h>

static double power(double x, uint64_t n) {
    double y = 1.0;
    for (; n; n >>= 1, x *= x) {
        if (n & 1) y *= x;
    }
    return y;
}

void train_adamw_step(const train_adamw *o, uint64_t t, double scale, const float *g, float *p, float *m,
                      float *v, size_t n) {
    float b1 = (float)o->beta1, c1 = (float)(1.0 - o->beta1);
    float b2 = (float)o->beta2, c2 = (float)(1.0 - o->beta2);
    float step = (float)(o->lr / (1.0 - power(o->beta1, t)));
    float root = (float)(1.0 / sqrt(1.0 - power(o->beta2, t)));
    float keep = (float)(1.0 - o->lr * o->weight_decay), eps = (float)o->eps, by = (float)scale;
    for (size_t i = 0; i < n; i++) {
        float x = by * g[i];
        m[i] = b1 * m[i] + c1 * x;
        v[i] = b2 * v[i] + c2 * x * x;
        p[i] = keep * p[i] - step * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

double train_norm(const float *g, size_t n) {
    double lane[4] = {0};
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        for (size_t l = 0; l < 4; l++) {
            lane[l] += (double)g[i + l] * (double)g[i + l];
        }
    }
    for (; i < n; i++) {
        lane[i % 4] += (double)g[i] * (double)g[i];
    }
    return sqrt((lane[0] + lane[2]) + (lane[1] + lane[3]));
}

double train_clip(double norm, double max) { return max > 0.0 && norm > max ? max / norm : 1.0; }

double train_rate(const train_schedule *s, uint64_t t) {
    if (t <= s->warmup) return s->peak * (double)t / (double)s->warmup;
    if (t >= s->total) return s->last;
    double done = (double)(t - s->warmup) / (double)(s->total - s->warmup);
    return s->last + 0.5 * (s->peak - s->last) * (1.0 + cos(3.14159265358979323846 * done));
}
