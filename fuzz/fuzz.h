/**
 * @file fuzz.h
 * What every target defines. It must accept any bytes, crash on a bug and leak nothing.
 */
#ifndef ICD_FUZZ_H
#define ICD_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/** @return 0 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
