/* Sampling from a language model, token after token; see fastrnn_generate in api.h. */
#ifndef FASTRNN_GENERATE_H
#define FASTRNN_GENERATE_H

#include "../fastrnn.h"
#include "names.h"

size_t tokens_workspace_size(const fastrnn_language_model *model);
int64_t generate_tokens(const fastrnn_language_model *model, const fastrnn_sampling *sampling, const int64_t *prefix,
                        int64_t n_prefix, const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens,
                        void *workspace);

#endif
