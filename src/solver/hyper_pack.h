/**
 * @file hyper_pack.h
 * Indices that lie in the same events, granule by granule.
 *
 * A granule of equals costs what its indices cost at the very least, |events of one|. A
 * mask with few row blocks has many equal columns; what is left over once their granules
 * are full is a small problem, which a search solves far better than the whole.
 */
#ifndef ICD_SOLVER_HYPER_PACK_H
#define ICD_SOLVER_HYPER_PACK_H

#include "base/error.h"
#include <icd/access.h>

/**
 * Fills granules with equals; the other indices keep their relative order.
 * @param frozen     [in]     per index: it keeps its slot; NULL: all are free
 * @param old_of_new [in/out] a bijection, before and after
 * @param settled    [out]    sets->n entries: frozen, or in a granule of equals
 * @param granules   [out]    how many were filled; 0: old_of_new is as it was
 * @cost time O(sum |e| + n log n), memory O(n)
 */
icd_status icd_i_hyper_pack(icd_ctx *ctx, const icd_access *sets, int32_t granule,
                            const uint8_t *frozen, int32_t *old_of_new, uint8_t *settled,
                            int64_t *granules);

#endif
