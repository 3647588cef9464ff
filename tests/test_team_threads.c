/* SPDX-License-Identifier: MIT */
/*
 * The team of threads: every item once, steps in order, late threads, sizes
 * above the number of cores, refusals. Runs under TSan.
 */
#define _XOPEN_SOURCE 700
#include "support.h"

#include <float.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "team.h"

static void nap(long us) {
    struct timespec t = {0, us * 1000};
    nanosleep(&t, NULL);
}

/* ---- every item once ------------------------------------------------------ */

typedef struct once_job {
    specp_team *team;
    size_t n, chunk;
    unsigned char *seen; /* (n) */
    unsigned *by;        /* (n) the thread */
    bool faulty;
} once_job;

static void see(void *arg, size_t begin, size_t end, unsigned thread) {
    once_job *j = arg;
    if (begin >= end || end > j->n || (j->chunk && end - begin > j->chunk)) j->faulty = true;
    for (size_t i = begin; i < end && i < j->n; i++) {
        j->seen[i]++;
        j->by[i] = thread;
    }
}

static void see_all(void *arg, unsigned thread) {
    once_job *j = arg;
    specp_team_each(j->team, thread, j->n, j->chunk, see, j);
}

static void test_every_item_once(void **state) {
    (void)state;
    for (unsigned size = 1; size <= 8; size++) {
        specp_team *team;
        assert_int_equal(specp_team_new(&team, size, NULL), 0);
        assert_int_equal(specp_team_size(team), size);
        for (size_t n = 0; n < 300; n = n < 20 ? n + 1 : n * 2 + 1) {
            for (size_t chunk = 0; chunk < 40; chunk = chunk * 2 + 1) {
                unsigned char seen[600] = {0};
                unsigned by[600];
                once_job j = {team, n, chunk, seen, by, false};
                specp_team_run(team, see_all, &j);
                assert_false(j.faulty);
                for (size_t i = 0; i < n; i++) {
                    assert_int_equal(seen[i], 1);
                    assert_true(by[i] < size);
                }
            }
        }
        specp_team_free(team);
    }
}

/* ---- steps in order ------------------------------------------------------- */

#define WIDE 64

/* A step reads what all items of the step before wrote. Now and then a thread is
 * late, inside a piece or between steps. */
typedef struct chain_job {
    specp_team *team;
    size_t steps;
    unsigned naps; /* one in so many pieces and steps */
    uint64_t seed;
    uint64_t value[2][WIDE];
    bool on_thread[256];
} chain_job;

typedef struct chain_step {
    chain_job *j;
    size_t step;
} chain_step;

static bool late(const chain_job *j, uint64_t what) {
    return j->naps && specp_mix64(j->seed ^ what) % j->naps == 0;
}

static uint64_t next_value(const uint64_t *before, size_t step, size_t i) {
    uint64_t x = step;
    for (size_t k = 0; k < WIDE; k++) x = specp_mix64(x ^ before[(i + k) % WIDE]);
    return x;
}

static void chain_items(void *arg, size_t begin, size_t end, unsigned thread) {
    chain_step *s = arg;
    if (late(s->j, s->step << 20 | begin << 8 | thread)) nap(200);
    for (size_t i = begin; i < end; i++) {
        s->j->value[(s->step + 1) % 2][i] = next_value(s->j->value[s->step % 2], s->step, i);
    }
}

static void nothing(void *arg, size_t begin, size_t end, unsigned thread) {
    (void)arg, (void)begin, (void)end, (void)thread;
}

/* Once a step, after its items and before the next step's: no other thread writes then. */
static void add_step(void *arg, unsigned thread) {
    chain_step *s = arg;
    (void)thread;
    for (size_t i = 0; i < WIDE; i++) s->j->value[(s->step + 1) % 2][i] += s->step;
}

static void chain_thread(void *arg, unsigned thread) {
    chain_job *j = arg;
    j->on_thread[thread] = true;
    for (size_t step = 0; step < j->steps; step++) {
        if (late(j, step << 20 | 0xfff00 | thread)) nap(300);
        chain_step s = {j, step};
        specp_team_each(j->team, thread, WIDE, step % 5, chain_items, &s);
        if (step % 7 == 0) specp_team_each_then(j->team, thread, step % 2, 0, nothing, add_step, &s);
    }
}

static void check_chain(unsigned size, size_t regions, size_t steps, unsigned naps) {
    specp_team *team;
    assert_int_equal(specp_team_new(&team, size, NULL), 0);
    for (size_t r = 0; r < regions; r++) {
        chain_job j = {.team = team, .steps = steps, .naps = naps, .seed = support_seed() + r};
        uint64_t expected[2][WIDE] = {{0}};
        for (size_t i = 0; i < WIDE; i++) j.value[0][i] = expected[0][i] = r + i;
        specp_team_run(team, chain_thread, &j);
        for (size_t s = 0; s < steps; s++) {
            for (size_t i = 0; i < WIDE; i++) {
                expected[(s + 1) % 2][i] = next_value(expected[s % 2], s, i) + (s % 7 == 0 ? s : 0);
            }
        }
        assert_memory_equal(j.value[steps % 2], expected[steps % 2], sizeof expected[0]);
        for (unsigned i = 0; i < size; i++) assert_true(j.on_thread[i]);
        if (naps && r % 8 == 0) nap(300); /* the workers sleep meanwhile */
    }
    specp_team_free(team);
}

static void test_steps_in_order(void **state) {
    (void)state;
    for (unsigned size = 1; size <= 8; size = size < 4 ? size + 1 : size * 2) check_chain(size, 20, 60, 0);
}

static void test_late_threads(void **state) {
    (void)state;
    for (unsigned size = 2; size <= 8; size *= 2) check_chain(size, 16, 30, 40);
}

/* Many short regions: a wake-up that is lost would hang here. */
static void test_many_regions(void **state) {
    (void)state;
    check_chain(2, 2000, 2, 0);
    check_chain(4, 1000, 2, 0);
    check_chain(2, 200, 2, 20);
}

/* ---- two teams side by side ----------------------------------------------- */

static void *chain_beside(void *arg) {
    (void)arg;
    check_chain(3, 30, 30, 100);
    return NULL;
}

static void test_two_teams(void **state) {
    (void)state;
    support_seed();
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, chain_beside, NULL), 0);
    check_chain(2, 30, 30, 100);
    pthread_join(other, NULL);
}

/* ---- arithmetic ------------------------------------------------------------ */

#if defined(__SSE__)
#define FLUSHING 0x8040u /* denormal results and operands are zero */
#define UPWARD   0x4000u

typedef struct sums {
    float tiny[8], third[8];
} sums;

static void compute(void *arg, unsigned thread) {
    sums *s = arg;
    volatile float least = FLT_MIN, one = 1.0f;
    s->tiny[thread] = least / 2 * 2;
    s->third[thread] = one / 3;
}

/* Neither what was set when the team was made nor what is set now is seen in a region. */
static void test_arithmetic_of_the_host(void **state) {
    (void)state;
    unsigned before = __builtin_ia32_stmxcsr();
    for (int late = 0; late < 2; late++) {
        specp_team *team;
        sums s;
        if (!late) __builtin_ia32_ldmxcsr(before | FLUSHING | UPWARD);
        assert_int_equal(specp_team_new(&team, 8, NULL), 0);
        __builtin_ia32_ldmxcsr(before | FLUSHING | UPWARD);
        specp_team_run(team, compute, &s);
        unsigned after = __builtin_ia32_stmxcsr();
        __builtin_ia32_ldmxcsr(before);
        assert_int_equal(after & (FLUSHING | UPWARD), FLUSHING | UPWARD);
        for (int i = 0; i < 8; i++) assert_true(s.tiny[i] == FLT_MIN && s.third[i] == 1.0f / 3);
        specp_team_free(team);
    }
}
#endif

/* ---- refusals ------------------------------------------------------------- */

/* ---- signals --------------------------------------------------------------- */

/* A worker leaves signals to the host, but dies of its own faults where the host can see them. */
static void look_at_signals(void *arg, unsigned thread) {
    atomic_int *wrong = arg;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    bool worker = thread > 0;
    if (sigismember(&blocked, SIGINT) != worker || sigismember(&blocked, SIGALRM) != worker) *wrong = 1;
    if (sigismember(&blocked, SIGSEGV) || sigismember(&blocked, SIGBUS)) *wrong = 1;
    if (sigismember(&blocked, SIGFPE) || sigismember(&blocked, SIGILL)) *wrong = 1;
}

static void test_signals(void **state) {
    (void)state;
    specp_team *team;
    atomic_int wrong = 0;
    assert_int_equal(specp_team_new(&team, 4, NULL), 0);
    specp_team_run(team, look_at_signals, &wrong);
    specp_team_free(team);
    assert_int_equal(wrong, 0);
}

static void test_refusals(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    specp_team *team = NULL;
    assert_int_equal(specp_team_new(&team, 0, &alloc), SPEC_ERR_INVALID);
    assert_int_equal(specp_team_new(&team, 257, &alloc), SPEC_ERR_INVALID);
    support_heap_refuse(&heap, 0, false);
    assert_int_equal(specp_team_new(&team, 2, &alloc), SPEC_ERR_NOMEM);
    assert_int_equal(heap.refused, 1);
    assert_null(team);
    assert_int_equal(specp_team_new(&team, 256, &alloc), 0);
    assert_int_equal(specp_team_size(team), 256);
    specp_team_free(team);
    specp_team_free(NULL);
    support_heap_assert_clean(&heap);
    assert_true(specp_team_cores() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_once),
        cmocka_unit_test(test_steps_in_order),
        cmocka_unit_test(test_late_threads),
        cmocka_unit_test(test_many_regions),
        cmocka_unit_test(test_two_teams),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_signals),
#if defined(__SSE__)
        cmocka_unit_test(test_arithmetic_of_the_host),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
