/* SPDX-License-Identifier: MIT */
/* What ends a response: the tokens that end sequences, and stop strings. */
#include <stdlib.h>
#include <string.h>

#include "engine_lane.h"
#include "util.h"

static bool ends_sequence(const engine *e, spec_token t) {
    return t == e->info.eos || (e->s->tokenizer && spec_tokenizer_is_end(e->s->tokenizer, t));
}

/* Writes them to out, which may be NULL; returns how many. */
static size_t end_tokens(const engine *e, spec_token *out) {
    size_t n = 0;
    if (e->s->ignore_eos) return 0;
    for (size_t t = 0; t < e->info.vocab; t++) {
        if (!ends_sequence(e, (spec_token)t)) continue;
        if (out) out[n] = (spec_token)t;
        n++;
    }
    return n;
}

int engine_stop_new(const engine *e, lane *l) {
    const cli_list *texts = e->s->stop;
    size_t n_tokens = end_tokens(e, NULL), n_strings = texts ? texts->n : 0;
    spec_token *token = specp_calloc(NULL, n_tokens + 1, sizeof *token);
    spec_bytes *string = specp_calloc(NULL, n_strings + 1, sizeof *string);
    int rc = token && string ? SPEC_OK : SPEC_ERR_NOMEM;
    if (rc == SPEC_OK) {
        end_tokens(e, token);
        for (size_t i = 0; i < n_strings; i++)
            string[i] = (spec_bytes){texts->item[i], strlen(texts->item[i])};
        spec_stop_options o = {.size = sizeof o,
                               .tokens = token,
                               .n_tokens = n_tokens,
                               .strings = string,
                               .n_strings = n_strings};
        rc = spec_stop_new(&l->stop, &o, NULL, e->why);
    }
    free(token);
    free(string);
    return rc;
}
