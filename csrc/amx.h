/* Whether this process may use AMX, the matrix unit of Intel's processors since 2023. */
#ifndef FASTRNN_AMX_H
#define FASTRNN_AMX_H

/* Ask the processor, and once in a process the operating system, which saves the state of the tiles at a change of threads
 * only if it was asked. Children made by fork have the permission, too. */
int amx_permitted(void);

#endif
