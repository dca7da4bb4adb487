/* Tests of the C library by value, without Python. The command line names the groups to run; without arguments all run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastrnn.h"
#include "test_groups.h"
#include "testing.h"

void test_instruction_sets(void) {
    for (int32_t isa = 0; isa < fastrnn_isa_count(); isa++) {
        const char *name = fastrnn_isa_name(isa);
        expect(fastrnn_isa_find(name) == isa, "%s is not found", name);
        setenv("FASTRNN_ISA", name, 1);
        expect(fastrnn_isa_default() == (fastrnn_isa_runs(isa) ? isa : -1), "FASTRNN_ISA=%s is not obeyed", name);
        printf("%s: %s\n", name, fastrnn_isa_runs(isa) ? "runs here" : "does not run here");
    }
    setenv("FASTRNN_ISA", "abacus", 1);
    expect(fastrnn_isa_find("abacus") == -1 && fastrnn_isa_default() == -1, "an unknown ISA is taken");
    unsetenv("FASTRNN_ISA");
    expect(fastrnn_isa_runs(fastrnn_isa_default()), "the default ISA does not run");
    expect(strlen(fastrnn_compiler()) > 4, "no compiler");
    group_done("instruction sets");
}

static const struct {
    const char *name;
    void (*run)(void);
} GROUPS[] = {{"isa", test_instruction_sets}, {"fork", test_fork},     {"cells", test_cells},
              {"threads", test_threads},      {"linear", test_linear}, {"generate", test_generate},
              {"training", test_training},    {"xla", test_xla}};

static int is_wanted(const char *name, int count, char *const *wanted) {
    for (int i = 0; i < count; i++)
        if (!strcmp(name, wanted[i])) return 1;
    return count == 0;
}

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof GROUPS / sizeof *GROUPS; i++)
        if (is_wanted(GROUPS[i].name, argc - 1, argv + 1)) GROUPS[i].run();
    return all_done();
}
