/* SPDX-License-Identifier: MIT */
/* tokenizer.c - what a finished tokenizer tells about itself and its tokens. */
#include "tokenizer.h"

#include <string.h>

void spec_tokenizer_free(spec_tokenizer *t) {
    if (!t) return;
    spec_allocator alloc = t->alloc;
    specp_pattern_release(t);
    specp_release(&alloc, t->chat_template, t->n_chat_template + 1, 1);
    specp_release(&alloc, t->trie, t->n_trie, sizeof *t->trie);
    specp_release(&alloc, t->special, t->n_special, sizeof *t->special);
    specp_release(&alloc, t->merge, t->n_merge_slots, sizeof *t->merge);
    specp_release(&alloc, t->slot, t->n_slots, sizeof *t->slot);
    specp_release(&alloc, t->pool, t->cap_pool, 1);
    specp_release(&alloc, t->token, t->n_tokens, sizeof *t->token);
    specp_release(&alloc, t, 1, sizeof *t);
}

int spec_tokenizer_get_info(const spec_tokenizer *t, spec_tokenizer_info *out) {
    if (!t || !out || out->size < sizeof(size_t)) return SPEC_ERR_INVALID;
    spec_tokenizer_info info = {
        .size = out->size,
        .model = t->merge ? "BPE" : "SPM",
        .pre = t->pre,
        .n_tokens = t->n_tokens,
        .longest = t->max_piece,
        .bos = t->bos,
        .eos = t->eos,
        .eot = t->eot,
        .unknown = t->unknown,
        .add_bos = t->add_bos,
        .add_eos = t->add_eos,
        .adds_space = t->prefix != SPECP_PREFIX_NONE,
        .hash = t->hash,
        .chat_template = t->chat_template,
        .n_chat_template = t->n_chat_template,
    };
    memcpy(out, &info, out->size < sizeof info ? out->size : sizeof info);
    return SPEC_OK;
}

static bool is_token(const spec_tokenizer *t, spec_token token) {
    return t && token >= 0 && (size_t)token < t->n_tokens;
}

int spec_tokenizer_piece(const spec_tokenizer *t, spec_token token, const char **bytes, size_t *n) {
    if (!is_token(t, token) || !bytes || !n) return SPEC_ERR_INVALID;
    *bytes = t->pool + t->token[token].piece;
    *n = t->token[token].n_piece;
    return SPEC_OK;
}

int spec_tokenizer_find(const spec_tokenizer *t, const char *text, size_t n, spec_token *out) {
    if (!t || !text || !out) return SPEC_ERR_INVALID;
    spec_token id = specp_tokenizer_lookup(t, text, n, NULL, 0);
    if (id < 0) return SPEC_ERR_NOT_FOUND;
    *out = id;
    return SPEC_OK;
}

int spec_tokenizer_kind(const spec_tokenizer *t, spec_token token) {
    return is_token(t, token) ? t->token[token].kind : SPEC_ERR_INVALID;
}

int spec_tokenizer_is_end(const spec_tokenizer *t, spec_token token) {
    return is_token(t, token) && (t->token[token].flags & SPECP_TOKEN_END);
}

int spec_tokenizer_same(const spec_tokenizer *a, const spec_tokenizer *b, spec_message *why) {
    char in_a[120], in_b[120];
    if (why) why->text[0] = '\0';
    if (!a || !b) return specp_fail(why, SPEC_ERR_INVALID, "a tokenizer is missing");
    for (size_t id = 0; id < a->n_tokens && id < b->n_tokens; id++) {
        const specp_token *x = &a->token[id], *y = &b->token[id];
        const char *p = a->pool + x->piece, *q = b->pool + y->piece;
        if (x->n_piece == y->n_piece && memcmp(p, q, x->n_piece) == 0) continue;
        return specp_fail(why, SPEC_ERR_INVALID,
                          "the vocabularies differ: token %zu is \"%s\" in one, \"%s\" in the other", id,
                          specp_tokenizer_show(p, x->n_piece, in_a, sizeof in_a),
                          specp_tokenizer_show(q, y->n_piece, in_b, sizeof in_b));
    }
    if (a->n_tokens != b->n_tokens)
        return specp_fail(why, SPEC_ERR_INVALID, "the vocabularies differ: one has %zu tokens, the other %zu",
                          a->n_tokens, b->n_tokens);
    return SPEC_OK;
}

int spec_tokenizer_fits(const spec_tokenizer *t, size_t model_vocab, spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!t) return specp_fail(why, SPEC_ERR_INVALID, "the tokenizer is missing");
    if (t->n_tokens <= model_vocab) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_INVALID, "the tokenizer has %zu tokens, the model only %zu", t->n_tokens,
                      model_vocab);
}
