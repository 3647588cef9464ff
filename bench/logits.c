/* SPDX-License-Identifier: MIT */
/* Recorded logits and their token ids. */
#include "logits.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* ---- token ids ----------------------------------------------------------- */

static int no_memory(spec_message *why, const char *path) {
    return specp_fail(why, SPEC_ERR_NOMEM, "%s: out of memory", path);
}

static int bad_id(spec_message *why, const char *path, size_t i) {
    return specp_fail(why, SPEC_ERR_CORRUPT, "%s: token %zu: expected an id from 0 to %d", path, i,
                      INT32_MAX);
}

/* The text of a file, or NULL; ids need no more than 64 MB. */
static char *read_text(const char *path, spec_message *why) {
    enum { MOST = 64 << 20 };
    char *text = NULL, *grown;
    size_t n = 0, cap = 0, got = 1;
    FILE *f = fopen(path, "rb");
    if (!f) {
        specp_fail(why, SPEC_ERR_IO, "%s: cannot open: %s; expected token ids", path, strerror(errno));
        return NULL;
    }
    for (; got && n < MOST && (grown = bench_grow(text, &cap, n + 65536, 1)); n += got) {
        text = grown;
        got = fread(text + n, 1, 65535, f);
    }
    bool whole = !got && !ferror(f) && !memchr(text, 0, n);
    fclose(f);
    if (whole) {
        text[n] = '\0';
        return text;
    }
    specp_fail(why, SPEC_ERR_CORRUPT, "%s: expected token ids, as text or as .npy", path);
    free(text);
    return NULL;
}

static int ids_of_text(spec_token **out, size_t *n, const char *path, const char *p, spec_message *why) {
    spec_token *id = NULL;
    size_t cap = 0, count = 0;
    for (p += strspn(p, " \t\r\n,[]"); *p; p += strspn(p, " \t\r\n,[]")) {
        uint64_t v = 0;
        for (; *p >= '0' && *p <= '9' && v <= INT32_MAX; p++) v = v * 10 + (uint64_t)(*p - '0');
        spec_token *grown = bench_grow(id, &cap, count + 1, sizeof *id);
        if (grown) id = grown;
        if (!grown || v > INT32_MAX || (*p && !strchr(" \t\r\n,[]", *p))) {
            free(id);
            return grown ? bad_id(why, path, count) : no_memory(why, path);
        }
        id[count++] = (spec_token)v;
    }
    *out = id;
    *n = count;
    return count ? SPEC_OK : specp_fail(why, SPEC_ERR_CORRUPT, "%s: expected token ids, found none", path);
}

static int ids_of_npy(spec_token **out, size_t *n, const char *path, spec_message *why) {
    npy a;
    int rc = npy_open(&a, path, why);
    if (rc != SPEC_OK) return rc;
    if (a.n_dims != 1 || (a.kind != NPY_INT && a.kind != NPY_UINT) || a.n == 0)
        rc = specp_fail(why, SPEC_ERR_CORRUPT, "%s: expected token ids, integers of shape (tokens)", path);
    spec_token *id = rc == SPEC_OK ? specp_alloc(NULL, (size_t)a.n, sizeof *id) : NULL;
    if (rc == SPEC_OK && !id) rc = no_memory(why, path);
    for (size_t i = 0; id && rc == SPEC_OK && i < a.n; i++) {
        int64_t v = -1;
        if (!npy_int(&a, i, &v) || v < 0 || v > INT32_MAX) rc = bad_id(why, path, i);
        id[i] = (spec_token)v;
    }
    if (rc == SPEC_OK) {
        *out = id;
        *n = (size_t)a.n;
    } else {
        free(id);
    }
    npy_close(&a);
    return rc;
}

int logits_read_ids(spec_token **out, size_t *n, const char *path, spec_message *why) {
    if (npy_is(path)) return ids_of_npy(out, n, path, why);
    char *text = read_text(path, why);
    if (!text) return SPEC_ERR_CORRUPT;
    int rc = ids_of_text(out, n, path, text, why);
    free(text);
    return rc;
}

/* ---- logits -------------------------------------------------------------- */

static int settle(logits *l, const char *path, spec_message *why) {
    if (l->n && l->vocab) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_CORRUPT, "%s: the logits are empty", path);
}

static int open_npy(logits *l, const char *path, spec_message *why) {
    int rc = npy_open(&l->array, path, why);
    if (rc != SPEC_OK) return rc;
    if (l->array.n_dims != 2 || l->array.kind != NPY_FLOAT)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s: expected logits, floats of shape (tokens, vocabulary)",
                          path);
    l->n = (size_t)l->array.dim[0];
    l->vocab = (size_t)l->array.dim[1];
    return settle(l, path, why);
}

static bool is_float(spec_type t) {
    return t == SPEC_TYPE_F32 || t == SPEC_TYPE_F16 || t == SPEC_TYPE_BF16 || t == SPEC_TYPE_F64;
}

/* The tensor called "logits", or the only one of two dimensions. */
static const spec_tensor *find_logits(const spec_tensors *f) {
    const spec_tensor *found = spec_tensors_find(f, "logits");
    if (found) return found;
    for (size_t i = 0; i < spec_tensors_count(f); i++) {
        const spec_tensor *t = spec_tensors_at(f, i);
        if (t->n_dims != 2) continue;
        if (found) return NULL;
        found = t;
    }
    return found;
}

static int read_tokens(logits *l, const char *path, spec_message *why) {
    const spec_tensor *t = spec_tensors_find(l->file, "tokens");
    if (!t) return SPEC_OK;
    if (t->n_dims != 1 || t->dim[0] != l->n || (t->type != SPEC_TYPE_I32 && t->type != SPEC_TYPE_I64))
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s: \"tokens\": expected I32 or I64 of shape (%zu)", path,
                          l->n);
    l->token = specp_alloc(NULL, l->n, sizeof *l->token);
    if (!l->token) return no_memory(why, path);
    for (size_t i = 0; i < l->n; i++) {
        int64_t wide = 0;
        int32_t narrow = 0;
        if (t->type == SPEC_TYPE_I64)
            memcpy(&wide, (const char *)t->data + i * sizeof wide, sizeof wide);
        else
            memcpy(&narrow, (const char *)t->data + i * sizeof narrow, sizeof narrow);
        if (t->type == SPEC_TYPE_I32) wide = narrow;
        if (wide < 0 || wide > INT32_MAX) return bad_id(why, path, i);
        l->token[i] = (spec_token)wide;
    }
    return SPEC_OK;
}

static int open_tensors(logits *l, const char *path, spec_message *why) {
    int rc = spec_tensors_open(&l->file, path, NULL, why);
    if (rc != SPEC_OK) return rc;
    const spec_tensor *t = l->tensor = find_logits(l->file);
    if (!t || t->n_dims != 2 || !is_float(t->type))
        return specp_fail(
            why, SPEC_ERR_CORRUPT,
            "%s: expected logits: a tensor called \"logits\", or one tensor alone, of floats of "
            "shape (tokens, vocabulary)",
            path);
    l->n = (size_t)t->dim[0];
    l->vocab = (size_t)t->dim[1];
    rc = settle(l, path, why);
    return rc == SPEC_OK ? read_tokens(l, path, why) : rc;
}

int logits_open(logits *out, const char *path, spec_message *why) {
    *out = (logits){.path = path};
    int rc = npy_is(path) ? open_npy(out, path, why) : open_tensors(out, path, why);
    if (rc != SPEC_OK) logits_close(out);
    return rc;
}

void logits_close(logits *l) {
    free(l->token);
    npy_close(&l->array);
    spec_tensors_free(l->file);
    memset(l, 0, sizeof *l);
}

int logits_row(const logits *l, size_t i, float *out, spec_message *why) {
    if (l->tensor) {
        size_t bytes = l->tensor->bytes / l->n;
        (void)spec_type_to_float(l->tensor->type, (const char *)l->tensor->data + i * bytes, out, l->vocab);
    } else {
        npy_floats(&l->array, i * l->vocab, out, l->vocab);
    }
    for (size_t k = 0; k < l->vocab; k++)
        if (!isfinite(out[k]))
            return specp_fail(why, SPEC_ERR_CORRUPT, "%s: position %zu, token %zu: expected a finite number",
                              l->path, i, k);
    return SPEC_OK;
}
