/* SPDX-License-Identifier: MIT */
/* tokenizer_load_gguf.c - the vocabulary in GGUF metadata, tokenizer.ggml.*. */
#include <string.h>

#include "tokenizer.h"

#define KEY(name) "tokenizer.ggml." name

/* The array of that key, with n elements of a kind; n == SIZE_MAX: any number. *out is NULL when
 * there is none. */
static int find_array(const spec_tensors *f, const char *key, spec_meta_kind kind, size_t n,
                      const spec_meta **out, spec_message *why) {
    const spec_meta *m = spec_tensors_meta(f, key);
    *out = NULL;
    if (!m) return SPEC_OK;
    bool whole = kind == SPEC_META_INT && m->element == SPEC_META_UINT;
    if (m->kind != SPEC_META_ARRAY || (m->element != kind && !whole))
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is not an array of the right kind", key);
    if (n != SIZE_MAX && m->n != n)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s has %llu elements, there are %zu tokens", key,
                          (unsigned long long)m->n, n);
    *out = m;
    return SPEC_OK;
}

static int put_tokens(spec_tokenizer *t, const spec_meta *tokens, const spec_meta *scores,
                      const spec_meta *kinds, spec_message *why) {
    for (size_t i = 0; i < t->n_tokens; i++) {
        const char *text;
        size_t n;
        double score = 0;
        int64_t kind = SPEC_TOKEN_NORMAL;
        if (spec_meta_string(tokens, i, &text, &n) || (scores && spec_meta_float(scores, i, &score)) ||
            (kinds && spec_meta_int(kinds, i, &kind)))
            return specp_fail(why, SPEC_ERR_CORRUPT, "token %zu cannot be read", i);
        if (kind < SPEC_TOKEN_NORMAL || kind > SPEC_TOKEN_BYTE) kind = SPEC_TOKEN_UNUSED;
        int err = specp_tokenizer_put(t, i, text, n, (int)kind, (float)score, why);
        if (err) return err;
    }
    return specp_tokenizer_index(t, why);
}

/* An id; -1 and its 32-bit form say "none". A missing key leaves *id. */
static int read_id(const spec_tokenizer *t, const spec_tensors *f, const char *key, spec_token *id,
                   spec_message *why) {
    const spec_meta *m = spec_tensors_meta(f, key);
    int64_t value;
    if (!m) return SPEC_OK;
    if (m->kind == SPEC_META_ARRAY || spec_meta_int(m, 0, &value))
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is not a whole number", key);
    if (value == -1 || value == UINT32_MAX) {
        *id = -1;
        return SPEC_OK;
    }
    if (value < 0 || (uint64_t)value >= t->n_tokens)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is %lld, there are %zu tokens", key, (long long)value,
                          t->n_tokens);
    *id = (spec_token)value;
    return SPEC_OK;
}

static int read_ids(spec_tokenizer *t, const spec_tensors *f, spec_message *why) {
    spec_token eom = -1;
    int err = read_id(t, f, KEY("bos_token_id"), &t->bos, why);
    if (!err) err = read_id(t, f, KEY("eos_token_id"), &t->eos, why);
    if (!err) err = read_id(t, f, KEY("eot_token_id"), &t->eot, why);
    if (!err) err = read_id(t, f, KEY("eom_token_id"), &eom, why);
    if (!err) err = read_id(t, f, KEY("unknown_token_id"), &t->unknown, why);
    if (!err && eom >= 0) t->token[eom].flags |= SPECP_TOKEN_END;
    return err;
}

static int read_flag(const spec_tensors *f, const char *key, bool *out, spec_message *why) {
    int value;
    int err = spec_tensors_bool(f, key, &value);
    if (err == SPEC_ERR_NOT_FOUND) return SPEC_OK;
    if (err) return specp_fail(why, SPEC_ERR_CORRUPT, "%s is neither true nor false", key);
    *out = value;
    return SPEC_OK;
}

static int read_merges(spec_tokenizer *t, const spec_tensors *f, spec_message *why) {
    const spec_meta *merges;
    int err = find_array(f, KEY("merges"), SPEC_META_STRING, SIZE_MAX, &merges, why);
    if (err) return err;
    if (!merges) return specp_fail(why, SPEC_ERR_CORRUPT, "%s is missing", KEY("merges"));
    err = specp_tokenizer_merges(t, (size_t)merges->n, why);
    for (uint64_t i = 0; i < merges->n && !err; i++) {
        const char *s;
        size_t n;
        if (spec_meta_string(merges, i, &s, &n))
            return specp_fail(why, SPEC_ERR_CORRUPT, "merge %llu cannot be read", (unsigned long long)i);
        err = specp_tokenizer_put_pair(t, s, n, why);
    }
    return err;
}

/* What makes a vocabulary BPE, or SPM. */
static int read_bpe(spec_tokenizer *t, const spec_tensors *f, spec_message *why) {
    const char *pre = "default";
    size_t n = strlen(pre);
    const spec_meta *m = spec_tensors_meta(f, KEY("pre"));
    if (m && (m->kind != SPEC_META_STRING || spec_meta_string(m, 0, &pre, &n)))
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is not a text", KEY("pre"));
    t->bytewise = true;
    int err = specp_pre_apply(t, pre, n, why);
    return err ? err : read_merges(t, f, why);
}

static int read_spm(spec_tokenizer *t, const spec_tensors *f, bool has_kinds, spec_message *why) {
    bool space = true;
    int err = read_flag(f, KEY("add_space_prefix"), &space, why);
    t->prefix = space ? SPECP_PREFIX_EACH : SPECP_PREFIX_NONE;
    if (!has_kinds) specp_tokenizer_guess_kinds(t);
    return err;
}

static int read_rest(spec_tokenizer *t, const spec_tensors *f, bool is_spm, bool has_kinds,
                     spec_message *why) {
    if (is_spm && t->n_tokens > 2) {
        t->unknown = 0;
        t->bos = 1;
        t->eos = 2;
    }
    t->add_bos = is_spm;
    int err = read_ids(t, f, why);
    if (!err) err = is_spm ? read_spm(t, f, has_kinds, why) : read_bpe(t, f, why);
    if (!err) err = read_flag(f, KEY("add_bos_token"), &t->add_bos, why);
    if (!err) err = read_flag(f, KEY("add_eos_token"), &t->add_eos, why);
    if (err) return err;
    const spec_meta *m = spec_tensors_meta(f, "tokenizer.chat_template");
    const char *s;
    size_t n;
    if (m && m->kind == SPEC_META_STRING && !spec_meta_string(m, 0, &s, &n) &&
        specp_tokenizer_put_template(t, s, n))
        return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    return specp_tokenizer_finish(t, why);
}

/* "llama" or "gpt2". */
static int read_model(const spec_tensors *f, bool *is_spm, spec_message *why) {
    const spec_meta *m = spec_tensors_meta(f, KEY("model"));
    const char *s;
    size_t n;
    char shown[60];
    if (!m || m->kind != SPEC_META_STRING || spec_meta_string(m, 0, &s, &n))
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is missing, or not a text", KEY("model"));
    *is_spm = n == 5 && memcmp(s, "llama", 5) == 0;
    if (*is_spm || (n == 4 && memcmp(s, "gpt2", 4) == 0)) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_UNSUPPORTED, "%s is \"%s\", known are \"llama\" (SPM) and \"gpt2\" (BPE)",
                      KEY("model"), specp_tokenizer_show(s, n, shown, sizeof shown));
}

/* A model that comes along must have a row for every token. */
static int check_rows(const spec_tensors *f, size_t n, spec_message *why) {
    const spec_tensor *rows = spec_tensors_find(f, "token_embd.weight");
    if (!rows || rows->dim[0] >= n) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_CORRUPT,
                      "the vocabulary has %zu tokens, token_embd.weight only %llu rows", n,
                      (unsigned long long)rows->dim[0]);
}

int specp_tokenizer_from_gguf(spec_tokenizer **out, const spec_tensors *file, const spec_allocator *alloc,
                              spec_message *why) {
    const spec_meta *tokens = NULL, *scores = NULL, *kinds = NULL;
    spec_tokenizer *t = NULL;
    bool is_spm = false;
    int err = read_model(file, &is_spm, why);
    if (!err) err = find_array(file, KEY("tokens"), SPEC_META_STRING, SIZE_MAX, &tokens, why);
    if (err) return err;
    if (!tokens || tokens->n == 0 || tokens->n > SPECP_MAX_TOKENS)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s is missing or empty, or has more than %zu elements",
                          KEY("tokens"), SPECP_MAX_TOKENS);
    size_t n = (size_t)tokens->n;
    if (is_spm) err = find_array(file, KEY("scores"), SPEC_META_FLOAT, n, &scores, why);
    if (!err) err = find_array(file, KEY("token_type"), SPEC_META_INT, n, &kinds, why);
    if (err) return err;
    if (is_spm && !scores) return specp_fail(why, SPEC_ERR_CORRUPT, "%s is missing", KEY("scores"));
    if ((err = check_rows(file, n, why)) != 0) return err;
    if ((err = specp_tokenizer_begin(&t, n, alloc)) != 0) return specp_fail(why, err, "out of memory");
    err = put_tokens(t, tokens, scores, kinds, why);
    if (!err) err = read_rest(t, file, is_spm, kinds != NULL, why);
    if (err) {
        spec_tokenizer_free(t);
        return err;
    }
    *out = t;
    return SPEC_OK;
}
