/* SPDX-License-Identifier: MIT */
/* Which target model to run and how: options, opening, and what to say of it. */
#include "model_options.h"

#include <string.h>

#include "format.h"
#include "openblas_core.h"
#include "util.h"

/* ---- options ------------------------------------------------------------- */

static const char *const matmul_names[] = {"exact", "prefill", "blas", NULL};

static int check_kv(const cli_command *c, model_options *m) {
    spec_type type;
    if (!m->kv) return CLI_RUN;
    if (spec_type_find(m->kv, &type) != SPEC_OK || (type != SPEC_TYPE_F16 && type != SPEC_TYPE_F32))
        return cli_complain(c, "--kv: expected F16 or F32, found '%s'", m->kv);
    m->target.kv_type = type;
    m->target.kv_type_given = 1;
    return CLI_RUN;
}

static int check_matmul(const cli_command *c, model_options *m) {
    if (!m->matmul) return CLI_RUN;
    for (int i = 0; matmul_names[i]; i++)
        if (strcmp(m->matmul, matmul_names[i]) == 0) {
            m->target.matmul = (spec_matmul)i;
            return CLI_RUN;
        }
    return cli_complain(c, "--matmul: expected exact, prefill or blas, found '%s'", m->matmul);
}

int model_options_check(const cli_command *c, model_options *m) {
    m->target = (spec_target_options){
        .size = sizeof m->target, .threads = (unsigned)m->threads, .max_context = (size_t)m->context};
    if (!m->path)
        return cli_complain(c,
                            "expected a model, -m MODEL; 'specbench train target --random tiny -o tiny.gguf' "
                            "makes one to try");
    if (m->isa && spec_target_isa(m->isa, &m->target.isa) != SPEC_OK)
        return cli_complain(c, "--isa: expected scalar, avx2, avx512 or avx512-vnni, found '%s'", m->isa);
    int rc = check_kv(c, m);
    if (rc == CLI_RUN) rc = check_matmul(c, m);
    if (rc == CLI_RUN && m->target.matmul != SPEC_MATMUL_EXACT) openblas_core_ensure();
    return rc;
}

/* ---- opening ------------------------------------------------------------- */

typedef struct progress {
    const char *path;
    bench_line line;
} progress;

static void progress_line(void *user, size_t done, size_t of) {
    progress *p = user;
    bench_line_print(&p->line, "%.50s: preparing weights, %s of %s", p->path, fmt_bytes((double)done).text,
                     fmt_bytes((double)of).text);
}

int model_exit_code(int err) {
    return err == SPEC_OK                                   ? EXIT_DONE
           : err == SPEC_ERR_NOMEM || err == SPEC_ERR_STATE ? EXIT_CHECK
                                                            : EXIT_USAGE;
}

int model_open(spec_target **out, const model_options *m, bool quiet) {
    spec_target_options o = m->target;
    progress p = {.path = m->path, .line = {.wanted = !quiet}};
    spec_message why = {""};
    o.progress = progress_line;
    o.user = &p;
    int rc = spec_target_open(out, m->path, &o, NULL, &why);
    bench_line_clear(&p.line);
    if (rc != SPEC_OK) bench_complain("%s", why.text[0] ? why.text : spec_strerror(rc));
    return model_exit_code(rc);
}

/* ---- what to say of it --------------------------------------------------- */

void model_describe(const spec_target *t, FILE *out) {
    spec_target_info i = {.size = sizeof i};
    spec_target_get_info(t, &i);
    fprintf(out, "model    %s\n", spec_tensors_path(spec_target_tensors(t)));
    fprintf(out, "         %s: %zu layers, dim %zu, %zu heads (%zu KV), hidden %zu", i.arch, i.n_layers,
            i.dim, i.n_heads, i.n_kv_heads, i.n_ff);
    if (i.n_experts) fprintf(out, ", %zu experts", i.n_experts);
    fprintf(out, "\n         vocabulary %s, context %s", fmt_count(i.vocab).text, fmt_count(i.context).text);
    fprintf(out, ", KV cache %s, %s a token\n", spec_type_name(i.kv_type),
            fmt_bytes((double)i.kv_bytes_per_token).text);
    fprintf(out, "weights  %s, %s", i.format, fmt_bytes((double)i.weight_bytes).text);
    if (i.repacked_bytes)
        fprintf(out, ", %s repacked in %.2f s", fmt_bytes((double)i.repacked_bytes).text, i.repack_seconds);
    fprintf(out, ", loaded in %.2f s\n", i.load_seconds);
    fprintf(out, "runs     %u thread%s, %s, matrix products %s%s\n", i.threads, fmt_plural(i.threads), i.isa,
            matmul_names[i.matmul], i.matmul == SPEC_MATMUL_EXACT ? "" : " (OpenBLAS: not bit-exact)");
}

void model_kernels(const spec_target *t, FILE *out) {
    spec_kernel_use u;
    fprintf(out, "%-20s%-8s%8s%12s  %s\n", "operation", "type", "count", "bytes", "kernel");
    for (size_t i = 0; spec_target_kernel(t, i, &u) == SPEC_OK; i++)
        fprintf(out, "%-20s%-8s%8zu%12s  %s%s\n", u.operation, spec_type_name(u.type), u.count,
                u.bytes ? fmt_bytes((double)u.bytes).text : "-", u.kernel, u.slower ? " (slower)" : "");
}

void model_warn_slower(const spec_target *t) {
    spec_kernel_use u;
    for (size_t i = 0; spec_target_kernel(t, i, &u) == SPEC_OK; i++)
        if (u.slower)
            bench_complain("warning: %s (%s) runs on %s: %s", u.operation, spec_type_name(u.type), u.kernel,
                           u.slower);
}

static json_t *kernels_json(const spec_target *t) {
    json_t *list = json_array();
    spec_kernel_use u;
    for (size_t i = 0; spec_target_kernel(t, i, &u) == SPEC_OK; i++) {
        jout o = jout_begin();
        jout_text(&o, "operation", u.operation);
        jout_text(&o, "type", spec_type_name(u.type));
        jout_int(&o, "count", u.count);
        jout_int(&o, "bytes", u.bytes);
        jout_text(&o, "kernel", u.kernel);
        jout_text(&o, "slower", u.slower);
        list = jout_append(list, jout_end(o));
    }
    return list;
}

void model_put_json(jout *x, const spec_target *t) {
    spec_target_info i = {.size = sizeof i};
    jout o = jout_begin();
    spec_target_get_info(t, &i);
    jout_text(&o, "path", spec_tensors_path(spec_target_tensors(t)));
    jout_text(&o, "format", i.format);
    jout_text(&o, "arch", i.arch);
    jout_int(&o, "layers", i.n_layers);
    jout_int(&o, "dim", i.dim);
    jout_int(&o, "heads", i.n_heads);
    jout_int(&o, "kv_heads", i.n_kv_heads);
    jout_int(&o, "head_dim", i.head_dim);
    jout_int(&o, "hidden", i.n_ff);
    jout_int(&o, "experts", i.n_experts);
    jout_int(&o, "vocab", i.vocab);
    jout_int(&o, "context", i.context);
    jout_int(&o, "weight_bytes", i.weight_bytes);
    jout_int(&o, "repacked_bytes", i.repacked_bytes);
    jout_int(&o, "kv_bytes_per_token", i.kv_bytes_per_token);
    jout_text(&o, "kv_type", spec_type_name(i.kv_type));
    jout_real(&o, "load_seconds", i.load_seconds);
    jout_real(&o, "repack_seconds", i.repack_seconds);
    jout_int(&o, "threads", i.threads);
    jout_text(&o, "isa", i.isa);
    jout_text(&o, "matmul", matmul_names[i.matmul]);
    jout_object(x, "model", o);
    jout_put(x, "kernels", kernels_json(t));
}
