/**
 * @file clock.h
 * The monotonic clock, in seconds.
 */
#ifndef ICD_BASE_CLOCK_H
#define ICD_BASE_CLOCK_H

/** Seconds of CLOCK_MONOTONIC. */
double icd_i_now(void);

#endif
