/* The names of this build: every function that is shared between the files of this folder carries the build's suffix, such
 * as _f32_avx512, because the same sources are compiled once per (dtype, ISA). The build defines FASTRNN_SUFFIX. */
#ifndef FASTRNN_NAMES_H
#define FASTRNN_NAMES_H

#define FASTRNN_JOIN_(name, suffix) name##suffix
#define FASTRNN_JOIN(name, suffix) FASTRNN_JOIN_(name, suffix)
#define THIS_BUILD(name) FASTRNN_JOIN(name, FASTRNN_SUFFIX)

#define add_unpacked THIS_BUILD(add_unpacked)
#define arrays_clamp_ THIS_BUILD(arrays_clamp_)
#define arrays_scale_ THIS_BUILD(arrays_scale_)
#define arrays_squares_ THIS_BUILD(arrays_squares_)
#define arrays_workspace_size_ THIS_BUILD(arrays_workspace_size_)
#define cell_gru THIS_BUILD(cell_gru)
#define cell_gru_no_reset THIS_BUILD(cell_gru_no_reset)
#define cell_gru_reset_before THIS_BUILD(cell_gru_reset_before)
#define cell_lstm THIS_BUILD(cell_lstm)
#define cell_lstm_peephole THIS_BUILD(cell_lstm_peephole)
#define cell_of THIS_BUILD(cell_of)
#define cell_rnn_relu THIS_BUILD(cell_rnn_relu)
#define cell_rnn_tanh THIS_BUILD(cell_rnn_tanh)
#define generate_tokens THIS_BUILD(generate_tokens)
#define kernels THIS_BUILD(kernels)
#define layout_of THIS_BUILD(layout_of)
#define linear_backward_ THIS_BUILD(linear_backward_)
#define linear_forward_ THIS_BUILD(linear_forward_)
#define linear_pack_ THIS_BUILD(linear_pack_)
#define linear_packed_size_ THIS_BUILD(linear_packed_size_)
#define linear_workspace_size_ THIS_BUILD(linear_workspace_size_)
#define measure_fma_ THIS_BUILD(measure_fma_)
#define measure_read_ THIS_BUILD(measure_read_)
#define optimise_ THIS_BUILD(optimise_)
#define outer_product THIS_BUILD(outer_product)
#define pack_layer THIS_BUILD(pack_layer)
#define pack_transposed THIS_BUILD(pack_transposed)
#define product THIS_BUILD(product)
#define product_to_rows THIS_BUILD(product_to_rows)
#define sequence_backward THIS_BUILD(sequence_backward)
#define sequence_forward THIS_BUILD(sequence_forward)
#define softmax_cross_entropy_ THIS_BUILD(softmax_cross_entropy_)
#define tokens_workspace_size THIS_BUILD(tokens_workspace_size)
#define walk_from THIS_BUILD(walk_from)
#define walk_on THIS_BUILD(walk_on)
#define walk_to THIS_BUILD(walk_to)
#define whole_gradients THIS_BUILD(whole_gradients)

#endif
