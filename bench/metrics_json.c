/* SPDX-License-Identifier: MIT */
/* The accounts of a run as JSON. */
#include "metrics_json.h"

#include <math.h>

/* ---- cells --------------------------------------------------------------- */

void metrics_json_times(jout *x, const char *key, stats_times t) {
    jout o = jout_begin();
    jout_real(&o, "mean", t.mean / 1000);
    jout_real(&o, "p50", t.p50 / 1000);
    jout_real(&o, "p99", t.p99 / 1000);
    jout_object(x, key, o);
}

static void put_interval(jout *x, const metrics_cell *c) {
    jout ci = jout_begin();
    jout_put(&ci, "tokens_per_step",
             isnan(c->ci95[0])
                 ? json_null()
                 : jout_append(jout_append(json_array(), jout_value(c->ci95[0])), jout_value(c->ci95[1])));
    jout_object(x, "ci95", ci);
}

static void put_sums(jout *x, const metrics_cell *c) {
    jout_int(x, "steps", c->steps);
    jout_int(x, "tokens_out", c->out);
    jout_int(x, "tokens_drafted", c->drafted);
    jout_int(x, "tokens_accepted", c->accepted);
    jout_int(x, "hits", c->hits);
    jout_int(x, "top1_hits", c->top1);
    jout_real(x, "tokens_per_step", metrics_tokens_per_step(c));
    if (c->requests) jout_real(x, "tokens_per_step_macro", metrics_tokens_per_step_macro(c));
    jout_real(x, "accepted_per_step", metrics_accepted_per_step(c));
    jout_real(x, "acceptance_rate", metrics_acceptance_rate(c));
    jout_real(x, "hit_rate", metrics_hit_rate(c));
    jout_real(x, "top1", metrics_top1(c));
    jout_real(x, "top1_unconditional", metrics_top1_unconditional(c));
}

static void put_positions(jout *x, const metrics_cell *c) {
    json_t *conditional = json_array(), *unconditional = json_array(), *offered = json_array(),
           *histogram = json_array();
    for (size_t k = 1; metrics_offered(c, k); k++) {
        conditional = jout_append(conditional, jout_value(metrics_conditional(c, k)));
        unconditional = jout_append(unconditional, jout_value(metrics_unconditional(c, k)));
        offered = jout_append(offered, json_integer((json_int_t)metrics_offered(c, k)));
    }
    for (size_t k = 0; k < c->n_length; k++)
        histogram = jout_append(histogram, json_integer((json_int_t)c->length[k]));
    jout_put(x, "position_offered", offered);
    jout_put(x, "position_conditional", conditional);
    jout_put(x, "position_unconditional", unconditional);
    jout_put(x, "accepted_histogram", histogram);
}

/* What every cell has that counts requests. */
void metrics_json_cell(jout *x, const metrics_cell *c) {
    jout_int(x, "requests", c->requests);
    put_sums(x, c);
    put_positions(x, c);
    put_interval(x, c);
}

/* ---- a run --------------------------------------------------------------- */

static json_t *groups(const metrics *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_groups; i++) {
        jout o = jout_begin();
        jout_text(&o, "group", m->group[i].name);
        metrics_json_cell(&o, &m->group[i].cell);
        list = jout_append(list, jout_end(o));
    }
    return list;
}

static json_t *quarters(const metrics *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < METRICS_QUARTERS; i++) {
        jout o = jout_begin();
        jout_int(&o, "quarter", i + 1);
        metrics_json_cell(&o, &m->quarter[i]);
        list = jout_append(list, jout_end(o));
    }
    return list;
}

static json_t *match_lengths(const metrics *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < METRICS_MATCHES; i++) {
        jout o = jout_begin();
        uint32_t low, high;
        metrics_match_range(i, &low, &high);
        jout_int(&o, "from", low);
        jout_put(&o, "to", high == UINT32_MAX ? json_null() : json_integer(high));
        put_sums(&o, &m->match[i]);
        put_positions(&o, &m->match[i]);
        list = jout_append(list, jout_end(o));
    }
    return list;
}

static double share(uint64_t part, uint64_t of) { return of ? (double)part / (double)of : NAN; }

static json_t *sources(const metrics *m) {
    json_t *list = json_array();
    for (int i = 0; i < 256; i++) {
        const metrics_source *c = &m->source[i];
        jout o;
        if (c->drafted == 0) continue;
        o = jout_begin();
        jout_text(&o, "source", spec_source_name(i));
        jout_int(&o, "number", (uint64_t)i);
        jout_int(&o, "tokens_drafted", c->drafted);
        jout_int(&o, "tokens_accepted", c->accepted);
        jout_real(&o, "acceptance_rate", share(c->accepted, c->drafted));
        jout_int(&o, "first", c->first);
        jout_int(&o, "top1_hits", c->top1);
        jout_real(&o, "top1", share(c->top1, c->first));
        list = jout_append(list, jout_end(o));
    }
    return list;
}

void metrics_json_index(jout *x, const spec_drafter_stats *stats) {
    jout o = jout_begin();
    jout_int(&o, "tokens", stats->index_tokens);
    jout_int(&o, "states", stats->index_states);
    jout_int(&o, "bytes", stats->index_bytes);
    jout_real(&o, "bytes_per_token", share(stats->index_bytes, stats->index_tokens));
    jout_int(&o, "evicted", stats->evicted);
    jout_object(x, "index", o);
}

void metrics_json_run_times(jout *x, const metrics *m) {
    double update_ns = m->update.mean * (double)m->total.steps;
    metrics_json_times(x, "draft_us", m->draft);
    metrics_json_times(x, "update_us", m->update);
    jout_real(x, "update_ns_per_token", m->total.out ? update_ns / (double)m->total.out : NAN);
    jout_real(x, "prompt_ns_per_token", share(m->begin_ns, m->prompt_tokens));
    jout_real(x, "end_us_per_request",
              m->n_requests ? (double)m->end_ns / 1000 / (double)m->n_requests : NAN);
}

static void put_calibration(jout *x, const calibration *c) {
    const calibration_bin all = calibration_sum(c);
    double steps = c->steps ? (double)c->steps : NAN;
    json_t *bins = json_array();
    jout o = jout_begin();
    for (size_t b = 0; b < CALIBRATION_BINS; b++) {
        jout bin = jout_begin();
        jout_real(&bin, "from", (double)b / CALIBRATION_BINS);
        jout_real(&bin, "to", (double)(b + 1) / CALIBRATION_BINS);
        jout_int(&bin, "nodes", c->bin[b].nodes);
        jout_int(&bin, "accepted", c->bin[b].accepted);
        jout_real(&bin, "said", calibration_said(&c->bin[b]));
        jout_real(&bin, "was", calibration_was(&c->bin[b]));
        bins = jout_append(bins, jout_end(bin));
    }
    jout_int(&o, "skip", c->skip);
    jout_int(&o, "steps", c->steps);
    jout_int(&o, "nodes", all.nodes);
    jout_int(&o, "nodes_skipped", c->skipped);
    jout_int(&o, "nodes_beyond_end", c->beyond);
    jout_real(&o, "ece", calibration_ece(c));
    jout_real(&o, "bias", calibration_bias(c));
    jout_real(&o, "expected_per_step", all.prob_sum / steps);
    jout_real(&o, "accepted_per_step", (double)all.accepted / steps);
    jout_put(&o, "bins", bins);
    jout_object(x, "calibration", o);
}

void metrics_json_parts(jout *x, const metrics *m) {
    jout_put(x, "groups", groups(m));
    jout_put(x, "quarters", quarters(m));
    jout_put(x, "sources", sources(m));
    jout_put(x, "match_lengths", match_lengths(m));
    put_calibration(x, &m->calibration);
}
