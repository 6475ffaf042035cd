#include <icd/metric.h>

const char *icd_provenance_name(icd_provenance p)
{
    switch (p) {
    case ICD_MEASURED:
        return "MEASURED";
    case ICD_SIMULATED:
        return "SIMULATED";
    case ICD_MODELLED:
        return "MODELLED";
    case ICD_ABSENT:
        break;
    }
    return "ABSENT";
}
