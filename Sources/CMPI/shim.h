#ifndef LOCKSTEP_CMPI_SHIM_H
#define LOCKSTEP_CMPI_SHIM_H
#include <mpi.h>

// MPI's handles are macros around casts, which Swift does not import: one accessor each.
static inline MPI_Comm cmpi_comm_world(void) { return MPI_COMM_WORLD; }
static inline MPI_Request cmpi_request_null(void) { return MPI_REQUEST_NULL; }
static inline MPI_Datatype cmpi_byte(void) { return MPI_BYTE; }
static inline MPI_Datatype cmpi_float(void) { return MPI_FLOAT; }
static inline MPI_Op cmpi_sum(void) { return MPI_SUM; }
static inline const void *cmpi_in_place(void) { return MPI_IN_PLACE; }
static inline MPI_Status *cmpi_statuses_ignore(void) { return MPI_STATUSES_IGNORE; }
static inline int cmpi_any_source(void) { return MPI_ANY_SOURCE; }
static inline int cmpi_any_tag(void) { return MPI_ANY_TAG; }
static inline int cmpi_errors_return(MPI_Comm c) {
  return MPI_Comm_set_errhandler(c, MPI_ERRORS_RETURN);
}

// The largest tag the library takes, or -1 (MPI 3.1, section 8.1.2). The attribute of MPI_COMM_WORLD is
// asked, because that is where the standard promises it.
static inline long long cmpi_tag_limit(void) {
  int *value = 0, found = 0;
  if (MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &found) != MPI_SUCCESS || !found) return -1;
  return *value;
}

#endif
