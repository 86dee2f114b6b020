#ifndef LOCKSTEP_CVECTOR_SHIM_H
#define LOCKSTEP_CVECTOR_SHIM_H

/// Asks for the cache line of `address`, which is about to be written; Swift has no word for it.
static inline __attribute__((always_inline)) void prefetch_for_writing(const void *address) {
  __builtin_prefetch(address, 1, 3);
}

/// Whether code is made for registers of sixteen floats.
static inline __attribute__((always_inline)) _Bool has_wide_registers(void) {
#ifdef __AVX512F__
  return 1;
#else
  return 0;
#endif
}

#endif
