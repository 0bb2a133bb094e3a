/* A walk over the pages of a heap that can be left and taken up again, which the engine has not: src/sys/walk.rs says what each
   function does.

   It reads the engine's own structures, of which the layout depends on how the engine is built. So it is compiled with the
   engine's internal headers and the settings that build/main.rs knows of, and mimalloc_runtime_walk_is_possible() compares
   what it reads with what functions of the engine say, which have been compiled with the library.

   The order of a walk is that of addresses, more or less: a place stays behind what it has passed, whatever is allocated and
   freed. A page never moves. So a block that is in use from the walk's beginning to its end is in a page that is passed once. */

#include "heap_walk.h"

#include <stdint.h>
#include <string.h>

#if MI_MALLOC_VERSION >= 30000

#include "mimalloc/alloc/free.h"
#include "mimalloc/alloc/page.h"
#include "mimalloc/heap/theap.h"
#include "mimalloc/heap/page-map.h"
#include "mimalloc/heap/init.h"
#include "mimalloc/profile/sample-guarded.h"
#include "mimalloc/profile/sample-profile.h"
#include "arena/arena.h" /* of src/, beside include/ */

/* The engine has it in arena-page.c and declares it nowhere. */
mi_page_t* mi_arena_page_at_slice(mi_arena_t* arena, size_t slice_index);

#else

#include "mimalloc/types.h"
#include "mimalloc/internal.h"

#endif

/* Where a walk is: the arena, by its number, and the slice in it from which on to look; then the address above which to look
   among the pages that lie in no arena. Of version 2 all pages are taken for such, as it has no list by address. */
enum { ARENA, SLICE, ABOVE, PLACE };

#define NO_MORE SIZE_MAX

/* A page that was found, and the place behind it. */
enum { PAGE = PLACE, FOUND };

static size_t address_of(const mi_page_t* page) { return (size_t)mi_page_start(page); }

/* Puts a page among those found, of which the ones with the lowest addresses stay, in order. */
static size_t put(mi_page_t* page, size_t* found, size_t count, size_t most, size_t arena) {
  const size_t address = address_of(page);
  size_t at = count;
  while (at > 0 && found[(at - 1) * FOUND + ABOVE] > address) { at--; }
  if (at == most) return count;
  const size_t stay = (count < most ? count : most - 1);
  for (size_t i = stay; i > at; i--) {
    for (size_t j = 0; j < FOUND; j++) { found[i * FOUND + j] = found[(i - 1) * FOUND + j]; }
  }
  size_t* const here = found + at * FOUND;
  here[PAGE] = (size_t)page;
  here[ARENA] = arena;
  here[SLICE] = 0;
  here[ABOVE] = address;
  return stay + 1;
}

/* The pages in these queues that lie in no arena, with the lowest addresses above the place. */
static size_t put_queues(mi_page_queue_t* queues, const size_t* place, size_t* found, size_t count, size_t most) {
  for (size_t bin = 0; bin <= MI_BIN_FULL; bin++) {
    for (mi_page_t* page = queues[bin].first; page != NULL; page = page->next) {
#if MI_MALLOC_VERSION >= 30000
      if (mi_page_is_in_arena(page)) continue;
#endif
      if (address_of(page) > place[ABOVE]) { count = put(page, found, count, most, place[ARENA]); }
    }
  }
  return count;
}

/* Whether the engine has the same padding behind its blocks, on which the layout of pages and heaps depends, and these queues are
   where they are read. Follows no pointer. */
static bool is_laid_out(const mi_page_queue_t* queues) {
  const size_t size = 16;
  if (mi_good_size(size) != _mi_bin_size(_mi_bin(size + MI_PADDING_SIZE))) return false;
  for (size_t bin = 0; bin < MI_BIN_HUGE; bin++) {
    if (queues[bin].block_size != _mi_bin_size(bin)) return false;
  }
  return true;
}

/* Whether a page stands in the queue of its size, or among the full ones. */
static bool is_queued(mi_page_queue_t* queues, mi_page_t* page) {
  const size_t bins[2] = {_mi_bin(mi_page_block_size(page)), MI_BIN_FULL};
  for (size_t i = 0; i < 2; i++) {
    for (mi_page_t* at = queues[bins[i]].first; at != NULL; at = at->next) {
      if (at == page) return true;
    }
  }
  return false;
}

/* Whether the page is, read here, what the engine says that it is. */
static bool is_read_right(mi_page_t* page) {
  mi_heap_area_t area;
  _mi_heap_area_init(&area, page);
  return area.full_block_size == mi_page_block_size(page) && area.block_size == mi_page_usable_block_size(page) &&
         area.blocks == (void*)mi_page_start(page) && area.committed == page->capacity * mi_page_block_size(page) &&
         area.reserved == page->reserved * mi_page_block_size(page) &&
#if MI_MALLOC_VERSION >= 30000
         area.reserved1 == (void*)page && area.used == mi_page_used(page);
#else
         area.heap_tag == page->heap_tag && area.used == page->used;
#endif
}

#if MI_MALLOC_VERSION >= 30000

mi_theap_t* mimalloc_runtime_placeholder(void) { return &_mi_theap_empty_wrong; }

/* A block that the profiler has sampled begins with words of the engine's own, and what was handed out lies behind them:

     MI_BLOCK_TAG_PROFILED | bytes of the data | the data ... | a word to spare | up to a multiple of 16 | what was handed out

   So _mi_theap_malloc_profiled() in the engine's sample-profile.c has it, and no header. The page says that it has had such a block
   since it was empty last; others in it may be as they always are. */

#define UNKNOWN SIZE_MAX

/* How many bytes of the engine's own a sampled block of so many bytes begins with. UNKNOWN if it is none, or cannot be one. */
static size_t bytes_of_sample(const mi_block_t* block, size_t size) {
  if (block->next != MI_BLOCK_TAG_PROFILED) return UNKNOWN;
  if (size < sizeof(mi_block_t) + sizeof(mi_profiler_sample_data_t)) return UNKNOWN;
  const size_t data = ((const mi_profiler_sample_data_t*)(block + 1))->user_data_size;
  if (data == 0 || data > MI_PROFILE_SAMPLE_DATA_MAX_SIZE || data % sizeof(void*) != 0) return UNKNOWN;
  const size_t bytes = mi_align_up(sizeof(mi_block_t) + sizeof(mi_profiler_sample_data_t) + data, MI_MAX_ALIGN_SIZE);
  return size < bytes + sizeof(uint64_t) ? UNKNOWN : bytes;
}

/* What the engine has said of it. */
enum { NOT_ASKED, AS_ABOVE, OTHERWISE };

static _Atomic(uintptr_t) samples_are;

static size_t mi_cdecl on_alloc(mi_profiler_t* profiler, mi_profiler_sample_data_t* data, void* p, size_t size, size_t rate,
                                uint64_t since, mi_heap_t* heap) {
  (void)profiler, (void)data, (void)p, (void)size, (void)rate, (void)since, (void)heap;
  return 0; /* The rate stays. */
}

/* A profiler that has none keeps nothing with a sample. */
static void mi_cdecl on_free(mi_profiler_t* profiler, mi_profiler_sample_data_t* data, void* p, mi_heap_t* heap) {
  (void)profiler, (void)data, (void)p, (void)heap;
}

/* Has the engine sample a block of this heap, with so many bytes of data, and looks what it hands out. */
static uintptr_t ask(mi_heap_t* heap, size_t data) {
  mi_theap_t* const theap = mi_heap_theap(heap);
  if (theap == NULL || theap == &_mi_theap_empty_wrong) return NOT_ASKED;
  mi_profiler_t profiler;
  memset(&profiler, 0, sizeof(profiler));
  profiler.sample_data_size = data;
  profiler.initial_sample_rate = 1;
  profiler.on_alloc = &on_alloc;
  profiler.on_free = &on_free;
  /* Not that of the process, which the heap may have from the start, and which another thread may be about to give it. */
  if (!mi_heap_profile(heap, NULL) || !mi_heap_profile(heap, &profiler)) return NOT_ASKED;
  mi_profiler_start(&profiler);
  uintptr_t answer = NOT_ASKED;
  void* const p = _mi_theap_malloc_profiled(theap, MI_MAX_ALIGN_SIZE + MI_PADDING_SIZE, MI_MAX_ALIGN_SIZE, false, NULL);
  if (p != NULL) {
    mi_page_t* const page = _mi_safe_ptr_page(p);
    const mi_block_t* const block = _mi_page_ptr_unalign(page, p);
    const size_t before = (size_t)((const uint8_t*)p - (const uint8_t*)block);
    answer = mi_page_has_interior_pointers(page) && bytes_of_sample(block, mi_page_usable_block_size(page)) == before
                 ? AS_ABOVE : OTHERWISE;
    /* It goes with the heap: a tool that watches the engine is told of no sample, and would complain of its free. */
  }
  mi_heap_profile(heap, NULL);
  return answer;
}

/* Asks the engine once, in a heap that goes again: not when a walk comes across a sample, as there may be no memory then. */
static void ask_for_samples(void) {
  if (mi_atomic_load_relaxed(&samples_are) != NOT_ASKED) return;
  mi_heap_t* const heap = mi_heap_new();
  if (heap == NULL) return;
  /* What the engine's own profiler has, and a size that needs no bytes for the alignment. */
  uintptr_t answer = ask(heap, 2 * sizeof(void*));
  if (answer == AS_ABOVE) { answer = ask(heap, 3 * sizeof(void*)); }
  mi_heap_destroy(heap);
  /* Another thread may have asked too, and have had the memory. */
  if (answer != NOT_ASKED) { mi_atomic_store_relaxed(&samples_are, answer); }
}

/* Whether an object or a mark can begin so: with the key of a type, which is never 0, in the uppermost bits (TypeKey in kind.rs). The
   tags that the engine puts there, 0, 1 and all ones, are nothing of the kind. */
static bool is_word_of_object(const void* at) {
  uint64_t word;
  memcpy(&word, at, sizeof(word));
  return word >> 48 != 0 && word != UINT64_MAX;
}

/* How many bytes of the engine's own a block of so many bytes begins with. UNKNOWN if the engine has aligned it, if it has a guard page,
   or if no object follows where one should. */
static size_t bytes_before(const mi_block_t* block, size_t size) {
  if (is_word_of_object(block)) return 0;
  if (mi_atomic_load_relaxed(&samples_are) != AS_ABOVE) return UNKNOWN;
  const size_t before = bytes_of_sample(block, size);
  return before != UNKNOWN && is_word_of_object((const uint8_t*)block + before) ? before : UNKNOWN;
}

static bool mi_cdecl is_known(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size, void* arg) {
  (void)heap;
  (void)area;
  (void)arg;
  return bytes_before((const mi_block_t*)block, size) != UNKNOWN;
}

typedef struct to_visit_s {
  mi_block_visit_fun* visitor;
  void* arg;
} to_visit_t;

static bool mi_cdecl visit_handed_out(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size, void* arg) {
  const to_visit_t* const visit = (const to_visit_t*)arg;
  const size_t before = bytes_before((const mi_block_t*)block, size);
  return visit->visitor(heap, area, (uint8_t*)block + before, size - before, visit->arg);
}

bool mimalloc_runtime_walk_is_possible(mi_heap_t* heap, mimalloc_runtime_local_t* local, void* block) {
  if (!is_laid_out(local->pages)) return false;
  mi_page_t* const page = _mi_safe_ptr_page(block);
  if (page == NULL || mi_heap_of(block) != heap || page->heap != heap || page->theap != local) return false;
  if (!is_read_right(page) || !is_queued(local->pages, page)) return false;
  ask_for_samples();
  if (local->page_count_os > local->page_count) return false;
  if (!mi_page_is_in_arena(page)) return true;
  mi_arena_t* const arena = page->memid.mem.arena.arena;
  const size_t slice = page->memid.mem.arena.slice_index;
  const size_t number = arena->arena_idx;
  size_t bytes = 0;
  const size_t start = (size_t)mi_arena_area(arena, &bytes);
  if (number >= MI_MAX_ARENAS || mi_arenas_get_count(heap->subproc) <= number) return false;
  if (mi_arena_from_index(heap->subproc, number) != arena || slice >= arena->slice_count) return false;
  if (arena->slice_count * MI_ARENA_SLICE_SIZE > bytes || start > (size_t)block || (size_t)block - start >= bytes) return false;
  mi_arena_pages_t* const pages = mi_atomic_load_ptr_acquire(mi_arena_pages_t, &heap->arena_pages[number]);
  if (pages == NULL || mi_bitmap_max_bits(pages->pages) < arena->slice_count) return false;
  return mi_bitmap_is_set(pages->pages, slice) && mi_arena_page_at_slice(arena, slice) == page;
}

/* The pages of the heap in arenas from the place on, as far as `looks` last. The place is put behind what was looked at. */
static size_t put_arenas(mi_heap_t* heap, size_t* place, size_t* looks, size_t* found, size_t most) {
  size_t count = 0;
  for (; place[ARENA] < MI_MAX_ARENAS; place[ARENA]++, place[SLICE] = 0) {
    if (place[ARENA] >= mi_arenas_get_count(heap->subproc)) {
      place[ARENA] = MI_MAX_ARENAS;
      return count;
    }
    mi_arena_t* const arena = mi_arena_from_index(heap->subproc, place[ARENA]);
    mi_arena_pages_t* const pages = mi_atomic_load_ptr_acquire(mi_arena_pages_t, &heap->arena_pages[place[ARENA]]);
    if (arena == NULL || pages == NULL) continue;
    while (place[SLICE] < arena->slice_count) {
      if (*looks == 0) return count;
      *looks -= 1;
      /* A word of the bitmap at a time. */
      const size_t word = place[SLICE] / MI_BFIELD_BITS;
      mi_bchunk_t* const chunk = &pages->pages->chunks[word / MI_BCHUNK_FIELDS];
      mi_bfield_t bits = mi_atomic_load_relaxed(&chunk->bfields[word % MI_BCHUNK_FIELDS]);
      bits &= ~(mi_bfield_t)0 << (place[SLICE] % MI_BFIELD_BITS);
      while (bits != 0) {
        if (count == most) return count;
        const size_t slice = word * MI_BFIELD_BITS + mi_ctz(bits);
        bits &= bits - 1;
        place[SLICE] = slice + 1;
        size_t* const here = found + count * FOUND;
        here[PAGE] = (size_t)mi_arena_page_at_slice(arena, slice);
        here[ARENA] = place[ARENA];
        here[SLICE] = place[SLICE];
        here[ABOVE] = 0;
        count++;
      }
      place[SLICE] = (word + 1) * MI_BFIELD_BITS;
    }
  }
  return count;
}

size_t mimalloc_runtime_walk_pages(mi_heap_t* heap, mimalloc_runtime_local_t* local, size_t* place, size_t* looks,
                                   size_t* found, size_t most) {
  if (place[ARENA] < MI_MAX_ARENAS) {
    const size_t count = put_arenas(heap, place, looks, found, most);
    if (count > 0 || place[ARENA] < MI_MAX_ARENAS) return count;
  }
  /* Pages that lie in no arena: of the thread, and full ones that no thread owns. */
  size_t count = 0;
  if (local->page_count_os > 0) { count = put_queues(local->pages, place, found, count, most); }
  for (mi_page_t* page = heap->os_abandoned_pages; page != NULL; page = page->next) {
    if (address_of(page) > place[ABOVE]) { count = put(page, found, count, most, place[ARENA]); }
  }
  if (count < most) {
    place[ARENA] = NO_MORE;
  } else {
    place[ABOVE] = found[(count - 1) * FOUND + ABOVE];
  }
  return count;
}

bool mimalloc_runtime_walk_page(void* p, mi_block_visit_fun* visitor, void* arg) {
  mi_page_t* const page = (mi_page_t*)p;
  _mi_page_free_collect(page, true);
  mi_heap_area_t area;
  _mi_heap_area_init(&area, page);
  if (!mi_page_has_interior_pointers(page)) return _mi_theap_area_visit_blocks(&area, page, visitor, arg);
#if MI_PROFILE || MI_GUARDED
  /* All are looked at before one is visited. */
  if (!_mi_theap_area_visit_blocks(&area, page, &is_known, NULL)) return false;
  to_visit_t visit = {visitor, arg};
  return _mi_theap_area_visit_blocks(&area, page, &visit_handed_out, &visit);
#else
  /* Aligned blocks, which have no tag in this build. */
  return false;
#endif
}

#else

void mimalloc_runtime_untag(mi_heap_t* heap) {
  heap->tag = 0;
  for (size_t bin = 0; bin <= MI_BIN_FULL; bin++) {
    for (mi_page_t* page = heap->pages[bin].first; page != NULL; page = page->next) { page->heap_tag = 0; }
  }
}

bool mimalloc_runtime_walk_is_possible(mi_heap_t* heap, mimalloc_runtime_local_t* local, void* block) {
  if (!mi_heap_contains_block(heap, block) || local != heap || !is_laid_out(heap->pages)) return false;
  mi_page_t* const page = _mi_ptr_page(block);
  return mi_page_heap(page) == heap && is_read_right(page) && is_queued(heap->pages, page);
}

size_t mimalloc_runtime_walk_pages(mi_heap_t* heap, mimalloc_runtime_local_t* local, size_t* place, size_t* looks,
                                   size_t* found, size_t most) {
  (void)local;
  (void)looks;
  const size_t count = put_queues(heap->pages, place, found, 0, most);
  if (count < most) {
    place[ARENA] = NO_MORE;
  } else {
    place[ABOVE] = found[(count - 1) * FOUND + ABOVE];
  }
  return count;
}

bool mimalloc_runtime_walk_page(void* p, mi_block_visit_fun* visitor, void* arg) {
  mi_page_t* const page = (mi_page_t*)p;
  if (mi_page_has_aligned(page)) return false;
  _mi_page_free_collect(page, true);
  mi_heap_area_t area;
  _mi_heap_area_init(&area, page);
  return _mi_heap_area_visit_blocks(&area, page, visitor, arg);
}

#endif
