/**
 * @file icd.h
 * The whole public API.
 */
#ifndef ICD_ICD_H
#define ICD_ICD_H

#include <icd/access.h>
#include <icd/config.h>
#include <icd/constraint.h>
#include <icd/csr.h>
#include <icd/ctx.h>
#include <icd/doctor.h>
#include <icd/graph.h>
#include <icd/metric.h>
#include <icd/options.h>
#include <icd/perm.h>
#include <icd/solver.h>
#include <icd/status.h>

#endif
