/* SPDX-License-Identifier: MIT */
/* The results of `specbench speed`: collected, printed at 80 columns, as JSON. */
#include "speed.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct row {
    const char *key, *label;
    int digits;
} row;

static const row rows[] = {
    {"append_us", "append, whole responses, us/token", 3},
    {"append_single_us", "append, token by token, us/token", 3},
    {"rss_bytes_per_token", "memory, resident, bytes/token", 1},
    {"bytes_per_token", "memory, allocated, bytes/token", 1},
    {"bytes_used_per_token", "memory, in use, bytes/token", 1},
    {"states_per_token", "explicit states per token", 3},
    {"edges_per_token", "stored transitions per token", 3},
};

void speed_add(speed_report *r, const char *key, size_t size, double *run, size_t n) {
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        speed_value *p = realloc(r->value, cap * sizeof *p);
        if (!p) {
            r->failed = true;
            return;
        }
        r->value = p;
        r->cap = cap;
    }
    speed_value v = {.key = key, .size = size, .median = speed_quantile(run, n, 0.5)};
    v.low = run[0];
    v.high = run[n - 1];
    r->value[r->n++] = v;
}

static const speed_value *find(const speed_report *r, const char *key, size_t size) {
    for (size_t i = 0; i < r->n; i++)
        if (r->value[i].size == size && strcmp(r->value[i].key, key) == 0) return &r->value[i];
    return NULL;
}

static void print_cell(const speed_value *v, int digits, FILE *out) {
    if (!v) {
        fprintf(out, "%14s", "-");
        return;
    }
    double spread = v->median > 0 ? 50 * (v->high - v->low) / v->median : 0;
    fprintf(out, "%9.*f +-%2.0f%%", digits, v->median, spread < 99 ? spread : 99);
}

static void print_row(const speed_report *r, const row *w, FILE *out) {
    bool any = false;
    for (size_t i = 0; i < r->n_sizes; i++)
        if (find(r, w->key, r->size[i])) any = true;
    if (!any) return;
    fprintf(out, "%-36s", w->label);
    for (size_t i = 0; i < r->n_sizes; i++) print_cell(find(r, w->key, r->size[i]), w->digits, out);
    fputc('\n', out);
}

void speed_print(const speed_report *r, const speed_corpus *c, FILE *out) {
    fprintf(out, "text: %s; medians of %u runs, +- half their range\n", c->name, r->repeats);
    fprintf(out, "%-36s", "tokens in the index");
    for (size_t i = 0; i < r->n_sizes; i++) fprintf(out, "%14zu", r->size[i]);
    fputc('\n', out);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) print_row(r, &rows[i], out);
}

int speed_write_json(const speed_report *r, const speed_corpus *c, const char *path) {
    json_t *values = json_array();
    for (size_t i = 0; i < r->n; i++) {
        const speed_value *v = &r->value[i];
        json_array_append_new(values, json_pack("{s:s,s:I,s:f,s:f,s:f}", "key", v->key, "tokens",
                                                (json_int_t)v->size, "median", v->median, "low", v->low,
                                                "high", v->high));
    }
    json_t *root = json_pack("{s:s,s:s,s:s,s:i,s:o}", "schema", "specbench/1", "command", "speed", "text",
                             c->name, "repeats", (int)r->repeats, "values", values);
    if (!root) return SPEC_ERR_NOMEM;
    int err = strcmp(path, "-") == 0 ? json_dumpf(root, stdout, JSON_INDENT(1))
                                     : json_dump_file(root, path, JSON_INDENT(1));
    json_decref(root);
    return err ? SPEC_ERR_IO : SPEC_OK;
}

void speed_report_free(speed_report *r) { free(r->value); }
