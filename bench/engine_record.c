/* SPDX-License-Identifier: MIT */
/* What an engine's run said: compared with another's, and as a trace. */
#include <string.h>

#include "engine.h"

bool engine_same(const engine_run *a, const engine_run *b, size_t *where, size_t *at) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const engine_response *x = &a->response[i], *y = &b->response[i];
        size_t k = 0, n = x->n < y->n ? x->n : y->n;
        while (k < n && x->token[k] == y->token[k]) k++;
        if (k == x->n && k == y->n && x->n_asked == y->n_asked) continue;
        if (where) *where = i;
        if (at) *at = k;
        return false;
    }
    return true;
}

int engine_trace(const engine_run *r, const engine_settings *s, trace *out) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < r->n; i++) {
        const engine_response *e = &r->response[i];
        const prompt *p = &s->prompts->item[e->prompt];
        if (!e->n) continue;
        int rc = trace_add(out, p->id, p->group, e->asked, e->n_asked, e->token, e->n);
        if (rc != SPEC_OK) {
            trace_free(out);
            return rc;
        }
        out->req[out->n - 1].max_new_tokens = e->limit;
    }
    return SPEC_OK;
}
