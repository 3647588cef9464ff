/* SPDX-License-Identifier: MIT */
/*
 * suffix_internal.h - the suffix drafter: its options, what a tenant's requests
 * share, and a request's state. Private to draft/suffix*.c.
 */
#ifndef DRAFT_SUFFIX_INTERNAL_H
#define DRAFT_SUFFIX_INTERNAL_H

#include "draft_internal.h"
#include "mix_model.h"
#include "shared.h"
#include "suffix_expand.h"
#include "text.h"

typedef struct suffix_options {
    int preset;
    int64_t depth, nodes, context, memory_mb, max_requests, tenants;
    double factor, offset, min_prob, doubt;
    bool tree, lowest, self;
    bool own, shared, at_end, cross_tenant, trust;
    int evict;
    char corpus[1024];
    char priors[1024]; /* of the drafter mix, with `sure` */
    int64_t sure;
} suffix_options;

/* A response's place in the shared index. */
typedef struct shared_seq {
    spec_seq seq; /* 0: not begun */
    size_t n;     /* tokens appended to it */
    bool gone;    /* it was evicted, or memory refused: nothing more is appended */
} shared_seq;

/* What an ended request could not append, because others were at it. */
typedef struct leftover {
    struct leftover *next;
    shared_seq to;
    specp_text text;
    size_t done;
} leftover;

/* What a tenant's requests share. `grown`, `dropped` and the index change under
 * `lock` held for writing; who wants to write passes `gate` first, which is tried,
 * never waited for: so at most one writer stands before the lock, and a reader
 * waits for one append at most. */
typedef struct knowledge {
    pthread_mutex_t gate;
    pthread_rwlock_t lock;
    spec_index *index;
    uint64_t grown;   /* tokens appended by requests, ever */
    uint64_t dropped; /* responses dropped for max_requests, ever */
    pthread_mutex_t backlog_lock;
    leftover *backlog, **backlog_end; /* queue */
    atomic_uint saving;               /* saves that hold `lock` or ask for it */
    mix_state *mix;                   /* what the drafter mix has learnt; or NULL. Under `lock` */
} knowledge;

typedef struct suffix_drafter {
    specp_shell shell; /* its lock: of the tenants, and `corpus` */
    suffix_options options;
    uint32_t longest; /* match looked for */
    specp_tenants tenants;
    spec_index *corpus;   /* as loaded when the drafter was opened; goes to the first tenant */
    uint64_t corpus_id;   /* its snapshot_id */
    const char *name;     /* "suffix" or that of the drafter built on it, for messages */
    const mix_state *mix; /* what a tenant's begins with; or NULL */
} suffix_drafter;

typedef struct suffix_request {
    spec_index *own; /* prompt and response; NULL when not wanted */
    spec_seq own_seq;
    specp_text tail;   /* the last tokens of prompt and response, at least `depth` of them if there are */
    uint64_t n_text;   /* length of prompt and response */
    size_t n_response; /* of it, the response */

    knowledge *shared;   /* or NULL */
    shared_seq to;       /* the response in it */
    bool in_step;        /* when last looked at, it held the whole response */
    bool follow;         /* the cursor is in use */
    spec_cursor *cursor; /* follows the text in the shared index */
    uint64_t fed;        /* tokens of the text fed to it */
    uint64_t others;     /* tokens that other requests had appended when last looked at */
    specp_text pending;  /* tokens of the response not yet appended */

    specp_candidate *heap; /* (2 * nodes) scratch of tree drafts */
    spec_tree trial;       /* scratch */
} suffix_request;

/* ---- suffix_options.c -------------------------------------------------- */

int specp_suffix_parse(suffix_options *o, const char *text, spec_message *why);
int specp_mix_parse(suffix_options *o, const char *text, spec_message *why);

/* The longest match looked for, by `context`, `depth` and `nodes`. */
uint32_t specp_suffix_longest(const suffix_options *o);

/* ---- suffix.c: for drafters built on this one, whose structs begin with these ---- */

/* Loads the corpus and makes the place for tenants, by d->options. On failure specp_suffix_close. */
int specp_suffix_prepare(suffix_drafter *d, spec_message *why);
void specp_suffix_close(suffix_drafter *d);
void specp_suffix_stats(void *self, spec_drafter_stats *out);

/* A request's indexes and text. r is all zeros; on failure, as after use, specp_suffix_release. */
int specp_suffix_init(suffix_drafter *d, suffix_request *r, const spec_request_info *info);
void specp_suffix_release(suffix_drafter *d, suffix_request *r);

/* Makes room for n committed tokens; then adding them fails only where the request's own
 * index does, and then nothing has changed. They are taught by specp_suffix_teach. */
int specp_suffix_reserve(suffix_drafter *d, suffix_request *r, size_t n);
int specp_suffix_add(suffix_request *r, const spec_token *tok, size_t n);
/* Takes back the last n tokens added, none of which has been taught and all of which were
 * reserved for at once. */
void specp_suffix_take_back(suffix_request *r, size_t n);

/* ---- suffix_shared.c --------------------------------------------------- */

int specp_suffix_make(void *user, void **out);
void specp_suffix_drop(void *user, void *knowledge);

/* Joins a request to its tenant's knowledge; leaves it again. */
int specp_suffix_join(suffix_drafter *d, suffix_request *r, uint64_t tenant);
void specp_suffix_leave(suffix_drafter *d, suffix_request *r);

/* The tenant-wide totals of all indexes. */
void specp_suffix_shared_stats(suffix_drafter *d, spec_drafter_stats *out);

/* Appends r->pending to the shared index, unless others are at it: then later. */
void specp_suffix_teach(suffix_drafter *d, suffix_request *r, bool ending);

/* The locks for writing, if nobody is at them. */
bool specp_suffix_write_try(knowledge *k);
void specp_suffix_write_end(knowledge *k);

/* spec_drafter_ops.save */
int specp_suffix_save(void *self, uint64_t tenant, const char *path, spec_message *why);

/* The longest suffix of the text in the shared index; the lock is held. */
spec_locus specp_suffix_shared_match(suffix_drafter *d, suffix_request *r);

/* ---- suffix_draft.c ---------------------------------------------------- */

int specp_suffix_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out);

#endif
