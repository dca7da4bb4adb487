/* Sums of outer products, sum over n of a[n]^T x[n].
 *
 * Where n is the middle index of a product, neither operand lies as the tile wants it: x is copied, a block of n and a panel
 * of columns at a time, into a buffer that stays in the second-level cache for all rows of the result (its own rows are
 * often a power of two apart and would fall on each other in the caches); a is read by strides. The result needs no layout
 * of its own: its rows are the caller's. */
#include "outer.h"

#include "rows.h"

static int64_t step_of(const schedule *s, int64_t n) {
    int64_t step = 0;
    while (s->offset[step + 1] <= n) step++;
    return step;
}

/* to[n][0..w) = columns [first, first + w) of rows n */
static void copy_right(const outer_right *x, range n, int64_t first, int64_t w, real *to) {
    const int64_t here = smaller(w, x->n - first);
    const schedule *s = x->steps;
    int64_t step = s ? step_of(s, n.begin) : 0;
    for (int64_t i = n.begin; i < n.end; i++, to += w) {
        while (s && s->offset[step + 1] <= i) step++;
        const int64_t row = s ? row_before(s, step) + i - s->offset[step] : i;
        const real *from = x->rows + row * x->stride + first;
        if (here < w)
            load_row(to, from, here, w);
        else
            for (int64_t v = 0; v < w; v += VL) store(to + v, load(from + v));
    }
}

/* The result is seldom in cache; without this, a tile waits for it at its end. */
static void fetch_rows(const outer_right *x, int64_t first, int64_t w, outer_run r) {
    const int64_t end = smaller(first + w, x->n), line = 64 / sizeof(real);
    for (int64_t i = 0; i < r.rows; i++)
        for (int64_t j = first; j < end; j += line) __builtin_prefetch(r.to + i * x->n + j, 0, 2);
}

/* A panel's columns of some rows of the result: where they lie, or through `spare` if they are less than the panel. */
static void add_rows(product_args *p, const outer_right *x, int64_t first, outer_run r, real *spare) {
    const int64_t w = p->vectors * VL, here = smaller(w, x->n - first);
    real *to = r.to + first;
    p->c = here < w ? spare : to;
    p->c_row = here < w ? w : x->n;
    p->init = here < w ? 0 : to;
    p->init_row = p->c_row;
    product(p, (range){0, 1}, (range){0, r.rows});
    for (int64_t i = 0; here < w && i < r.rows; i++) add_part(to + i * x->n, spare + i * w, here);
}

/* Some vectors of the result's rows within one run, for the panels of columns from `first` on. */
static void add_run(const outer_args *o, int64_t run, range vectors, range n, range panels, real *buffer) {
    const columns cols = columns_of(o->x.n);
    const int64_t w = cols.vectors * VL;
    outer_run r = o->run(o->context, run);
    r.rows = smaller(r.rows, vectors.end * VL) - vectors.begin * VL;
    if (r.rows <= 0) return;
    if (o->each && panels.begin == 0) o->each(o->context, run, vectors, n);
    r.to += vectors.begin * VL * o->x.n;
    product_args p = {.n_outer = 1,
                      .n_inner = n.end - n.begin,
                      .a = {r.a + n.begin * r.step + vectors.begin * VL, 1, r.step, 0},
                      .vectors = cols.vectors,
                      .b_row = w};
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
        p.b = buffer + (panel - panels.begin) * K_BLOCK * w;
        fetch_rows(&o->x, panel * w, w, r);
        add_rows(&p, &o->x, panel * w, r, buffer + OUTER_PANELS * K_BLOCK * w);
    }
}

void outer_product(const crew *me, const outer_args *o, real *buffer) {
    const columns cols = columns_of(o->x.n);
    const int64_t w = cols.vectors * VL;
    const range mine = crew_share(me, o->runs * o->vectors, 1);
    if (mine.begin == mine.end) return;
    for (int64_t first = 0; first < cols.panels; first += OUTER_PANELS) {
        const range panels = {first, smaller(first + OUTER_PANELS, cols.panels)};
        for (int64_t begin = 0; begin < o->N; begin += K_BLOCK) {
            const range n = {begin, smaller(begin + K_BLOCK, o->N)};
            for (int64_t panel = panels.begin; panel < panels.end; panel++)
                copy_right(&o->x, n, panel * w, w, buffer + (panel - first) * K_BLOCK * w);
            for (int64_t v = mine.begin, count; v < mine.end; v += count) {
                const int64_t run = v / o->vectors, at = v % o->vectors;
                count = smaller(smaller(OUTER_ROWS / VL, o->vectors - at), mine.end - v);
                add_run(o, run, (range){at, at + count}, n, panels, buffer);
            }
        }
    }
}
