/* SPDX-License-Identifier: MIT */
/*
 * From a prompt's turns to tokens. A later turn stands behind what was said before:
 *
 *     user 1, answer 1, user 2, answer 2, user 3 --chat template--> text --> tokens
 *
 * Without a template the texts follow one another, a line each.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_lane.h"
#include "util.h"

/* ---- ids ----------------------------------------------------------------- */

static int copy_ids(const prompt *p, engine_response *r) {
    r->asked = specp_alloc(NULL, p->n_tokens ? p->n_tokens : 1, sizeof *r->asked);
    if (!r->asked) return SPEC_ERR_NOMEM;
    if (p->n_tokens) memcpy(r->asked, p->token, p->n_tokens * sizeof *r->asked);
    r->n_asked = p->n_tokens;
    return SPEC_OK;
}

/* ---- text ---------------------------------------------------------------- */

/* The text of a response, without special tokens; the caller's to free. */
static char *answer_text(const engine *e, const engine_response *r, size_t *n) {
    const spec_tokenizer *t = e->s->tokenizer;
    unsigned flags = SPEC_DETOKENIZE_SKIP_SPECIAL | SPEC_DETOKENIZE_CONTINUE;
    int rc = spec_tokenizer_decode(t, r->token, r->n, flags, NULL, 0, n);
    char *text = rc == SPEC_OK || rc == SPEC_ERR_FULL ? specp_alloc(NULL, *n + 1, 1) : NULL;
    if (text && spec_tokenizer_decode(t, r->token, r->n, flags, text, *n, n) == SPEC_OK) return text;
    free(text);
    return NULL;
}

/* The messages up to the lane's turn; (2 * turn + 1), the answers' texts are the caller's. */
static int collect(engine *e, const lane *l, spec_chat_message *m) {
    const prompt *p = &e->s->prompts->item[l->prompt];
    size_t first = l->response - l->turn;
    for (size_t t = 0; t <= l->turn; t++) {
        m[2 * t] = (spec_chat_message){"user", p->turn[t], strlen(p->turn[t])};
        if (t == l->turn) break;
        spec_chat_message *answer = &m[2 * t + 1];
        answer->role = "assistant";
        answer->content = answer_text(e, &e->out->response[first + t], &answer->n);
        if (!answer->content) return SPEC_ERR_NOMEM;
    }
    return SPEC_OK;
}

static int apply_chat(engine *e, const spec_chat_message *m, size_t n_messages, char **out, size_t *n) {
    int rc = spec_chat_apply(e->s->chat, m, n_messages, SPEC_CHAT_GENERATE, NULL, 0, n, e->why);
    if (rc != SPEC_OK && rc != SPEC_ERR_FULL) return rc;
    *out = specp_alloc(NULL, *n + 1, 1);
    if (!*out) return SPEC_ERR_NOMEM;
    return spec_chat_apply(e->s->chat, m, n_messages, SPEC_CHAT_GENERATE, *out, *n, n, e->why);
}

static int encode(engine *e, const char *text, size_t n, engine_response *r) {
    unsigned flags = SPEC_ENCODE_ADD_SPECIAL | (e->s->chat == SPEC_CHAT_NONE ? 0 : SPEC_ENCODE_PARSE_SPECIAL);
    size_t need = 0;
    int rc = spec_tokenizer_encode(e->s->tokenizer, text, n, flags, NULL, 0, &need, e->why);
    if (rc != SPEC_OK && rc != SPEC_ERR_FULL) return rc;
    e->why->text[0] = '\0';
    r->asked = specp_alloc(NULL, need ? need : 1, sizeof *r->asked);
    if (!r->asked) return SPEC_ERR_NOMEM;
    return spec_tokenizer_encode(e->s->tokenizer, text, n, flags, r->asked, need, &r->n_asked, e->why);
}

static int encode_turn(engine *e, const lane *l, engine_response *r) {
    size_t n_messages = 2 * l->turn + 1, n = 0;
    spec_chat_message *m = specp_calloc(NULL, n_messages, sizeof *m);
    char *text = NULL;
    int rc = m ? collect(e, l, m) : SPEC_ERR_NOMEM;
    if (rc == SPEC_OK) rc = apply_chat(e, m, n_messages, &text, &n);
    if (rc == SPEC_OK) rc = encode(e, text, n, r);
    for (size_t i = 1; m && i < n_messages; i += 2) free((char *)m[i].content);
    free(m);
    free(text);
    return rc;
}

int engine_prompt(engine *e, const lane *l, engine_response *r) {
    const prompt *p = &e->s->prompts->item[l->prompt];
    int rc = p->turn ? encode_turn(e, l, r) : copy_ids(p, r);
    return rc == SPEC_OK || e->why->text[0] ? rc : engine_fault(e, l, rc, "making the prompt's tokens");
}
