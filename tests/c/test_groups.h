/* The groups of tests. Each prints at least one line. */
#ifndef TEST_GROUPS_H
#define TEST_GROUPS_H

void test_instruction_sets(void);
void test_cells(void);
void test_threads(void);
void test_fork(void);
void test_linear(void);
void test_generate(void);
void test_training(void);
void test_xla(void);

#endif
