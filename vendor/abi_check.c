/* What src/sys declares, held against the engine's own header by the compiler. Nothing here is ever called.
   A line that fails means that src/sys/mod.rs and the engine disagree about that function: mend the Rust side. */

#include <assert.h>
#include <mimalloc.h>

#define SAME(function, type) \
  static_assert(_Generic(&(function), type: 1, default: 0), #function " is not declared as src/sys/mod.rs says")
#define OPTION(option, value) \
  static_assert((option) == (value), #option " is not the number that src/sys/engine.rs gives")

SAME(mi_version, int (*)(void));
SAME(mi_malloc, void* (*)(size_t));
SAME(mi_free, void (*)(void*));
SAME(mi_collect, void (*)(bool));
SAME(mi_thread_init, void (*)(void));
SAME(mi_register_deferred_free, void (*)(mi_deferred_free_fun*, void*));
static_assert(_Generic((mi_deferred_free_fun*)0, void (*)(bool, unsigned long long, void*): 1, default: 0),
              "the deferred free callback is not typed as src/sys/mod.rs says");
SAME(mi_option_get, long (*)(mi_option_t));
SAME(mi_option_set, void (*)(mi_option_t, long));
static_assert(sizeof(mi_option_t) == sizeof(int), "an option is passed as an int");
SAME(mi_heap_new, mi_heap_t* (*)(void));
SAME(mi_heap_destroy, void (*)(mi_heap_t*));

SAME(mi_malloc_aligned, void* (*)(size_t, size_t));
SAME(mi_zalloc_aligned, void* (*)(size_t, size_t));
SAME(mi_realloc_aligned, void* (*)(void*, size_t, size_t));

OPTION(mi_option_purge_delay, 15);

#if MI_MALLOC_VERSION >= 30000
SAME(mi_heap_theap, mi_theap_t* (*)(mi_heap_t*));
SAME(mi_theap_delete, void (*)(mi_theap_t*));
SAME(mi_theap_malloc, void* (*)(mi_theap_t*, size_t));
SAME(mi_theap_zalloc, void* (*)(mi_theap_t*, size_t));
SAME(mi_theap_wmalloc_small, void* (*)(mi_theap_t*, size_t));
SAME(mi_free_small_nonnull, void (*)(void*));
SAME(mi_theap_malloc_aligned, void* (*)(mi_theap_t*, size_t, size_t));
SAME(mi_theap_zalloc_aligned, void* (*)(mi_theap_t*, size_t, size_t));
SAME(mi_theap_realloc, void* (*)(mi_theap_t*, void*, size_t));
SAME(mi_theap_collect, void (*)(mi_theap_t*, bool));
SAME(mi_heap_of, mi_heap_t* (*)(const void*));
OPTION(mi_option_generic_collect, 34);
OPTION(mi_option_arena_purge_immediate_size, 53);
#else
SAME(mi_heap_malloc, void* (*)(mi_heap_t*, size_t));
SAME(mi_heap_zalloc, void* (*)(mi_heap_t*, size_t));
SAME(mi_free_small, void (*)(void*));
SAME(mi_heap_malloc_small, void* (*)(mi_heap_t*, size_t));
SAME(mi_heap_malloc_aligned, void* (*)(mi_heap_t*, size_t, size_t));
SAME(mi_heap_zalloc_aligned, void* (*)(mi_heap_t*, size_t, size_t));
SAME(mi_heap_realloc, void* (*)(mi_heap_t*, void*, size_t));
SAME(mi_heap_collect, void (*)(mi_heap_t*, bool));
SAME(mi_heap_contains_block, bool (*)(mi_heap_t*, const void*));
OPTION(mi_option_generic_collect, 36);
#endif
