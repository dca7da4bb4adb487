/* The input product P = X W^T + b of the forward pass: for a chunk of steps at once, or for a thread's own rows of one step.
 */
#include "sequence.h"

/* Fill the slots that the input product does not write with their bias. */
static void fill_other_slots(const forward_pass *f, range panels, range rows) {
    const layout *l = &f->l;
    const int64_t first = group_width(l, l->cell->x), rest = l->width - first;
    if (!rest) return;
    for (int64_t panel = panels.begin; panel < panels.end; panel++)
        for (int64_t row = rows.begin; row < rows.end; row++)
            memcpy(f->t.gates + (panel * f->gate_rows + row) * l->width + first,
                   f->packed + l->bias + panel * l->width + first, (size_t)rest * sizeof(real));
}

/* Load VL columns of W's row k, from `first` on: the sum of their slices, which is exact. */
static vec sliced_weights(const layout *l, const real *W, int64_t panel, int64_t w, int64_t k, int64_t first) {
    const uint32_t *packed = (const uint32_t *)W + panel * w * packed_words(l, l->I);
    vec sum = splat(0);
    for (int i = FORWARD_SLICES - 1; i >= 0; i--) {
        const words word = load_words(packed + sliced_at(FORWARD_SLICES, l->I, first, k / 4, i));
        sum = sum * splat((real)0x1p-8) + signed_bytes(word, (int)(k % 4));
    }
    return sum;
}

/* Load VL columns of W's row k, from `first` on. */
static vec input_weights(const layout *l, const real *W, int64_t panel, int64_t w, int64_t k, int64_t first) {
    if (!l->format) return load(W + (panel * l->I + k) * w + first);
    const vec factor = splat(factor_of_words(l->format));
    if (l->sliced) return sliced_weights(l, W, panel, w, k, first) * factor;
    const int64_t rows = rows_per_word(l->format), word = panel * words_of(l->format, l->I) + k / rows;
    const uint32_t *from = (const uint32_t *)W + word * w + first;
    return row_of_words(l->format, load_words(from), (int)(k % rows)) * factor;
}

/* Add W's row for each token id: the product of a one-hot vector with W^T is a row of each packed panel. */
static void gather_tokens(const forward_pass *f, int64_t chunk_row, range panels, range rows) {
    const layout *l = &f->l;
    const int64_t w = group_width(l, l->cell->x);
    const real *scales = scales_at(f, l->W_scales);
    for (int64_t panel = panels.begin; panel < panels.end; panel++)
        for (int64_t n = rows.begin; n < rows.end; n++) {
            int64_t id = f->in->ids[source_of(&f->t.steps, chunk_row + n)];
            const real *bias = f->packed + l->bias + panel * l->width;
            real *to = f->t.gates + (panel * f->gate_rows + n) * l->width;
            for (int64_t i = 0; i < w; i += VL) {
                vec p = load(bias + i);
                if (id >= 0) {
                    vec row = input_weights(l, f->packed + l->W, panel, w, id, i);
                    p += scales ? row * load(scales + panel * w + i) : row;
                }
                store(to + i, p);
            }
        }
}

/* Return row n of x in packed order. */
static const real *input_at(const forward_pass *f, int64_t chunk_row, int64_t n) {
    return f->t.x ? f->t.x + n * f->l.I : (const real *)f->in->x + (chunk_row + n) * f->l.I;
}

static void multiply_inputs(const forward_pass *f, int64_t chunk_row, range panels, range rows) {
    const layout *l = &f->l;
    const int64_t w = group_width(l, l->cell->x);
    product_args p = {.n_outer = 1,
                      .n_inner = forward_elements_of(l, l->I),
                      .a = left_rows(input_at(f, chunk_row, 0), l->I, f->words.x),
                      .vectors = (int)(w / VL),
                      .format = expanded_format(l),
                      .dots = l->dots,
                      .b = f->packed + l->W,
                      .scales = scales_at(f, l->W_scales),
                      .b_panel = packed_words(l, l->I) * w,
                      .b_row = w,
                      .init = f->packed + l->bias,
                      .init_panel = l->width,
                      .init_row = 0,
                      .c = f->t.gates,
                      .c_panel = f->gate_rows * l->width,
                      .c_row = l->width};
    product(&p, panels, rows);
}

/* Copy rows of x into packed order, unless they already are in it. Training keeps the copy for dW. Round them if the product
 * reads words. */
void gather_inputs(const forward_pass *f, int64_t chunk_row, range rows) {
    const int64_t I = f->l.I;
    for (int64_t n = rows.begin; f->t.x && n < rows.end; n++)
        memcpy(f->t.x + n * I, (const real *)f->in->x + f->t.steps.source[chunk_row + n] * I, (size_t)I * sizeof(real));
    for (int64_t n = rows.begin; f->words.x.words && n < rows.end; n++)
        store_row(f->words.x, n, input_at(f, chunk_row, n), I);
}

/* P = X W^T + b for rows of the gate buffer, whose first row is packed row `chunk_row`. */
void input_rows(const forward_pass *f, int64_t chunk_row, range panels, range rows) {
    if (f->in->ids)
        gather_tokens(f, chunk_row, panels, rows);
    else
        multiply_inputs(f, chunk_row, panels, rows);
    fill_other_slots(f, panels, rows);
}

/* Return this thread's part of the product: whole panels if there are enough of them, else rows. */
static part share_product(const worker *me, int64_t panels, int64_t rows) {
    const range all_panels = {0, panels}, all_rows = {0, rows};
    if (panels % me->size == 0 || panels >= 4 * me->size) return (part){pool_share(me, panels, 1), all_rows};
    return (part){all_panels, pool_share(me, rows, TILE_ROWS_4)};
}

/* Compute the input product of all steps of a chunk. */
void input_chunk(const worker *me, const forward_pass *f, int64_t chunk_row, range chunk) {
    const int64_t n = chunk.end - chunk.begin;
    range gathered = pool_share(me, n, 1);
    pool_barrier(me); /* the buffers of the previous chunk are used again */
    gather_inputs(f, chunk_row, (range){chunk.begin + gathered.begin, chunk.begin + gathered.end});
    if (f->t.x || f->words.x.words) pool_barrier(me);
    part mine = share_product(me, f->l.panels, n);
    input_rows(f, chunk_row, mine.panels, (range){chunk.begin + mine.rows.begin, chunk.begin + mine.rows.end});
    pool_barrier(me);
}

/* Compute the input product of this step for the thread's own rows. No thread waits, and the gates are in the cache of
 * the core that reads them. LSTM H = 32, B = 8, 100 steps on two cores (Zen 5) takes 62 us. It took 86 us when threads
 * shared chunks. */
void input_of_own_rows(const forward_pass *f, const step_share *share, int64_t chunk_row, int64_t step) {
    const schedule *s = &f->t.steps;
    const int64_t first = s->offset[step] - chunk_row;
    range rows = rows_of(share, 0, active(s, step));
    rows = (range){first + rows.begin, first + rows.end};
    gather_inputs(f, chunk_row, rows);
    input_rows(f, chunk_row, (range){0, f->l.panels}, rows);
}
