/* SPDX-License-Identifier: MIT */
/*
 * The snapshot loader on files that nobody saved. The first byte chooses what
 * the file is:
 *
 *   0..31     the rest of the input, as it is
 *   32..63    as from 128 on, but the snapshot has an attachment
 *   64..127   the rest of the input, with the page's and the sections' checksums
 *             repaired wherever they lie inside
 *   128..255  a real snapshot with bytes changed, as the rest of the input says
 *             (2 bytes position in a third of the file, 1 byte what to do,
 *             1 byte value), then repaired likewise
 *
 * Whatever it is, loading and spec_index_check must not crash. If they find no
 * fault, the index must be right about its own sequences, and live on.
 */
#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oracle_index.h"
#include "snapshot.h"
#include "spec_index.h"

enum { MAX_FILE = 1 << 16, MAX_TOKENS = 3000 };

/* A union, so that the header is aligned where it is looked at. */
typedef union file {
    snap_page page;
    uint8_t bytes[MAX_FILE];
} file;

static void need(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "fuzz_snapshot: %s\n", what);
    abort();
}

static const char *path_of(const char *name) {
    static char path[64];
    snprintf(path, sizeof path, "%s/spec_fuzz_%s_%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", name,
             (long)getpid());
    return path;
}

/* ---- the real snapshot ------------------------------------------------- */

/* Some text with branches, a hub, holes and an empty sequence. */
static void save_sample(const char *path, size_t n_attached) {
    static const uint8_t learned[5000] = {1, 2, 3};
    support_rng rng = support_rng_new(1, 1);
    spec_index *x = NULL;
    spec_index_options o = {.size = sizeof o, .depth = 5};
    spec_token tok[60] = {0};
    spec_seq s;
    need(!spec_index_new(&x, &o), "new");
    for (size_t k = 0; k < 7; k++) {
        for (size_t i = 0; i < 60; i++)
            tok[i] =
                i > 9 && support_rng_below(&rng, 2) ? tok[i - 7] : (spec_token)support_rng_below(&rng, 50);
        need(!spec_index_begin(x, &s) && !spec_index_append(x, s, tok, 60), "append");
        if (k % 3 == 0) need(!spec_index_truncate(x, s, 25), "truncate");
        if (k % 4 == 1) need(!spec_index_remove(x, s), "remove");
        if (k % 2 == 0) spec_index_end(x, s);
    }
    need(!spec_index_begin(x, &s), "begin");
    need(!spec_index_save_with(x, path, learned, n_attached, NULL), "save");
    spec_index_free(x);
}

static size_t read_sample(file *out, bool attached) {
    static file sample[2]; /* made once */
    static size_t sizes[2];
    file *s = &sample[attached];
    size_t *size = &sizes[attached];
    if (!*size) {
        const char *path = path_of("sample");
        save_sample(path, attached ? 5000 : 0);
        FILE *f = fopen(path, "rb");
        need(f != NULL, "open");
        *size = fread(s->bytes, 1, sizeof *s, f);
        fclose(f);
        unlink(path);
        need(*size > sizeof(snap_page) && *size < sizeof *s, "the sample's size");
    }
    memcpy(out, s, *size);
    return *size;
}

/* Positions favour the header and the sections' beginnings, where records are. */
static void change(file *f, size_t size, const uint8_t *data, size_t n) {
    for (; n >= 4; data += 4, n -= 4) {
        size_t at = (size_t)(data[0] << 8 | data[1]);
        if (data[2] & 1)
            at %= sizeof(snap_header);
        else
            at = at % (size / 4096) * 4096 + at / (size / 4096) % 700 + (data[2] & 64 ? 1500 : 0);
        uint8_t *p = &f->bytes[at % size];
        switch (data[2] >> 1 & 3) {
        case 0: *p = data[3]; break;
        case 1: *p ^= (uint8_t)(1u << (data[3] & 7)); break;
        case 2: *p = (uint8_t)(*p + data[3]); break;
        default: memset(p, data[3], size - (size_t)(p - f->bytes) < 4 ? 1 : 4); break;
        }
    }
}

static void repair(file *f, size_t size) {
    if (size < sizeof(snap_page)) return;
    snap_header *h = &f->page.h;
    for (size_t i = 0; i < SNAP_SECTIONS && i < h->n_sections; i++) {
        snap_section *t = &h->section[i];
        if (t->offset > size || t->bytes > size - t->offset || snap_padded(t->bytes) > size - t->offset)
            continue;
        snap_sum sum = specp_snap_sum_begin();
        specp_snap_sum_add(&sum, f->bytes + t->offset, (size_t)snap_padded(t->bytes));
        t->sum = specp_snap_sum_end(&sum);
    }
    h->sum = specp_snap_page_sum(&f->page);
}

/* ---- what was loaded ---------------------------------------------------- */

static void read_sequences(oracle *o, const spec_index *x) {
    for (spec_seq s = 0; spec_index_next_seq(x, s, &s) == SPEC_OK && s;) {
        size_t n = 0;
        need(!spec_index_seq_length(x, s, &n), "length");
        spec_token *tok = malloc((n + 1) * sizeof *tok);
        need(tok && !spec_index_seq_tokens(x, s, 0, n, tok), "tokens");
        oracle_begin(o, s);
        oracle_append(o, s, tok, n);
        free(tok);
    }
}

static uint64_t sum_of(const spec_index *x, size_t *n) {
    uint64_t sum = 0;
    const uint8_t *at = spec_index_attachment(x, n);
    for (size_t i = 0; i < *n; i++) sum = sum * 31 + at[i];
    return sum;
}

static void compare(const oracle *o, const spec_index *x) {
    spec_message why = {{0}};
    if (spec_index_check(x, &why)) need(false, why.text);
    if (!oracle_compare(o, x, &why)) need(false, why.text);
}

/* What is attached stays whatever is done to the index, and goes into its next
 * snapshot, which may take the place of the file that is mapped. */
static void keep_attachment(spec_index *x, const char *path) {
    size_t n, m;
    uint64_t sum = sum_of(x, &n);
    spec_index *y = NULL;
    need(!spec_index_compact(x) && sum_of(x, &m) == sum && m == n, "the attachment after compaction");
    need(!spec_index_save(x, path, NULL) && !spec_index_load(&y, path, NULL, NULL), "save and load");
    need(sum_of(y, &m) == sum && m == n, "the attachment after saving");
    spec_index_free(y);
}

/* An index without fault grows and shrinks like any other. */
static void live_on(spec_index *x, const char *path) {
    static const spec_token more[] = {1, 2, 3, 1, 2, 4, 1, 2, 3};
    oracle o;
    spec_seq s;
    oracle_init(&o, spec_index_depth(x));
    read_sequences(&o, x);
    compare(&o, x);
    if (!spec_index_begin(x, &s)) {
        oracle_begin(&o, s);
        need(!spec_index_append(x, s, more, 9), "append after loading");
        oracle_append(&o, s, more, 9);
    }
    while (o.n > 1) {
        s = o.seq[o.n / 2].id;
        need(!spec_index_remove(x, s), "remove after loading");
        oracle_remove(&o, s);
    }
    compare(&o, x);
    keep_attachment(x, path);
    oracle_free(&o);
}

static void try_file(const char *path, int trust) {
    spec_index *x = NULL;
    spec_message why = {{0}};
    spec_index_stats s;
    spec_index_load_options o = {.size = sizeof o, .trust = trust};
    int err = spec_index_load(&x, path, &o, &why);
    need(err ? why.text[0] && !x : x != NULL, "a refusal without a reason");
    if (err) return;
    err = spec_index_check(x, &why);
    need(err == SPEC_OK || (err == SPEC_ERR_CORRUPT && why.text[0]), "check without a verdict");
    if (!err && !spec_index_get_stats(x, &s) && s.tokens <= MAX_TOKENS && s.depth <= 64) live_on(x, path);
    spec_index_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static file f;
    if (!size || size > MAX_FILE) return 0;
    int kind = data[0];
    size_t n = size - 1;
    if (kind >= 128 || (kind >= 32 && kind < 64)) {
        n = read_sample(&f, kind < 64);
        change(&f, n, data + 1, size - 1);
    } else {
        memcpy(f.bytes, data + 1, n);
    }
    if (kind >= 32) repair(&f, n);
    const char *path = path_of("snapshot");
    support_write_file(path, f.bytes, n);
    try_file(path, kind & 1);
    unlink(path);
    return 0;
}
