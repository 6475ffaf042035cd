#include "base/blas.h"

#include <cblas.h>
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int users, found;

void icd_i_blas_alone(void)
{
    pthread_mutex_lock(&lock);
    if (users++ == 0) {
        found = openblas_get_num_threads();
        openblas_set_num_threads(1);
    }
    pthread_mutex_unlock(&lock);
}

void icd_i_blas_shared(void)
{
    pthread_mutex_lock(&lock);
    if (--users == 0) openblas_set_num_threads(found);
    pthread_mutex_unlock(&lock);
}
