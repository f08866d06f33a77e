/* Switches of callgrind, to be called from Python; outside valgrind they do nothing. */
#include <valgrind/callgrind.h>

void instrument(void) { CALLGRIND_START_INSTRUMENTATION; }

void toggle(void) { CALLGRIND_TOGGLE_COLLECT; }

/* Writes down what was counted since the last time, under a label. */
void note(const char *label) { CALLGRIND_DUMP_STATS_AT(label); }
