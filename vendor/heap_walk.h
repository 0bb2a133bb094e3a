/* The walk over the pages of a heap. What the functions do stands with their declarations in src/sys/walk.rs. */

#ifndef MIMALLOC_RUNTIME_HEAP_WALK_H
#define MIMALLOC_RUNTIME_HEAP_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <mimalloc.h>

/* What allocates on one thread: mi_theap_t of version 3, and the heap itself of version 2. */
#if MI_MALLOC_VERSION >= 30000
typedef mi_theap_t mimalloc_runtime_local_t;
#else
typedef mi_heap_t mimalloc_runtime_local_t;
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if MI_MALLOC_VERSION >= 30000
mi_theap_t* mimalloc_runtime_placeholder(void);
#else
void mimalloc_runtime_untag(mi_heap_t* heap);
#endif
bool mimalloc_runtime_walk_is_possible(mi_heap_t* heap, mimalloc_runtime_local_t* local, void* block);
size_t mimalloc_runtime_walk_pages(mi_heap_t* heap, mimalloc_runtime_local_t* local, size_t* place, size_t* looks,
                                   size_t* found, size_t most);
bool mimalloc_runtime_walk_page(void* page, mi_block_visit_fun* visitor, void* arg);
void mimalloc_runtime_copy_words(const void* from, size_t* to, size_t count);

#ifdef __cplusplus
}
#endif

#endif
