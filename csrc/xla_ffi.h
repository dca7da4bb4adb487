/* The part of XLA's foreign function interface that xla.c uses, as plain C structures.
 *
 * jaxlib ships this interface as xla/ffi/api/c_api.h. Its layout is stable and versioned, so it is written down here, and
 * every build has the handlers, also where no jaxlib is installed. tests/test_jax_header.py compares sizes, offsets and
 * numbers with the header of the jaxlib that is installed. Fields that come after the last one used are left out; each
 * structure begins with its size. */
#ifndef FASTRNN_XLA_FFI_H
#define FASTRNN_XLA_FFI_H

#include <stddef.h>
#include <stdint.h>

/* The version of the interface with exactly these structures. jaxlib 0.5 has it, and later ones accept it. */
enum { XLA_MAJOR = 0, XLA_MINOR = 1 };

enum { XLA_METADATA = 1 };                                                                  /* type of an extension */
enum { XLA_EXECUTE = 3 };                                                                   /* stage of a call */
enum { XLA_ARRAY = 1 };                                                                     /* type of an attribute */
enum { XLA_INT32 = 4, XLA_INT64 = 5 };                                                      /* types of numbers */
enum { XLA_INVALID_ARGUMENT = 3, XLA_RESOURCE_EXHAUSTED = 8, XLA_FAILED_PRECONDITION = 9 }; /* kinds of errors */

typedef struct xla_error xla_error; /* XLA's own; null is success */

typedef struct xla_extension {
    size_t size;
    int32_t type;
    struct xla_extension *next;
} xla_extension;

typedef struct {
    size_t size;
    xla_extension *extensions;
    int32_t major, minor;
} xla_version;

/* What a handler says of itself when it is registered. */
typedef struct {
    size_t size;
    xla_version version;
    uint32_t traits;
} xla_metadata;

typedef struct {
    xla_extension base;
    xla_metadata *metadata;
} xla_metadata_extension;

typedef struct {
    size_t size;
    xla_extension *extensions;
    const char *message; /* copied */
    int32_t code;
} xla_error_arguments;

typedef struct {
    size_t size;
    xla_extension *extensions;
    xla_version version;
    const void *internal;
    xla_error *(*create_error)(xla_error_arguments *);
} xla_api;

/* An array: an argument or a result. */
typedef struct {
    size_t size;
    xla_extension *extensions;
    int32_t dtype;
    void *data;
    int64_t rank;
    const int64_t *shape; /* [rank] */
} xla_buffer;

/* The value of an attribute that is an array. */
typedef struct {
    int32_t dtype;
    size_t count;
    const void *data;
} xla_array;

/* Arguments or results. */
typedef struct {
    size_t size;
    xla_extension *extensions;
    int64_t count;
    const int32_t *types; /* [count] */
    void *const *values;  /* [count] */
} xla_values;

typedef struct {
    size_t size;
    xla_extension *extensions;
    int64_t count;
    const int32_t *types; /* [count] */
    const void *names;
    void *const *values; /* [count], sorted by name */
} xla_attributes;

typedef struct {
    size_t size;
    xla_extension *extensions;
    const xla_api *api;
    void *context;
    int32_t stage;
    xla_values arguments, results;
    xla_attributes attributes;
} xla_frame;

#endif
