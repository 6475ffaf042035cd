/**
 * @file repeat.h
 * REPEAT_n(M) writes M(0) .. M(n-1). Register tiles name each accumulator instead of
 * indexing an array: GCC keeps arrays that are unrolled late in memory.
 *
 * IN_ORDER(v) ends the step that makes the vector v before the next one begins: left
 * free, GCC starts all of them together, for which there are not enough registers.
 */
#ifndef ICD_KERNELS_REPEAT_H
#define ICD_KERNELS_REPEAT_H

#define REPEAT_1(M)  M(0)
#define REPEAT_2(M)  REPEAT_1(M) M(1)
#define REPEAT_3(M)  REPEAT_2(M) M(2)
#define REPEAT_4(M)  REPEAT_3(M) M(3)
#define REPEAT_5(M)  REPEAT_4(M) M(4)
#define REPEAT_6(M)  REPEAT_5(M) M(5)
#define REPEAT_8(M)  REPEAT_6(M) M(6) M(7)
#define REPEAT_12(M) REPEAT_6(M) M(6) M(7) M(8) M(9) M(10) M(11)

#define IN_ORDER(v) __asm__ volatile("" : "+x"(v));

#endif
