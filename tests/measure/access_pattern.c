/* access_pattern PATTERN ROUNDS: touches memory as access_pattern.h says, in touch_all().
 */
#include "access_pattern.h"

#include <stdlib.h>

void touch_all(volatile char *buffer, int pattern, long rounds);

/* One load or store for each access; the rest stays in registers. */
__attribute__((noinline)) void touch_all(volatile char *buffer, int pattern, long rounds)
{
    uint64_t state = 1;
    for (long r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < PATTERN_ACCESSES; i++) {
            pattern_access a = pattern_at(pattern, i, &state);
            if (a.write)
                buffer[a.offset] = 1;
            else
                (void)buffer[a.offset];
        }
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    char *buffer = aligned_alloc(1 << 20, 1 << 20); /* sets follow from the offset */
    if (!buffer) return 1;
    touch_all(buffer, atoi(argv[1]), atol(argv[2]));
    free(buffer);
    return 0;
}
