/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_load_bin.c - llama2.c's tokenizer.bin.
 *
 *   i32 longest | f32 score, i32 n, n bytes | f32 score, i32 n, n bytes | ... to the end of the file
 *
 * Blanks stand for themselves there, and begin and end of sequence have line ends
 * around them; both are turned into what other files have. 0, 1 and 2 are the unknown
 * token, begin and end.
 */
#include <string.h>

#include "tokenizer.h"

/* The file is little-endian, as the library's machines are (spec_tensors). */
static int32_t read_i32(const char *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

typedef struct record {
    float score;
    const char *text;
    size_t n;
} record;

/* The record at *at, which moves on; false: there is none. */
static bool next_record(const char *data, size_t n, size_t *at, size_t longest, record *out) {
    if (n - *at < 8) return false;
    int32_t len = read_i32(data + *at + 4);
    if (len < 0 || (size_t)len > longest || (size_t)len > n - *at - 8) return false;
    memcpy(&out->score, data + *at, sizeof out->score);
    out->text = data + *at + 8;
    out->n = (size_t)len;
    *at += 8 + (size_t)len;
    return true;
}

static int put_record(spec_tokenizer *t, size_t id, record r, spec_message *why) {
    char small[256];
    if ((id == 1 || id == 2) && r.n > 2 && r.text[0] == '\n' && r.text[r.n - 1] == '\n') {
        r.text++;
        r.n -= 2;
    }
    size_t cap = SPECP_N_BLANK * r.n + 1, n = 0;
    char *text = cap <= sizeof small ? small : specp_alloc(&t->alloc, cap, 1);
    if (!text) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < r.n; i++) {
        if (r.text[i] != ' ') text[n++] = r.text[i];
        for (size_t k = 0; r.text[i] == ' ' && k < SPECP_N_BLANK; k++) text[n++] = SPECP_BLANK[k];
    }
    int err = specp_tokenizer_put(t, id, text, n, SPEC_TOKEN_NORMAL, r.score, why);
    if (text != small) specp_release(&t->alloc, text, cap, 1);
    return err;
}

static int put_records(spec_tokenizer *t, const char *data, size_t n, size_t longest, spec_message *why) {
    size_t at = 4;
    record r;
    for (size_t id = 0; next_record(data, n, &at, longest, &r); id++) {
        int err = put_record(t, id, r, why);
        if (err) return err;
    }
    int err = specp_tokenizer_index(t, why);
    if (err) return err;
    t->unknown = 0;
    t->bos = 1;
    t->eos = 2;
    t->add_bos = true;
    t->prefix = SPECP_PREFIX_EACH;
    specp_tokenizer_guess_kinds(t);
    return specp_tokenizer_finish(t, why);
}

int specp_tokenizer_from_bin(spec_tokenizer **out, const char *data, size_t n, const spec_allocator *alloc,
                             spec_message *why) {
    size_t at = 4, count = 0;
    record r;
    spec_tokenizer *t = NULL;
    int32_t longest = n >= 4 ? read_i32(data) : 0;
    while (longest > 0 && next_record(data, n, &at, (size_t)longest, &r)) count++;
    if (longest <= 0 || at != n || count < 3 || count > SPECP_MAX_TOKENS)
        return specp_fail(why, SPEC_ERR_NOT_FOUND,
                          "not laid out as a tokenizer.bin (record %zu, byte %zu of %zu)", count, at, n);
    int err = specp_tokenizer_begin(&t, count, alloc);
    if (err) return specp_fail(why, err, "out of memory");
    err = put_records(t, data, n, (size_t)longest, why);
    if (err) {
        spec_tokenizer_free(t);
        return err;
    }
    *out = t;
    return SPEC_OK;
}
