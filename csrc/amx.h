/* Whether this process may use AMX, the matrix unit of Intel's processors since 2023. */
#ifndef FASTRNN_AMX_H
#define FASTRNN_AMX_H

/* Return whether this process may use AMX. The first call asks Linux for permission, because Linux saves the tiles of a
 * thread only for processes that asked. Forked children inherit the permission. */
int amx_permitted(void);

#endif
