#ifndef LOCKSTEP_CPREFETCH_SHIM_H
#define LOCKSTEP_CPREFETCH_SHIM_H

/// Asks for the cache line of `address`, which is about to be written; Swift has no word for it.
static inline __attribute__((always_inline)) void prefetch_for_writing(const void *address) {
  __builtin_prefetch(address, 1, 3);
}

#endif
