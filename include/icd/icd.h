/**
 * @file icd.h
 * The whole public API.
 */
#ifndef ICD_ICD_H
#define ICD_ICD_H

#include <icd/access.h>
#include <icd/adapters.h>
#include <icd/calibrate.h>
#include <icd/cocluster.h>
#include <icd/compare.h>
#include <icd/config.h>
#include <icd/constraint.h>
#include <icd/csr.h>
#include <icd/ctx.h>
#include <icd/doctor.h>
#include <icd/exec.h>
#include <icd/gates.h>
#include <icd/graph.h>
#include <icd/matrix.h>
#include <icd/measure.h>
#include <icd/meter.h>
#include <icd/metric.h>
#include <icd/model.h>
#include <icd/nm.h>
#include <icd/options.h>
#include <icd/packed.h>
#include <icd/perm.h>
#include <icd/quality.h>
#include <icd/report.h>
#include <icd/run.h>
#include <icd/runner.h>
#include <icd/solver.h>
#include <icd/status.h>
#include <icd/sweep.h>
#include <icd/synthetic.h>
#include <icd/tokenizer.h>
#include <icd/transform.h>
#include <icd/trial.h>

#endif
