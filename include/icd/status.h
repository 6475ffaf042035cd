/**
 * @file status.h
 * What every function of the library returns, the stable error codes and the exit codes.
 */
#ifndef ICD_STATUS_H
#define ICD_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * One line per status: enum name, stable code printed to users, exit code of `icd`, text.
 * Exit codes: 0 ok, 1 internal, 2 config or usage, 3 resource, 4 measurement, 5 solver
 * timeout without a result, 6 I/O or damaged file, 7 gate failed.
 */
#define ICD_STATUS_LIST(X)                                                               \
    X(ICD_OK, "OK", 0, "no error")                                                       \
    X(ICD_EINVAL, "E_CFG_001", 2, "a setting or an argument is not valid")               \
    X(ICD_ENOMEM, "E_RES_101", 3, "not enough memory")                                   \
    X(ICD_EBUSY, "E_RES_102", 3, "the resource is held by another process")              \
    X(ICD_EUNSUPPORTED, "E_RES_103", 3, "this machine or build cannot do that")          \
    X(ICD_ETIMEOUT, "E_SLV_201", 5, "the time budget ended before there was a result")   \
    X(ICD_ENUMERIC, "E_SLV_202", 1, "a numerical method did not converge")               \
    X(ICD_EADAPTER, "E_ADP_301", 1, "a transform could not be applied")                  \
    X(ICD_EMEASURE, "E_MSR_401", 4, "a measurement failed")                              \
    X(ICD_EIO, "E_IO_501", 6, "a file could not be read or written")                     \
    X(ICD_EDATA, "E_IO_502", 6, "a file is damaged or not of the expected form")         \
    X(ICD_EEXACT, "E_EXACT_601", 1, "the permuted model does not compute the same")      \
    X(ICD_EGATE, "E_GATE_701", 7, "a gate was not met")                                  \
    X(ICD_ECANCELLED, "E_INT_130", 1, "cancelled")                                       \
    X(ICD_EINTERNAL, "E_INT_900", 1, "internal error")

typedef enum icd_status {
#define ICD_STATUS_ENUM(name, code, exit_code, text) name,
    ICD_STATUS_LIST(ICD_STATUS_ENUM)
#undef ICD_STATUS_ENUM
        ICD_STATUS_COUNT
} icd_status;

/** The stable code of a status ("E_IO_501"); "E_INT_900" for a value outside the list. */
const char *icd_status_code(icd_status status);

/** What a status means, half a sentence in English. */
const char *icd_status_text(icd_status status);

/** The exit code of the `icd` program for a status. */
int icd_status_exit_code(icd_status status);

/** Library version, "MAJOR.MINOR.PATCH". */
const char *icd_version(void);

#ifdef __cplusplus
}
#endif
#endif
