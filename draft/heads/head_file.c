/* SPDX-License-Identifier: MIT */
/*
 * The file of a draft head: tensors of given shapes, metadata, messages; and the
 * best of its logits.
 *
 * Metadata may be typed (GGUF, config.json) or text (safetensors' own): both are
 * read as lists of numbers, a scalar as a list of one. Text is read here and not by
 * strtod, whose decimal point depends on the locale of the host program.
 */
#include "head_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_PATH 200 /* bytes of a path in a message: its end */

int specp_head_fail(const spec_tensors *f, spec_message *why, int err, const char *format, ...) {
    char text[sizeof why->text];
    const char *path = spec_tensors_path(f);
    size_t n = strlen(path);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return specp_fail(why, err, "%s%s: %s", n > SHOWN_PATH ? "..." : "",
                      n > SHOWN_PATH ? path + n - SHOWN_PATH : path, text);
}

/* ---- tensors --------------------------------------------------------------------- */

specp_shape_text specp_head_shape(const spec_tensor *t) {
    specp_shape_text s = {"("};
    size_t at = 1;
    for (uint32_t d = 0; d < t->n_dims && d < SPEC_TENSOR_DIMS; d++)
        at +=
            (size_t)snprintf(s.text + at, sizeof s.text - at, d == 0 ? "%" PRIu64 : ", %" PRIu64, t->dim[d]);
    (void)snprintf(s.text + at, sizeof s.text - at, ")");
    return s;
}

const spec_tensor *specp_head_tensor(const spec_tensors *f, const char *name, size_t rows, size_t cols,
                                     spec_message *why) {
    const spec_tensor *t = spec_tensors_find(f, name);
    spec_tensor want = {.n_dims = cols != 0 ? 2 : 1, .dim = {rows, cols}};
    if (t == NULL) {
        (void)specp_head_fail(f, why, SPEC_ERR_CORRUPT, "tensor %s is missing", name);
        return NULL;
    }
    if (t->n_dims != want.n_dims || t->dim[0] != rows || (cols != 0 && t->dim[1] != cols)) {
        (void)specp_head_fail(f, why, SPEC_ERR_CORRUPT, "tensor %s is %s, expected %s", name,
                              specp_head_shape(t).text, specp_head_shape(&want).text);
        return NULL;
    }
    return t;
}

int specp_head_matrix(const spec_tensors *f, const char *name, size_t rows, size_t cols, specp_team *team,
                      const spec_allocator *alloc, specp_matrix *out, spec_message *why) {
    const spec_tensor *t = specp_head_tensor(f, name, rows, cols, why);
    if (t == NULL) return SPEC_ERR_CORRUPT;
    int err = specp_matrix_init(out, t->type, t->data, rows, cols, team, alloc);
    if (err == SPEC_ERR_NOMEM)
        return specp_head_fail(f, why, err, "there is not enough memory for tensor %s", name);
    if (err != SPEC_OK)
        return specp_head_fail(f, why, err, "tensor %s has type %s, which cannot be multiplied", name,
                               spec_type_name(t->type));
    return SPEC_OK;
}

int specp_head_vector(const spec_tensors *f, const char *name, size_t n, float *out, spec_message *why) {
    const spec_tensor *t = specp_head_tensor(f, name, n, 0, why);
    if (t == NULL) return SPEC_ERR_CORRUPT;
    if (specp_form_of(t->type) == SPECP_FORMS || spec_type_to_float(t->type, t->data, out, n) != SPEC_OK)
        return specp_head_fail(f, why, SPEC_ERR_UNSUPPORTED, "tensor %s has type %s, expected floats", name,
                               spec_type_name(t->type));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return specp_head_fail(f, why, SPEC_ERR_CORRUPT, "tensor %s holds %g at %zu", name,
                                   (double)out[i], i);
    return SPEC_OK;
}

/* ---- numbers in text ------------------------------------------------------------- */

typedef struct reader {
    const char *at, *end;
} reader;

static bool is_digit(const reader *r) { return r->at < r->end && *r->at >= '0' && *r->at <= '9'; }

static bool accept(reader *r, char c) {
    while (r->at < r->end && *r->at == ' ') r->at++;
    if (r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

/* Digits onto *value; returns how many. */
static int read_digits(reader *r, double *value) {
    int n = 0;
    for (; is_digit(r); r->at++, n++) *value = 10.0 * *value + (*r->at - '0');
    return n;
}

/* [-]digits[.digits][e[+-]digits]: to the nearest as long as the digits are a number below 2^53 and
 * the power of ten below 10^23. */
static bool read_number(reader *r, double *out) {
    double value = 0.0, exponent = 0.0, power = 1.0;
    bool negative = accept(r, '-'), below = false;
    int digits = read_digits(r, &value), fraction = 0;
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        fraction = read_digits(r, &value);
    }
    if (digits + fraction == 0) return false;
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        below = accept(r, '-');
        if (!below) (void)accept(r, '+');
        if (read_digits(r, &exponent) == 0) return false;
    }
    if (!(exponent <= 400.0) || fraction > 400) return false;
    int shift = (below ? -(int)exponent : (int)exponent) - fraction;
    for (int i = shift < 0 ? -shift : shift; i > 0; i--) power *= 10.0;
    value = shift < 0 ? value / power : value * power;
    *out = negative ? -value : value;
    return isfinite(value);
}

/* A number, or a list of them in brackets. */
static bool read_text(reader r, double *out, size_t cap, size_t *n) {
    bool list = accept(&r, '[');
    *n = 0;
    if (!(list && accept(&r, ']'))) {
        do {
            if (*n == cap || !read_number(&r, &out[*n])) return false;
            ++*n;
        } while (list && accept(&r, ','));
        if (list && !accept(&r, ']')) return false;
    }
    while (r.at < r.end && *r.at == ' ') r.at++;
    return r.at == r.end;
}

/* ---- metadata -------------------------------------------------------------------- */

const spec_meta *specp_head_meta(const spec_tensors *f, const char *name) {
    static const char *const within[] = {"", "config.", "config.eagle_config.",
                                         "config.transformer_layer_config."};
    char key[128];
    const spec_meta *m = NULL;
    for (size_t i = 0; i < sizeof within / sizeof *within && m == NULL; i++) {
        (void)snprintf(key, sizeof key, "%s%s", within[i], name);
        m = spec_tensors_meta(f, key);
    }
    return m;
}

bool specp_head_is(const spec_meta *m, const char *text) {
    return m != NULL && m->kind == SPEC_META_STRING && m->n == strlen(text) &&
           memcmp(m->value.s, text, (size_t)m->n) == 0;
}

#define MAX_NUMBERS 64

static bool read_values(const spec_meta *m, double *out, size_t cap, size_t *n) {
    if (m->kind == SPEC_META_STRING) return read_text((reader){m->value.s, m->value.s + m->n}, out, cap, n);
    *n = m->kind == SPEC_META_ARRAY ? (size_t)m->n : 1;
    if (*n > cap) return false;
    for (size_t i = 0; i < *n; i++)
        if (spec_meta_float(m, i, &out[i]) != SPEC_OK) return false;
    return true;
}

int specp_head_real(const spec_tensors *f, const char *name, double low, double high, double *out,
                    spec_message *why) {
    const spec_meta *m = specp_head_meta(f, name);
    double value;
    size_t n;
    if (m == NULL) return SPEC_OK;
    if (!read_values(m, &value, 1, &n) || n != 1 || !(value >= low && value <= high))
        return specp_head_fail(f, why, SPEC_ERR_CORRUPT, "%s is not a number from %g to %g", m->key, low,
                               high);
    *out = value;
    return SPEC_OK;
}

int specp_head_sizes(const spec_tensors *f, const char *name, size_t low, size_t high, size_t *out,
                     size_t cap, size_t *n, spec_message *why) {
    const spec_meta *m = specp_head_meta(f, name);
    double value[MAX_NUMBERS];
    if (m == NULL) return SPEC_OK;
    size_t most = cap < MAX_NUMBERS ? cap : MAX_NUMBERS, count;
    bool good = read_values(m, value, most, &count);
    for (size_t i = 0; i < count && good; i++)
        good = value[i] >= (double)low && value[i] <= (double)high && (double)(size_t)value[i] == value[i];
    if (!good)
        return specp_head_fail(f, why, SPEC_ERR_CORRUPT,
                               "%s is not a whole number from %zu to %zu, or not a list of at most %zu",
                               m->key, low, high, most);
    for (size_t i = 0; i < count; i++) out[i] = (size_t)value[i];
    *n = count;
    return SPEC_OK;
}

int specp_head_size(const spec_tensors *f, const char *name, size_t low, size_t high, size_t *out,
                    spec_message *why) {
    size_t value = *out, n = 1;
    int err = specp_head_sizes(f, name, low, high, &value, 1, &n, why);
    if (err == SPEC_OK && n != 1)
        return specp_head_fail(f, why, SPEC_ERR_CORRUPT, "%s is an empty list",
                               specp_head_meta(f, name)->key);
    if (err == SPEC_OK) *out = value;
    return err;
}

int specp_head_flag(const spec_tensors *f, const char *name, bool *out, spec_message *why) {
    const spec_meta *m = specp_head_meta(f, name);
    int flag;
    if (m == NULL) return SPEC_OK;
    if (m->kind == SPEC_META_BOOL && spec_meta_bool(m, 0, &flag) == SPEC_OK)
        *out = flag != 0;
    else if (specp_head_is(m, "true") || specp_head_is(m, "false"))
        *out = specp_head_is(m, "true");
    else
        return specp_head_fail(f, why, SPEC_ERR_CORRUPT, "%s is neither true nor false", m->key);
    return SPEC_OK;
}

/* ---- logits ---------------------------------------------------------------------- */

#define LANES 16

/* Is any of so many above x? NaN is not. */
static bool any_above(const float *logits, float x) {
    uint32_t any = 0;
    for (size_t l = 0; l < LANES; l++) any |= logits[l] > x;
    return any != 0;
}

/* Enters number i, with x, into the k best, of which `held` are there; returns how many are then. */
static size_t enter(float x, size_t i, size_t k, size_t held, spec_token *token, float *value) {
    if (!(x == x)) x = -INFINITY;
    if (held == k && !(x > value[k - 1])) return held;
    size_t at = held < k ? held : k - 1;
    for (; at > 0 && x > value[at - 1]; at--) {
        value[at] = value[at - 1];
        token[at] = token[at - 1];
    }
    value[at] = x;
    token[at] = (spec_token)i;
    return held < k ? held + 1 : k;
}

void specp_head_pick(const float *logits, size_t n, size_t k, spec_token *token, float *value) {
    size_t held = 0;
    for (size_t i = 0, end; i < n; i = end) {
        end = n - i < LANES ? n : i + LANES;
        if (held == k && end - i == LANES && !any_above(logits + i, value[k - 1])) continue;
        for (size_t j = i; j < end; j++) held = enter(logits[j], j, k, held, token, value);
    }
}
