/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_build.c - a vocabulary in the making: loaders put tokens and merges,
 * finish derives the rest.
 *
 *   pool   <unk><s>...[E2 96 81]the...   then the pieces that are not texts:  the...
 *            ^ token[0].text  ^ token[i].text                                ^ token[i].piece
 *
 *   slot   open addressing, text -> id + 1, at most 3/4 full
 *   merge  open addressing, (left id, right id) -> (rank, id of the whole)
 *
 * Invariants after finish: every token has a kind; texts are distinct and not empty; the
 * parts and the whole of every merge are tokens; bos, eos, eot and unknown are ids or -1.
 */
#include <stdio.h>
#include <string.h>

#include "tokenizer.h"
#include "tokenizer_text.h"

static uint64_t hash_bytes(uint64_t h, const char *s, size_t n) { /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return h;
}

#define HASH_SEED 0xcbf29ce484222325u

/* Slots for n entries. */
static size_t table_size(size_t n) {
    size_t size = 16;
    while (size / 4 * 3 < n) size *= 2;
    return size;
}

const char *specp_tokenizer_show(const char *text, size_t n, char *buf, size_t cap) {
    size_t k = 0, i = 0;
    while (i < n && k + 8 < cap) {
        size_t len = specp_utf8_length(text + i, n - i);
        if (len && (uint8_t)text[i] >= ' ' && (uint8_t)text[i] != 127) {
            memcpy(buf + k, text + i, len);
            k += len;
        } else {
            k += (size_t)snprintf(buf + k, 5, "\\x%02x", (unsigned)(uint8_t)text[i]);
        }
        i += len ? len : 1;
    }
    if (i < n) memcpy(buf + k, "...", 3), k += 3;
    buf[k] = 0;
    return buf;
}

/* ---- tokens -------------------------------------------------------------------- */

int specp_tokenizer_begin(spec_tokenizer **out, size_t n_tokens, const spec_allocator *alloc) {
    spec_tokenizer *t = specp_calloc(alloc, 1, sizeof *t);
    if (!t) return SPEC_ERR_NOMEM;
    if (alloc) t->alloc = *alloc;
    t->bos = t->eos = t->eot = t->unknown = -1;
    t->pre = "";
    t->n_tokens = n_tokens;
    t->token = specp_calloc(alloc, n_tokens, sizeof *t->token);
    if (!t->token) {
        spec_tokenizer_free(t);
        return SPEC_ERR_NOMEM;
    }
    *out = t;
    return SPEC_OK;
}

/* Room for n bytes at the pool's end. */
static int pool_reserve(spec_tokenizer *t, size_t n) {
    if (n > UINT32_MAX - t->n_pool) return SPEC_ERR_CORRUPT;
    if (n <= t->cap_pool - t->n_pool) return SPEC_OK;
    size_t cap = t->cap_pool ? t->cap_pool : 4096;
    while (cap - t->n_pool < n) cap *= 2;
    char *pool = specp_resize(&t->alloc, t->pool, t->cap_pool, cap, 1);
    if (!pool) return SPEC_ERR_NOMEM;
    t->pool = pool;
    t->cap_pool = cap;
    return SPEC_OK;
}

static int out_of_pool(int err, spec_message *why) {
    return specp_fail(why, err, err == SPEC_ERR_NOMEM ? "out of memory" : "the tokens' texts pass 4 GiB");
}

int specp_tokenizer_put(spec_tokenizer *t, size_t id, const char *text, size_t n, int kind, float score,
                        spec_message *why) {
    char name[40];
    specp_token *k = &t->token[id];
    if (k->kind) return specp_fail(why, SPEC_ERR_CORRUPT, "token %zu is given twice", id);
    if (score != score)
        return specp_fail(why, SPEC_ERR_CORRUPT, "the score of token %zu is not a number", id);
    if (n == 0) {
        n = (size_t)snprintf(name, sizeof name, "[EMPTY_%zu]", id);
        text = name;
        kind = SPEC_TOKEN_UNUSED;
    }
    int err = pool_reserve(t, n);
    if (err) return out_of_pool(err, why);
    memcpy(t->pool + t->n_pool, text, n);
    k->text = (uint32_t)t->n_pool;
    k->n_text = (uint32_t)n;
    t->n_pool += n;
    k->kind = (uint8_t)kind;
    k->score = score + 0.0f; /* -0 becomes 0: both are one score */
    if (n > t->max_text) t->max_text = n;
    return SPEC_OK;
}

static bool same_text(const specp_token *k, const char *pool, const char *a, size_t n_a, const char *b,
                      size_t n_b) {
    return k->n_text == n_a + n_b && memcmp(pool + k->text, a, n_a) == 0 &&
           (n_b == 0 || memcmp(pool + k->text + n_a, b, n_b) == 0);
}

/* The slot of a text, or the empty one where it belongs. */
static size_t find_slot(const spec_tokenizer *t, const char *a, size_t n_a, const char *b, size_t n_b) {
    uint64_t h = specp_mix64(hash_bytes(hash_bytes(HASH_SEED, a, n_a), b, n_b));
    size_t i = (size_t)h & (t->n_slots - 1);
    while (t->slot[i] && !same_text(&t->token[t->slot[i] - 1], t->pool, a, n_a, b, n_b))
        i = (i + 1) & (t->n_slots - 1);
    return i;
}

spec_token specp_tokenizer_lookup(const spec_tokenizer *t, const char *a, size_t n_a, const char *b,
                                  size_t n_b) {
    if (n_a == 0 || n_a > t->max_text || n_b > t->max_text - n_a) return -1;
    return (spec_token)t->slot[find_slot(t, a, n_a, b, n_b)] - 1;
}

int specp_tokenizer_index(spec_tokenizer *t, spec_message *why) {
    char name[48], shown[80];
    for (size_t id = 0; id < t->n_tokens; id++) {
        if (t->token[id].kind) continue;
        int n = snprintf(name, sizeof name, "[PAD%zu]", id);
        int err = specp_tokenizer_put(t, id, name, (size_t)n, SPEC_TOKEN_UNUSED, 0, why);
        if (err) return err;
    }
    size_t size = table_size(t->n_tokens);
    t->slot = specp_calloc(&t->alloc, size, sizeof *t->slot);
    if (!t->slot) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    t->n_slots = size;
    for (size_t id = 0; id < t->n_tokens; id++) {
        const specp_token *k = &t->token[id];
        size_t i = find_slot(t, t->pool + k->text, k->n_text, NULL, 0);
        if (t->slot[i])
            return specp_fail(why, SPEC_ERR_CORRUPT, "tokens %u and %zu are both \"%s\"", t->slot[i] - 1, id,
                              specp_tokenizer_show(t->pool + k->text, k->n_text, shown, sizeof shown));
        t->slot[i] = (uint32_t)id + 1;
    }
    return SPEC_OK;
}

/* ---- merges -------------------------------------------------------------------- */

int specp_tokenizer_merges(spec_tokenizer *t, size_t n, spec_message *why) {
    if (n > 4 * SPECP_MAX_TOKENS) return specp_fail(why, SPEC_ERR_CORRUPT, "%zu merges are too many", n);
    size_t size = table_size(n);
    t->merge = specp_alloc(&t->alloc, size, sizeof *t->merge);
    if (!t->merge) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    t->n_merge_slots = size;
    for (size_t i = 0; i < size; i++) t->merge[i] = (specp_merge){.pair = SPECP_NO_PAIR};
    return SPEC_OK;
}

static int no_such_part(const spec_tokenizer *t, const char *what, const char *a, size_t n_a, const char *b,
                        size_t n_b, spec_message *why) {
    char left[80], right[80];
    return specp_fail(why, SPEC_ERR_CORRUPT, "merge %zu, \"%s\" and \"%s\": %s no token", t->n_merges,
                      specp_tokenizer_show(a, n_a, left, sizeof left),
                      specp_tokenizer_show(b, n_b, right, sizeof right), what);
}

int specp_tokenizer_put_merge(spec_tokenizer *t, const char *left, size_t n_left, const char *right,
                              size_t n_right, spec_message *why) {
    spec_token a = specp_tokenizer_lookup(t, left, n_left, NULL, 0);
    spec_token b = specp_tokenizer_lookup(t, right, n_right, NULL, 0);
    if (a < 0) return no_such_part(t, "the first is", left, n_left, right, n_right, why);
    if (b < 0) return no_such_part(t, "the second is", left, n_left, right, n_right, why);
    spec_token whole = specp_tokenizer_lookup(t, left, n_left, right, n_right);
    if (whole < 0) return no_such_part(t, "both together are", left, n_left, right, n_right, why);
    uint64_t pair = (uint64_t)a << 32 | (uint32_t)b;
    size_t i = (size_t)specp_mix64(pair) & (t->n_merge_slots - 1);
    while (t->merge[i].pair != SPECP_NO_PAIR && t->merge[i].pair != pair)
        i = (i + 1) & (t->n_merge_slots - 1);
    if (t->merge[i].pair != pair) t->merge[i] = (specp_merge){pair, (uint32_t)t->n_merges, whole};
    t->n_merges++;
    return SPEC_OK;
}

int specp_tokenizer_put_pair(spec_tokenizer *t, const char *s, size_t n, spec_message *why) {
    const char *gap = n > 1 ? memchr(s + 1, ' ', n - 1) : NULL;
    char shown[80];
    if (!gap)
        return specp_fail(why, SPEC_ERR_CORRUPT,
                          "merge %zu, \"%s\", is not two texts with a blank between them", t->n_merges,
                          specp_tokenizer_show(s, n, shown, sizeof shown));
    size_t n_left = (size_t)(gap - s);
    return specp_tokenizer_put_merge(t, s, n_left, gap + 1, n - n_left - 1, why);
}

int specp_tokenizer_put_template(spec_tokenizer *t, const char *s, size_t n) {
    char *copy = n < SIZE_MAX ? specp_alloc(&t->alloc, n + 1, 1) : NULL;
    if (!copy) return SPEC_ERR_NOMEM;
    memcpy(copy, s, n);
    copy[n] = 0;
    t->chat_template = copy;
    t->n_chat_template = n;
    return SPEC_OK;
}

/* ---- finishing ------------------------------------------------------------------- */

/* A hexadecimal digit's value, -1: it is none. */
static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int specp_byte_of_name(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
    int high = hex_digit(s[3]), low = hex_digit(s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The bytes of a text in GPT-2's letters; what is none stays as it is. */
static size_t decode_letters(const char *s, size_t n, char *out) {
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        size_t len = specp_utf8_length(s + i, n - i);
        int b = len ? specp_byte_of_letter(specp_utf8_code(s + i, len)) : -1;
        if (!len) len = 1;
        if (b >= 0) {
            out[k++] = (char)b;
        } else {
            memcpy(out + k, s + i, len);
            k += len;
        }
        i += len;
    }
    return k;
}

static size_t decode_blanks(const char *s, size_t n, char *out) {
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= SPECP_N_BLANK && memcmp(s + i, SPECP_BLANK, SPECP_N_BLANK) == 0) {
            out[k++] = ' ';
            i += SPECP_N_BLANK;
        } else {
            out[k++] = s[i++];
        }
    }
    return k;
}

/* The piece of one token: its text, or what that decodes to, which is never longer. */
static int make_piece(spec_tokenizer *t, specp_token *k, spec_message *why) {
    k->piece = k->text;
    k->n_piece = k->kind == SPEC_TOKEN_UNUSED ? 0 : k->n_text;
    if (k->kind != SPEC_TOKEN_NORMAL && k->kind != SPEC_TOKEN_BYTE) return SPEC_OK;
    int err = pool_reserve(t, k->n_text);
    if (err) return out_of_pool(err, why);
    const char *text = t->pool + k->text;
    char *out = t->pool + t->n_pool;
    int byte = k->kind == SPEC_TOKEN_BYTE ? specp_byte_of_name(text, k->n_text) : -1;
    if (byte >= 0) {
        out[0] = (char)byte;
        k->n_piece = 1;
    } else {
        k->n_piece = (uint32_t)(t->bytewise ? decode_letters(text, k->n_text, out)
                                            : decode_blanks(text, k->n_text, out));
    }
    k->piece = (uint32_t)t->n_pool;
    t->n_pool += k->n_piece;
    return SPEC_OK;
}

static int make_pieces(spec_tokenizer *t, spec_message *why) {
    uint64_t hash = specp_mix64(t->n_tokens);
    for (size_t id = 0; id < t->n_tokens; id++) {
        specp_token *k = &t->token[id];
        int err = make_piece(t, k, why);
        if (err) return err;
        if (k->n_piece > t->max_piece) t->max_piece = k->n_piece;
        hash = specp_mix64(hash ^ hash_bytes(HASH_SEED, t->pool + k->piece, k->n_piece));
    }
    t->hash = hash;
    return SPEC_OK;
}

static void make_bytes(spec_tokenizer *t) {
    for (int b = 0; b < 256; b++) {
        char text[8];
        if (t->bytewise) {
            t->byte[b] = specp_tokenizer_lookup(t, text, specp_write_letter((uint8_t)b, text), NULL, 0);
        } else {
            size_t n = (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
            t->byte[b] = t->no_bytes ? -1 : specp_tokenizer_lookup(t, text, n, NULL, 0);
            text[0] = (char)b;
            if (t->byte[b] < 0) t->byte[b] = specp_tokenizer_lookup(t, text, 1, NULL, 0);
        }
    }
}

static spec_token find_name(const spec_tokenizer *t, const char *name) {
    return specp_tokenizer_lookup(t, name, strlen(name), NULL, 0);
}

/* Names that end generation, in whatever vocabulary: files name at most one or two of them. The first
 * part ends a turn, most specific first. */
static const char *const turn_ends[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "<\357\275\234end\342\226\201of\342\226\201sentence\357\275\234>",
    "<end_of_utterance>",
    NULL,
};
static const char *const other_ends[] = {
    "<|eom_id|>",                                           /* a message to a tool */
    "<|fim_pad|>",  "<fim-pad>",     "<fim_pad>",  "<PAD>", /* filling in the middle: a file is done */
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>", NULL,
};
/* These do not end it, but are control tokens even where the file does not say so. */
static const char *const controls[] = {
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<PRE>",
    "\342\226\201<PRE>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<SUF>",
    "\342\226\201<SUF>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<MID>",
    "\342\226\201<MID>",
    "<\357\275\234fim\342\226\201begin\357\275\234>",
    "<\357\275\234fim\342\226\201hole\357\275\234>",
    "<\357\275\234fim\342\226\201end\357\275\234>",
    NULL,
};

static void mark_names(spec_tokenizer *t, const char *const *names, unsigned flags) {
    for (; *names; names++) {
        spec_token id = find_name(t, *names);
        if (id < 0) continue;
        t->token[id].kind = SPEC_TOKEN_CONTROL;
        t->token[id].flags |= (uint8_t)flags;
    }
}

static void mark_ends(spec_tokenizer *t) {
    for (size_t i = 0; t->eot < 0 && turn_ends[i]; i++) t->eot = find_name(t, turn_ends[i]);
    mark_names(t, turn_ends, SPECP_TOKEN_END);
    mark_names(t, other_ends, SPECP_TOKEN_END);
    mark_names(t, controls, 0);
    if (t->eos >= 0) t->token[t->eos].flags |= SPECP_TOKEN_END;
    if (t->eot >= 0) t->token[t->eot].flags |= SPECP_TOKEN_END;
}

void specp_tokenizer_guess_kinds(spec_tokenizer *t) {
    for (size_t id = 0; id < t->n_tokens; id++) {
        specp_token *k = &t->token[id];
        if (specp_byte_of_name(t->pool + k->text, k->n_text) >= 0) k->kind = SPEC_TOKEN_BYTE;
    }
    if (t->bos >= 0) t->token[t->bos].kind = SPEC_TOKEN_CONTROL;
    if (t->eos >= 0) t->token[t->eos].kind = SPEC_TOKEN_CONTROL;
    if (t->unknown >= 0) t->token[t->unknown].kind = SPEC_TOKEN_UNKNOWN;
}

int specp_tokenizer_finish(spec_tokenizer *t, spec_message *why) {
    if (t->add_bos && t->bos < 0)
        return specp_fail(why, SPEC_ERR_CORRUPT,
                          "a begin-of-sequence token is to be added, but there is none");
    if (t->add_eos && t->eos < 0)
        return specp_fail(why, SPEC_ERR_CORRUPT,
                          "an end-of-sequence token is to be added, but there is none");
    mark_ends(t);
    make_bytes(t);
    int err = make_pieces(t, why);
    if (!err && (err = specp_special_build(t)) != 0) specp_fail(why, err, "out of memory");
    return err;
}
