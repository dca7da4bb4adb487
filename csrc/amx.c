#define _GNU_SOURCE /* syscall */
#include "amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM and the tiles' bit in XCR0: Linux 5.16 */

/* Leaf 7 of CPUID has AMX-BF16, AMX-TILE and AMX-INT8 in bits 22, 24 and 25 of edx. */
static int processor_has_amx(void) {
    enum { WANTED = 1 << 22 | 1 << 24 | 1 << 25 };
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & WANTED) == WANTED;
}

/* The system refuses if it is older, or if a thread's alternate stack for signals has no room for the tiles. */
static int system_permits(void) { return !syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA); }

int amx_permitted(void) {
    static atomic_int answer; /* 0: not asked yet; else 1 + the answer */
    if (!answer) answer = 1 + (processor_has_amx() && system_permits());
    return answer - 1;
}
#else
int amx_permitted(void) { return 0; }
#endif
