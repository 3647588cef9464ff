/* SPDX-License-Identifier: MIT */
/*
 * test_check.c - spec_index_check sees damage, and survives it. A healthy index
 * that has everything (blocks, hubs, every free list, the LRU heap) is saved
 * once; each case loads it, damages one field in memory, and asks the check.
 */
#include "support.h"

#include <string.h>

#include "index_damage.h"

#define DEPTH 6

static support_tmp tmp;
static char file[160];

/* ---- the healthy index -------------------------------------------------- */

static void append_random(spec_index *x, spec_seq seq, support_rng *r, uint32_t alphabet, size_t n) {
    for (; n; n--) {
        spec_token t = (spec_token)support_rng_below(r, alphabet);
        assert_int_equal(spec_index_append(x, seq, &t, 1), SPEC_OK);
    }
}

/* One token with many different successors, some of them twice: a hub. */
static void append_fan(spec_index *x, spec_seq seq, spec_token from, uint32_t fan) {
    for (uint32_t k = 0; k < fan + fan / 2; k++) {
        spec_token pair[2] = {from, 1000 + (spec_token)(k % fan)};
        assert_int_equal(spec_index_append(x, seq, pair, 2), SPEC_OK);
    }
}

static int set_up(void **state_of_test) {
    (void)state_of_test;
    support_rng r = support_rng_new(support_seed(), 1);
    spec_index_options o = {.size = sizeof o, .depth = DEPTH, .evict = SPEC_EVICT_LRU};
    spec_index *x;
    spec_seq seq[9];
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(spec_index_begin(x, &seq[i]), SPEC_OK);
        append_random(x, seq[i], &r, i % 2 ? 3 : 12, 150);
        if (i < 4) append_fan(x, seq[i], 500 + (spec_token)i, 60);
    }
    for (size_t i = 1; i < 9; i += 3) assert_int_equal(spec_index_remove(x, seq[i]), SPEC_OK);
    assert_int_equal(spec_index_truncate(x, seq[0], 45), SPEC_OK);
    spec_message why;
    assert_int_equal(spec_index_check(x, &why), SPEC_OK);
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "healthy", file, sizeof file);
    assert_int_equal(spec_index_save(x, file, &why), SPEC_OK);
    spec_index_free(x);
    return 0;
}

static int tear_down(void **state_of_test) {
    (void)state_of_test;
    support_tmp_remove(&tmp);
    return 0;
}

static spec_index *healthy(void) {
    spec_index *x = NULL;
    spec_message why;
    spec_index_load_options o = {.size = sizeof o, .evict = SPEC_EVICT_LRU, .trust = 1};
    if (spec_index_load(&x, file, &o, &why)) fail_msg("%s", why.text);
    return x;
}

/* ---- one damage each ------------------------------------------------------ */

/* The numbers of a damaged index are put right before it is freed. */
static void put_down(spec_index *x, const spec_index *numbers) {
    memcpy(x, numbers, sizeof *x);
    spec_index_free(x);
}

static void test_damage_is_seen(void **state_of_test) {
    (void)state_of_test;
    size_t unseen = 0;
    for (size_t i = 0; i < n_index_damages; i++) {
        const damage *d = &index_damages[i];
        spec_index *x = healthy(), numbers;
        spec_message why;
        assert_int_equal(spec_index_check(x, &why), SPEC_OK);
        memcpy(&numbers, x, sizeof numbers);
        d->inflict(x);
        if (spec_index_check(x, &why) != SPEC_ERR_CORRUPT || !strstr(why.text, d->words)) {
            print_error("%s: expected \"%s\", got \"%s\"\n", d->name, d->words, why.text);
            unseen++;
        }
        assert_int_equal(spec_index_check(x, NULL), SPEC_ERR_CORRUPT);
        put_down(x, &numbers);
    }
    assert_int_equal(unseen, 0);
}

/* ---- any change of a live field ------------------------------------------ */

/* A word of a live record that has one right value only. */
static uint32_t *exact_word(spec_index *x, support_rng *r) {
    for (;;) {
        uint32_t i = support_rng_below(r, x->states.used), n, j = support_rng_below(r, x->text.used);
        state *s = state_at(x, i);
        chunk *c = chunk_at(x, j >> CHUNK_SHIFT);
        switch (support_rng_below(r, 8)) {
        case 0:
            if (index_live_state(x, i)) return &s->link;
            break;
        case 1:
            if (index_live_state(x, i)) return &s->count;
            break;
        case 2:
            if (slot_at(x, j)->up != NONE) return &slot_at(x, j)->up;
            break;
        case 3:
            if (slot_at(x, j)->up != NONE) return (uint32_t *)&slot_at(x, j)->token;
            break;
        case 4:
            if (c->seq != NONE) return &c->base;
            break;
        case 5:
            if (c->seq != NONE) return &c->next;
            break;
        default:
            if (!index_live_state(x, i)) break;
            edge *e = state_edges(x, s, &n);
            if (n == 0) break;
            e += support_rng_below(r, n);
            return support_rng_chance(r, 0.5)   ? &e->to
                   : support_rng_chance(r, 0.5) ? &e->count
                                                : (uint32_t *)&e->token;
        }
    }
}

/* Near the old value, an edge of the range, or anything. */
static uint32_t other_value(uint32_t old, support_rng *r) {
    static const uint32_t edges[] = {0, 1, 31, 32, SINGLE, SINGLE | 1, NONE, NONE - 1, MAX_PLACES};
    uint32_t v = old;
    while (v == old) {
        switch (support_rng_below(r, 4)) {
        case 0: v = old + support_rng_below(r, 5) - 2; break;
        case 1: v = edges[support_rng_below(r, sizeof edges / sizeof *edges)]; break;
        case 2: v = old ^ 1u << support_rng_below(r, 32); break;
        default: v = support_rng_below(r, 400) | (support_rng_chance(r, 0.3) ? SINGLE : 0);
        }
    }
    return v;
}

static void test_any_change_is_seen(void **state_of_test) {
    (void)state_of_test;
    support_rng r = support_rng_new(support_seed(), 2);
    spec_index *x = healthy();
    for (int k = 0; k < 3000; k++) {
        spec_message why;
        uint32_t *word = exact_word(x, &r), old = *word;
        *word = other_value(old, &r);
        if (spec_index_check(x, &why) != SPEC_ERR_CORRUPT)
            fail_msg("change %d: %u in place of %u was not seen", k, *word, old);
        *word = old;
    }
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
}

/* ---- garbage -------------------------------------------------------------- */

/* Overwrites words of the mapped arrays, and list heads, which a crafted
 * snapshot could hold. */
static void scribble(spec_index *x, support_rng *r, uint32_t words) {
    uint32_t *heads[] = {&x->free_chunk, &x->free_state,  &x->free_hub,  &x->free_seq,    &x->oldest,
                         &x->newest,     &x->next_serial, &x->chain_max, &x->free_run[1], &x->free_run[3]};
    while (words--) {
        uint32_t *word =
            (uint32_t *)x->map + 1024 + support_rng_below(r, (uint32_t)(x->map_bytes / 4) - 1024);
        if (support_rng_chance(r, 0.02)) word = heads[support_rng_below(r, sizeof heads / sizeof *heads)];
        *word = other_value(*word, r);
    }
}

/* The sanitizers see a read out of bounds; a walk without end would be seen. */
static void test_garbage_is_survived(void **state_of_test) {
    (void)state_of_test;
    support_rng r = support_rng_new(support_seed(), 3);
    size_t seen = 0;
    for (int k = 0; k < 1500; k++) {
        spec_index *x = healthy(), numbers;
        memcpy(&numbers, x, sizeof numbers);
        static const uint32_t amounts[] = {1, 3, 30, 1000, 50000};
        scribble(x, &r, amounts[k % 5]);
        seen += spec_index_check(x, NULL) == SPEC_ERR_CORRUPT;
        put_down(x, &numbers);
    }
    assert_true(seen > 1000);
}

/* Checks are for readers: they run beside others and leave the accounts alone. */
static void test_scratch_is_given_back(void **state_of_test) {
    (void)state_of_test;
    support_heap heap;
    support_heap_init(&heap);
    spec_index_load_options o = {.size = sizeof o, .alloc = support_alloc(&heap)};
    spec_index *x = NULL;
    spec_message why;
    assert_int_equal(spec_index_load(&x, file, &o, &why), SPEC_OK);
    size_t before = heap.live_bytes;
    uint64_t bytes = x->bytes;
    assert_int_equal(spec_index_check(x, &why), SPEC_OK);
    assert_int_equal(heap.live_bytes, before);
    assert_int_equal(x->bytes, bytes);
    support_heap_refuse(&heap, 0, false);
    assert_int_equal(spec_index_check(x, &why), SPEC_ERR_NOMEM);
    assert_int_equal(heap.refused, 1);
    assert_int_equal(heap.live_bytes, before);
    spec_index_free(x);
    support_heap_assert_clean(&heap);
}

static void test_nothing_to_check(void **state_of_test) {
    (void)state_of_test;
    assert_int_equal(spec_index_check(NULL, NULL), SPEC_ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage_is_seen),      cmocka_unit_test(test_any_change_is_seen),
        cmocka_unit_test(test_garbage_is_survived), cmocka_unit_test(test_scratch_is_given_back),
        cmocka_unit_test(test_nothing_to_check),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
