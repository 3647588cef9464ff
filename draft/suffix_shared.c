/* SPDX-License-Identifier: MIT */
/*
 * The index that a tenant's requests share, under concurrent use.
 *
 *     propose    read lock                     waits for one append at most
 *     observe    gate and write lock, tried    if others are at it, the tokens
 *                                              stay pending till next time
 *     end        gate tried, write lock        waits for proposals being made, as
 *                                              observe does from SLICE tokens on;
 *                                              what is pending then goes to the
 *                                              backlog, for the next who writes
 *     save       read lock                     while it runs, tokens stay pending
 *
 * Nobody waits for a writer in order to write. With max_requests a response takes its place when its
 * request begins or, if others are at it, with its first tokens, and room for it
 * is made at once or by those who write next.
 *
 * Where the match of a request's text in the shared index is read off:
 *
 *     prompt ............ p | response r1 ... rn      in the index: r1 ... rn
 *                        <---------- a match longer than n: found by the cursor
 *                             <----- of n or less: the chain of the response's
 *                                    own end in the index
 *
 * The cursor is in use only while its match is longer than the response. Once it
 * is not, it can become so again only by other requests' appends, and then the
 * n + 1 last tokens occur: a look-up that as a rule fails at its first tokens.
 */
#include "suffix_internal.h"

#define SLICE 64

/* ---- knowledge -------------------------------------------------------- */

static spec_index *take_corpus(suffix_drafter *d) {
    specp_shell_lock(&d->shell);
    spec_index *x = d->corpus;
    d->corpus = NULL;
    specp_shell_unlock(&d->shell);
    return x;
}

static int open_index(suffix_drafter *d, spec_index **out) {
    const suffix_options *o = &d->options;
    size_t limit = (size_t)o->memory_mb << 20;
    if (!o->corpus[0]) {
        spec_index_options make = {.size = sizeof make,
                                   .depth = (uint32_t)o->depth,
                                   .evict = (spec_evict)o->evict,
                                   .memory_limit = limit,
                                   .alloc = d->shell.alloc};
        return spec_index_new(out, &make);
    }
    if ((*out = take_corpus(d))) return SPEC_OK;
    /* Another tenant: the same pages of the same file, verified when the drafter was opened. A file
     * that has taken its place may hold what one tenant taught. */
    spec_index_load_options load = {.size = sizeof load,
                                    .trust = 1,
                                    .snapshot_id = d->corpus_id,
                                    .memory_limit = limit,
                                    .evict = (spec_evict)o->evict,
                                    .alloc = d->shell.alloc};
    return spec_index_load(out, o->corpus, &load, NULL);
}

int specp_suffix_make(void *user, void **out) {
    suffix_drafter *d = user;
    knowledge *k = specp_calloc(&d->shell.alloc, 1, sizeof *k);
    if (!k) return SPEC_ERR_NOMEM;
    int err = open_index(d, &k->index);
    if (err) goto fail;
    err = SPEC_ERR_NOMEM;
    if (d->mix && !(k->mix = specp_alloc(&d->shell.alloc, 1, sizeof *k->mix))) goto fail;
    if (d->mix) *k->mix = *d->mix;
    if (specp_rwlock_init(&k->lock)) goto fail;
    if (pthread_mutex_init(&k->gate, NULL)) goto fail_gate;
    if (pthread_mutex_init(&k->backlog_lock, NULL)) goto fail_backlog;
    k->backlog_end = &k->backlog;
    *out = k;
    return SPEC_OK;
fail_backlog:
    pthread_mutex_destroy(&k->gate);
fail_gate:
    pthread_rwlock_destroy(&k->lock);
fail:
    spec_index_free(k->index);
    specp_release(&d->shell.alloc, k->mix, 1, sizeof *k->mix);
    specp_release(&d->shell.alloc, k, 1, sizeof *k);
    return err;
}

static void leftover_free(suffix_drafter *d, leftover *l) {
    specp_text_release(&l->text, &d->shell.alloc);
    specp_release(&d->shell.alloc, l, 1, sizeof *l);
}

void specp_suffix_drop(void *user, void *knowledge_) {
    suffix_drafter *d = user;
    knowledge *k = knowledge_;
    for (leftover *l = k->backlog, *next; l; l = next) {
        next = l->next;
        leftover_free(d, l);
    }
    spec_index_free(k->index);
    specp_release(&d->shell.alloc, k->mix, 1, sizeof *k->mix);
    pthread_rwlock_destroy(&k->lock);
    pthread_mutex_destroy(&k->gate);
    pthread_mutex_destroy(&k->backlog_lock);
    specp_release(&d->shell.alloc, k, 1, sizeof *k);
}

/* ---- writing ---------------------------------------------------------- */

bool specp_suffix_write_try(knowledge *k) {
    if (pthread_mutex_trylock(&k->gate)) return false;
    if (!pthread_rwlock_trywrlock(&k->lock)) return true;
    pthread_mutex_unlock(&k->gate);
    return false;
}

/* The same, but waits for the proposals that are being made, unless a save is
 * among the readers: otherwise those who only try might never get in. */
static bool write_press(suffix_drafter *d, knowledge *k) {
    if (specp_suffix_write_try(k)) return true;
    if (pthread_mutex_trylock(&k->gate)) return false; /* somebody is writing */
    bool saving = atomic_load_explicit(&k->saving, memory_order_acquire) > 0;
    if (saving)
        pthread_mutex_unlock(&k->gate);
    else
        specp_write_lock(&k->lock, &d->shell.wait);
    return !saving;
}

void specp_suffix_write_end(knowledge *k) {
    pthread_rwlock_unlock(&k->lock);
    pthread_mutex_unlock(&k->gate);
}

/* Is the response in the shared index as far as it was appended? Not when
 * eviction has been at it. */
static bool intact(const knowledge *k, const shared_seq *to) {
    size_t n = 0;
    if (!to->seq) return !to->gone && to->n == 0;
    return !spec_index_seq_length(k->index, to->seq, &n) && n == to->n;
}

/* Appends tokens to a request's sequence, or marks it gone: evicted, or memory
 * refused. Both locks are held. Returns whether it is still there. */
static bool append_slice(knowledge *k, shared_seq *to, const spec_token *tok, size_t n) {
    to->gone = to->gone || !intact(k, to) || (!to->seq && spec_index_begin(k->index, &to->seq)) ||
               spec_index_append(k->index, to->seq, tok, n);
    if (to->gone) {
        if (to->seq && to->n == 0) (void)spec_index_remove(k->index, to->seq); /* no empty one is left */
        return false;
    }
    to->n += n;
    k->grown += n;
    return true;
}

/* Appends some of what ended requests left. Both locks are held. */
static void work_off(suffix_drafter *d, knowledge *k) {
    pthread_mutex_lock(&k->backlog_lock);
    leftover *l = k->backlog;
    pthread_mutex_unlock(&k->backlog_lock);
    if (!l) return;
    size_t n = l->text.n - l->done < SLICE ? l->text.n - l->done : SLICE;
    bool more = append_slice(k, &l->to, l->text.tok + l->done, n);
    l->done += n;
    if (more && l->done < l->text.n) return;
    pthread_mutex_lock(&k->backlog_lock);
    k->backlog = l->next; /* new ones come in at the other end */
    if (!k->backlog) k->backlog_end = &k->backlog;
    pthread_mutex_unlock(&k->backlog_lock);
    leftover_free(d, l);
}

/* Leaves what is pending to the others; where memory is refused it is not learnt. */
static void leave_behind(suffix_drafter *d, suffix_request *r) {
    knowledge *k = r->shared;
    if (!r->pending.n || r->to.gone) return;
    leftover *l = specp_calloc(&d->shell.alloc, 1, sizeof *l);
    if (!l) return;
    l->text = r->pending;
    l->to = r->to;
    memset(&r->pending, 0, sizeof r->pending);
    pthread_mutex_lock(&k->backlog_lock);
    *k->backlog_end = l;
    k->backlog_end = &l->next;
    pthread_mutex_unlock(&k->backlog_lock);
}

/* Takes up to SLICE tokens from the oldest sequence if there are more than
 * max_requests; false when there are not. Both locks are held. */
static bool shed(suffix_drafter *d, knowledge *k) {
    spec_index_stats s;
    spec_seq oldest = 0;
    size_t n = 0;
    if (d->options.max_requests < 0 || spec_index_get_stats(k->index, &s)) return false;
    if (s.sequences <= (uint64_t)d->options.max_requests) return false;
    if (spec_index_next_seq(k->index, 0, &oldest) || spec_index_seq_length(k->index, oldest, &n))
        return false;
    k->dropped += n <= SLICE;
    return !(n > SLICE ? spec_index_truncate(k->index, oldest, SLICE) : spec_index_remove(k->index, oldest));
}

void specp_suffix_teach(suffix_drafter *d, suffix_request *r, bool ending) {
    specp_text *p = &r->pending;
    size_t done = 0;
    while (done < p->n && !r->to.gone) {
        bool press = ending || p->n - done >= SLICE;
        if (!(press ? write_press(d, r->shared) : specp_suffix_write_try(r->shared))) break;
        size_t n = p->n - done < SLICE ? p->n - done : SLICE;
        work_off(d, r->shared);
        shed(d, r->shared);
        append_slice(r->shared, &r->to, p->tok + done, n);
        specp_suffix_write_end(r->shared);
        done += n;
    }
    if (r->to.gone) done = p->n;
    if (done && done < p->n) memmove(p->tok, p->tok + done, (p->n - done) * sizeof *p->tok);
    p->n -= done;
}

/* ---- requests --------------------------------------------------------- */

/* With a limit on requests the place is taken at once, and room made for it. */
static int take_place(suffix_drafter *d, suffix_request *r) {
    if (d->options.max_requests < 0 || !specp_suffix_write_try(r->shared)) return SPEC_OK;
    int err = spec_index_begin(r->shared->index, &r->to.seq);
    bool more = !err && shed(d, r->shared);
    specp_suffix_write_end(r->shared);
    while (more && specp_suffix_write_try(r->shared)) { /* others may come in between */
        more = shed(d, r->shared);
        specp_suffix_write_end(r->shared);
    }
    return err;
}

int specp_suffix_join(suffix_drafter *d, suffix_request *r, uint64_t tenant) {
    if (!d->options.shared || d->options.max_requests == 0) return SPEC_OK;
    void *k;
    int err = specp_tenants_acquire(&d->tenants, tenant, &k);
    if (err || !k) return err;
    r->shared = k;
    specp_read_lock(&r->shared->lock, &d->shell.wait);
    err = spec_cursor_new(&r->cursor, r->shared->index);
    pthread_rwlock_unlock(&r->shared->lock);
    if (!err) err = take_place(d, r);
    if (!err) return SPEC_OK;
    specp_suffix_leave(d, r);
    return err;
}

void specp_suffix_leave(suffix_drafter *d, suffix_request *r) {
    if (!r->shared) return;
    specp_suffix_teach(d, r, true);
    leave_behind(d, r);
    spec_cursor_free(r->cursor);
    specp_tenants_release(&d->tenants, r->shared);
    r->shared = NULL;
}

/* ---- matching --------------------------------------------------------- */

/* Feeds the cursor what it has missed, or all that it can use. */
static spec_locus cursor_match(suffix_request *r) {
    uint64_t missed = r->n_text - r->fed;
    if (!r->follow || missed > r->tail.n) {
        spec_cursor_reset(r->cursor);
        missed = r->tail.n;
    }
    spec_cursor_feed(r->cursor, r->tail.tok + r->tail.n - missed, (size_t)missed);
    r->fed = r->n_text;
    r->follow = true;
    return spec_cursor_locus(r->cursor);
}

/* Have other requests appended anything since the last look? */
static bool others_grew(suffix_request *r) {
    uint64_t others = r->shared->grown - r->to.n;
    bool grew = others != r->others;
    r->others = others;
    return grew;
}

spec_locus specp_suffix_shared_match(suffix_drafter *d, suffix_request *r) {
    const spec_index *x = r->shared->index;
    size_t n = r->n_response;
    r->in_step = !r->to.gone && r->to.n == n && intact(r->shared, &r->to);
    if (!r->in_step) return cursor_match(r);
    bool first = r->fed == 0, grew = others_grew(r);
    if (n + 1 < (uint64_t)d->options.depth && r->n_text > n) {
        const spec_token *end = r->tail.tok + r->tail.n;
        if (r->follow || ((first || grew) && spec_index_find(x, end - n - 1, n + 1).count)) {
            spec_locus at = cursor_match(r);
            if (at.len > n) return at;
        }
    }
    r->follow = false;
    return spec_index_tail(x, r->to.seq);
}

/* ---- snapshots -------------------------------------------------------- */

/* The index and, of the drafter mix, what it has learnt. */
static int save_knowledge(suffix_drafter *d, const knowledge *k, const char *path, spec_message *why) {
    if (!k->mix) return spec_index_save(k->index, path, why);
    const size_t n = specp_mix_state_bytes();
    unsigned char *state = specp_alloc(&d->shell.alloc, n, 1);
    if (!state) return specp_fail(why, SPEC_ERR_NOMEM, "%s: out of memory", path);
    specp_mix_state_write(k->mix, state);
    int err = spec_index_save_with(k->index, path, state, n, why);
    specp_release(&d->shell.alloc, state, n, 1);
    return err;
}

int specp_suffix_save(void *self, uint64_t tenant, const char *path, spec_message *why) {
    suffix_drafter *d = self;
    void *k_ = NULL;
    if (!d->options.shared)
        return specp_fail(why, SPEC_ERR_STATE, "drafter %s: shared=0, nothing to save", d->name);
    int err = specp_tenants_look_up(&d->tenants, tenant, &k_);
    if (err)
        return specp_fail(why, err, "drafter %s: no knowledge of this tenant: %s", d->name,
                          spec_strerror(err));
    knowledge *k = k_;
    atomic_fetch_add_explicit(&k->saving, 1, memory_order_acq_rel);
    specp_lock(&k->gate, &d->shell.wait); /* no writer that has not seen the save stands before the lock */
    specp_read_lock(&k->lock, &d->shell.wait);
    pthread_mutex_unlock(&k->gate);
    err = save_knowledge(d, k, path, why);
    pthread_rwlock_unlock(&k->lock);
    atomic_fetch_sub_explicit(&k->saving, 1, memory_order_acq_rel);
    specp_tenants_release(&d->tenants, k);
    return err;
}

/* ---- statistics ------------------------------------------------------- */

static void add_stats(suffix_drafter *d, knowledge *k, spec_drafter_stats *out) {
    spec_index_stats s;
    specp_read_lock(&k->lock, &d->shell.wait);
    int err = spec_index_get_stats(k->index, &s);
    uint64_t dropped = k->dropped;
    pthread_rwlock_unlock(&k->lock);
    if (err) return;
    out->index_tokens += s.tokens;
    out->index_states += s.states;
    out->evicted += s.evicted + dropped;
}

/* One tenant after the other, each held like a request's, so that nobody waits
 * for the tenants' lock while this waits for an append. */
void specp_suffix_shared_stats(suffix_drafter *d, spec_drafter_stats *out) {
    if (!d->options.shared) return;
    void *k;
    for (size_t i = 0; specp_tenants_at(&d->tenants, i, &k); i++) {
        add_stats(d, k, out);
        specp_tenants_release(&d->tenants, k);
    }
}
