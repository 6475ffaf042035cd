/**
 * @file memory_left.h
 * How much memory the machine can still give, so that what is too large is refused with a
 * sentence and not ended by the kernel minutes later.
 */
#ifndef ICD_BASE_MEMORY_LEFT_H
#define ICD_BASE_MEMORY_LEFT_H

/**
 * Bytes that this process may still fill: what the kernel calls available, less what it
 * was promised and has not touched yet. Infinite where the kernel does not tell, and
 * under sanitizers, whose shadow memory is promised by the terabyte.
 * @cost two small reads of /proc
 */
double icd_i_memory_left(void);

#endif
