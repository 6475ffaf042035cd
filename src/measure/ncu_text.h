/**
 * @file ncu_text.h
 * What ncu says in words: its version, why it refused, how often it ran the program.
 */
#ifndef ICD_MEASURE_NCU_TEXT_H
#define ICD_MEASURE_NCU_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A refusal that no retry helps. */
typedef struct icd_ncu_refusal {
    const char *sign;   /**< in ncu's output */
    const char *reason; /**< one sentence */
    const char *enable; /**< the command that helps */
} icd_ncu_refusal;

/** The refusal in an output; NULL: none. */
const icd_ncu_refusal *icd_i_ncu_refusal(const char *text);

/** The refusal for counters that only administrators may read. */
const icd_ncu_refusal *icd_i_ncu_refusal_permission(void);

/** "Version 2025.3.1.0 (build ...)" -> "2025.3.1.0". @return false: not there */
bool icd_i_ncu_version(const char *text, char *out, size_t size);

/** The first line "==ERROR== ..." without its mark; "" when there is none. */
void icd_i_ncu_error(const char *text, char *out, size_t size);

/** The most passes any line speaks of ("- 3 passes", "Application replay pass 3"); 1 when
 * none does. */
int64_t icd_i_ncu_passes(const char *text);

#endif
