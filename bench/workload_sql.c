/* SPDX-License-Identifier: MIT */
/*
 * The kind "sql": questions over a catalogue whose tables stand in the prompt,
 * answered with a query. An analyst asks a few questions in a row; about half of
 * them vary the one before, and its query is still in the prompt.
 *
 * A query is drawn as numbers (struct query) and then told twice, as a question
 * and as SQL. A follow-up redraws one of the numbers:
 *
 *     draw, or vary one part  ->  query  ->  question   (to the prompt)
 *                                        ->  SQL        (to the response)
 */
#include <string.h>

#include "workload_gen.h"
#include "workload_sql.h"

/* What a query is made of. Kept in the session's state words, in this order. */
typedef struct query {
    uint32_t shape;   /* index into shapes */
    uint32_t fact;    /* table */
    uint32_t key;     /* foreign key column of the fact table: which dimension */
    uint32_t measure; /* number column of the fact table */
    uint32_t filter;  /* category column of the fact table */
    uint32_t value;   /* of the filter */
    uint32_t filtered;
    uint32_t year;
    uint32_t limit;
    uint32_t function; /* SUM, AVG, MAX, MIN */
} query;

/* A query with its tables looked up. */
typedef struct view {
    const query *q;
    const wl_catalogue *c;
    const wl_table_def *fact, *dim;
    const char *key, *dim_key, *label, *measure, *filter, *date;
} view;

/* ---- names and values -------------------------------------------------- */

/* customer_id as "customer id". */
static void put_spaced(wl_buf *b, const char *name) {
    for (; *name; name++) wl_putn(b, *name == '_' ? " " : name, 1);
}

/* Value n of a list, quoted. */
static void put_value(wl_buf *b, const char *list, uint32_t n) {
    for (; n; n--) list += strcspn(list, "|") + 1;
    wl_put(b, "'");
    wl_putn(b, list, strcspn(list, "|"));
    wl_put(b, "'");
}

/* ---- columns ---------------------------------------------------------- */

/* Column number n among those of a role, or NULL. */
static const wl_column *column(const wl_table_def *t, char role, uint32_t n) {
    for (size_t i = 0; i < WL_MAX_COLUMNS && t->column[i].name; i++)
        if (t->column[i].role == role && !n--) return &t->column[i];
    return NULL;
}

static uint32_t count_columns(const wl_table_def *t, char role) {
    uint32_t n = 0;
    while (column(t, role, n)) n++;
    return n;
}

static const wl_table_def *find_table(const wl_catalogue *c, const char *name) {
    size_t i = 0;
    while (strcmp(c->table[i].name, name)) i++;
    return &c->table[i];
}

static bool is_fact(const wl_table_def *t) {
    return column(t, 'f', 0) && column(t, 'n', 0) && column(t, 'd', 0) && column(t, 'c', 0);
}

static uint32_t draw_fact(wl_rng *r, const wl_catalogue *c) {
    uint32_t at;
    do at = wl_skewed(r, (uint32_t)c->n_tables, 2);
    while (!is_fact(&c->table[at]));
    return at;
}

static view look_up(const query *q, const wl_catalogue *c) {
    view v = {.q = q, .c = c, .fact = &c->table[q->fact]};
    const wl_column *key = column(v.fact, 'f', q->key);
    v.dim = find_table(c, key->extra);
    v.key = key->name;
    v.dim_key = column(v.dim, 'k', 0)->name;
    v.label = column(v.dim, 't', 0)->name;
    v.measure = column(v.fact, 'n', q->measure)->name;
    v.filter = column(v.fact, 'c', q->filter)->name;
    v.date = column(v.fact, 'd', 0)->name;
    return v;
}

/* ---- drawing ---------------------------------------------------------- */

static uint32_t count_values(const char *list) {
    uint32_t n = 1;
    for (; *list; list++) n += *list == '|';
    return n;
}

static void draw_filter(wl_rng *r, query *q, const wl_catalogue *c) {
    const wl_table_def *t = &c->table[q->fact];
    q->filter = wl_below(r, count_columns(t, 'c'));
    q->value = wl_skewed(r, count_values(column(t, 'c', q->filter)->extra), 2);
}

static const uint32_t limits[] = {10, 5, 20, 3, 50, 100, 15};

static uint32_t draw_limit(wl_rng *r) { return limits[wl_skewed(r, WL_COUNT(limits), 1)]; }

static void draw_query(wl_rng *r, query *q, const wl_catalogue *c, uint32_t n_shapes) {
    q->shape = wl_skewed(r, n_shapes, 4);
    q->fact = draw_fact(r, c);
    q->key = wl_skewed(r, count_columns(&c->table[q->fact], 'f'), 2);
    q->measure = wl_skewed(r, count_columns(&c->table[q->fact], 'n'), 2);
    q->filtered = wl_below(r, 2);
    q->year = 2025 - wl_skewed(r, 5, 1);
    q->limit = draw_limit(r);
    q->function = wl_skewed(r, 4, 1);
    draw_filter(r, q, c);
}

/* Changes one part, and says how that is asked for. */
static void vary(wl_gen *g, query *q, const wl_catalogue *c, wl_buf *ask) {
    uint32_t n = count_columns(&c->table[q->fact], 'n');
    switch (wl_below(&g->rng, 4)) {
    case 0:
        q->filtered = 1;
        draw_filter(&g->rng, q, c);
        wl_say_one(g, ask, "Now only where|Restrict that to rows where|The same, but only where");
        view v = look_up(q, c);
        wl_put(ask, " ");
        put_spaced(ask, v.filter);
        wl_put(ask, " is ");
        put_value(ask, column(v.fact, 'c', q->filter)->extra, q->value);
        break;
    case 1:
        q->year = q->year > 2021 ? q->year - 1 : 2025;
        wl_say_one(g, ask, "And in |The same for |What about ");
        wl_num(ask, q->year);
        break;
    case 2:
        q->limit = draw_limit(&g->rng) + 2;
        wl_say_one(g, ask, "Limit it to |I need |Make that ");
        wl_num(ask, q->limit);
        wl_put(ask, " rows");
        break;
    default:
        q->measure = q->measure + 1 < n ? q->measure + 1 : 0;
        wl_say_one(g, ask, "Use |Do it with |Instead, show ");
        put_spaced(ask, look_up(q, c).measure);
        wl_say_one(g, ask, " instead| please");
    }
    wl_put(ask, ".");
}

/* ---- saying ----------------------------------------------------------- */

/*
 * The marks of a shape, after '@' or, to be read aloud without underscores,
 * after '~': F fact table, a its alias, M measure, C date, f foreign key; D
 * dimension, b its alias, k key, L label; G function, g its name; X limit.
 * @W is the WHERE clause, ~W the same with the alias, @w the same in words.
 */
static const char *mark(const view *v, char c) {
    static const char *const functions[] = {"SUM", "AVG", "MAX", "MIN"};
    static const char *const totals[] = {"total", "average", "highest", "lowest"};
    switch (c) {
    case 'F': return v->fact->name;
    case 'D': return v->dim->name;
    case 'k': return v->dim_key;
    case 'f': return v->key;
    case 'L': return v->label;
    case 'M': return v->measure;
    case 'C': return v->date;
    case 'a': return v->fact->alias;
    case 'b': return v->dim->alias;
    case 'G': return functions[v->q->function];
    case 'g': return totals[v->q->function];
    default: return "";
    }
}

static void put_column_name(wl_buf *b, const char *alias, const char *name) {
    wl_put(b, alias);
    wl_put(b, *alias ? "." : "");
    wl_put(b, name);
}

static void put_filter_value(wl_buf *b, const view *v) {
    put_value(b, column(v->fact, 'c', v->q->filter)->extra, v->q->value);
}

/* The condition on year and category. The alias goes before the columns where
 * the query joins; it is empty where not. */
static void put_where(wl_buf *b, const view *v, const char *alias) {
    wl_put(b, "WHERE ");
    put_column_name(b, alias, v->date);
    wl_put(b, " BETWEEN '");
    wl_num(b, v->q->year);
    wl_put(b, "-01-01' AND '");
    wl_num(b, v->q->year);
    wl_put(b, "-12-31'");
    if (!v->q->filtered) return;
    wl_put(b, "\n  AND ");
    put_column_name(b, alias, v->filter);
    wl_put(b, " = ");
    put_filter_value(b, v);
}

static void put_condition(wl_buf *b, const view *v) {
    wl_put(b, " in ");
    wl_num(b, v->q->year);
    if (!v->q->filtered) return;
    wl_put(b, " with ");
    put_spaced(b, v->filter);
    wl_put(b, " ");
    put_filter_value(b, v);
}

static void put_shape(wl_buf *b, const view *v, const char *s) {
    for (; *s; s++) {
        if (*s != '@' && *s != '~') {
            wl_putn(b, s, 1);
            continue;
        }
        bool spaced = *s++ == '~';
        if (*s == 'X')
            wl_num(b, v->q->limit);
        else if (*s == 'W')
            put_where(b, v, spaced ? v->fact->alias : "");
        else if (*s == 'w')
            put_condition(b, v);
        else if (spaced)
            put_spaced(b, mark(v, *s));
        else
            wl_put(b, mark(v, *s));
    }
}

static const struct shape {
    const char *ask, *sql, *explain;
} shapes[] = {
    {"Which @X ~D come first by ~g ~M of ~F@w?",
     "SELECT @b.@L, @G(@a.@M) AS @g_@M\nFROM @F AS @a\nJOIN @D AS @b ON @b.@k = @a.@f\n~W\n"
     "GROUP BY @b.@L\nORDER BY @g_@M DESC\nLIMIT @X;",
     "This joins @F with @D and keeps the top @X by ~g ~M."},
    {"List the latest @X ~F@w, with the ~L of their ~D.",
     "SELECT @a.@C, @b.@L, @a.@M\nFROM @F AS @a\nJOIN @D AS @b ON @b.@k = @a.@f\n~W\n"
     "ORDER BY @a.@C DESC\nLIMIT @X;",
     "The newest rows come first, at most @X of them."},
    {"How did the ~g ~M of ~F develop month by month@w?",
     "SELECT STRFTIME('%Y-%m', @C) AS month, @G(@M) AS @g_@M\nFROM @F\n@W\nGROUP BY month\nORDER BY month;",
     "One row a month, in order."},
    {"How many ~F are there@w?", "SELECT COUNT(*) AS n\nFROM @F\n@W;", "A plain count of @F."},
    {"Which ~D have more than @X ~F@w?",
     "SELECT @b.@k, @b.@L, COUNT(*) AS n\nFROM @F AS @a\nJOIN @D AS @b ON @b.@k = @a.@f\n~W\n"
     "GROUP BY @b.@k, @b.@L\nHAVING COUNT(*) > @X\nORDER BY n DESC;",
     "HAVING keeps the groups with more than @X rows."},
    {"Which ~D had no ~F at all@w?",
     "SELECT @b.@k, @b.@L\nFROM @D AS @b\nWHERE @b.@k NOT IN (\n  SELECT @f\n  FROM @F\n  @W\n)\n"
     "ORDER BY @b.@L;",
     "The subquery finds the @D that do have @F."},
    {"What share of the whole ~M does each of the ~D hold@w? Show @X.",
     "WITH totals AS (\n  SELECT @f, SUM(@M) AS total\n  FROM @F\n  @W\n  GROUP BY @f\n)\n"
     "SELECT @b.@L, ROUND(100.0 * x.total / (SELECT SUM(total) FROM totals), 1) AS share\n"
     "FROM totals AS x\nJOIN @D AS @b ON @b.@k = x.@f\nORDER BY share DESC\nLIMIT @X;",
     "The totals are computed once and divided by their sum."},
    {"Show ~F whose ~M is above the average@w.",
     "SELECT *\nFROM @F\n@W\n  AND @M > (SELECT AVG(@M) FROM @F)\nORDER BY @M DESC\nLIMIT @X;",
     "The average is taken over all @F."},
};

/* ---- the prompt ------------------------------------------------------- */

static void put_column(wl_buf *b, const wl_column *c, const wl_catalogue *cat) {
    wl_put(b, "  ");
    wl_put(b, c->name);
    wl_put(b, " ");
    wl_put(b, c->type);
    if (c->role == 'k') wl_put(b, " PRIMARY KEY");
    if (c->role != 'f') return;
    wl_put(b, " REFERENCES ");
    wl_put(b, c->extra);
    wl_put(b, "(");
    wl_put(b, column(find_table(cat, c->extra), 'k', 0)->name);
    wl_put(b, ")");
}

/* Value n of a list, quoted. */
static void put_values(wl_buf *b, const wl_column *c) {
    wl_put(b, " -- ");
    for (uint32_t i = 0; i < count_values(c->extra); i++) {
        if (i) wl_put(b, ", ");
        put_value(b, c->extra, i);
    }
}

static void put_table(wl_buf *b, const wl_table_def *t, const wl_catalogue *c) {
    wl_put(b, "CREATE TABLE ");
    wl_put(b, t->name);
    wl_put(b, " (\n");
    for (size_t i = 0; i < WL_MAX_COLUMNS && t->column[i].name; i++) {
        bool last = i + 1 == WL_MAX_COLUMNS || !t->column[i + 1].name;
        put_column(b, &t->column[i], c);
        wl_put(b, last ? "" : ",");
        if (t->column[i].role == 'c') put_values(b, &t->column[i]);
        wl_put(b, "\n");
    }
    wl_put(b, ");\n");
}

static void sql_open(wl_session *s) {
    s->app = wl_skewed(&s->gen.rng, (uint32_t)wl_n_catalogues, 2);
    const wl_catalogue *c = &wl_catalogues[s->app];
    s->group = c->name;
    s->turns_left = 1 + wl_below(&s->gen.rng, 5);
    wl_put(&s->history, "<|system|>\nYou write SQL for the database below (SQLite).");
    if (c->style) wl_put(&s->history, " Put the query in a code block.");
    if (c->style == 2) wl_put(&s->history, " Explain it in one sentence.");
    wl_put(&s->history, "\n\n");
    for (size_t i = 0; i < c->n_tables; i++) put_table(&s->history, &c->table[i], c);
}

static void put_answer(wl_buf *b, const view *v, const struct shape *shape) {
    uint32_t style = v->c->style;
    wl_put(b, style ? "```sql\n" : "");
    put_shape(b, v, shape->sql);
    wl_put(b, style ? "\n```" : "");
    if (style == 2) wl_put(b, "\n");
    if (style == 2) put_shape(b, v, shape->explain);
}

static void sql_turn(wl_session *s, wl_buf *prompt, wl_buf *response) {
    const wl_catalogue *c = &wl_catalogues[s->app];
    query q;
    memcpy(&q, s->state, sizeof q);
    bool follow_up = q.limit && wl_chance(&s->gen.rng, 2);
    wl_put(&s->history, "<|user|>\n");
    if (follow_up)
        vary(&s->gen, &q, c, &s->history);
    else
        draw_query(&s->gen.rng, &q, c, WL_COUNT(shapes));
    view v = look_up(&q, c);
    if (!follow_up) put_shape(&s->history, &v, shapes[q.shape].ask);
    wl_put(&s->history, "\n<|assistant|>\n");
    wl_copy(prompt, &s->history);
    put_answer(response, &v, &shapes[q.shape]);
    wl_putn(&s->history, wl_str(response), response->n);
    wl_put(&s->history, "\n");
    memcpy(s->state, &q, sizeof q);
}

_Static_assert(sizeof(query) <= sizeof(((wl_session *)0)->state), "a query fits the session's state");

const wl_kind wl_kind_sql = {
    .name = "sql",
    .about = "queries over a catalogue in the prompt; follow-ups vary the query before",
    .n_live = 5,
    .open = sql_open,
    .turn = sql_turn,
};
