/* Copies words of memory of which some may never have been written: padding, and what an enum does not use. Rust has no way to read
   such a word; here it has some value, whichever. src/sys/walk.rs declares it. */

#include "heap_walk.h"

void mimalloc_runtime_copy_words(const void* from, size_t* to, size_t count) {
  const volatile size_t* const words = (const volatile size_t*)from;
  for (size_t i = 0; i < count; i++) { to[i] = words[i]; }
}
