/* A walk over the pages of a heap that can be left and taken up again, which the engine has not: src/sys/walk.rs says what each
   function does.

   It reads the engine's own structures, of which the layout depends on how the engine is built. So it is compiled with the
   engine's internal headers and the settings that build/main.rs knows of, and mimalloc_runtime_walk_is_possible() compares
   what it reads with what functions of the engine say, which have been compiled with the library.

   The order of a walk is that of addresses, more or less: a place stays behind what it has passed, whatever is allocated and
   freed. A page never moves. So a block that is in use from the walk's beginning to its end is in a page that is passed once. */

#include "heap_walk.h"

#include <stdint.h>

#if MI_MALLOC_VERSION >= 30000

#include "mimalloc/alloc/page.h"
#include "mimalloc/heap/theap.h"
#include "mimalloc/heap/page-map.h"
#include "mimalloc/heap/init.h"
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

bool mimalloc_runtime_walk_is_possible(mi_heap_t* heap, mimalloc_runtime_local_t* local, void* block) {
  if (!is_laid_out(local->pages)) return false;
  mi_page_t* const page = _mi_safe_ptr_page(block);
  if (page == NULL || mi_heap_of(block) != heap || page->heap != heap || page->theap != local) return false;
  if (!is_read_right(page) || !is_queued(local->pages, page)) return false;
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
  if (mi_page_has_interior_pointers(page)) return false;
  _mi_page_free_collect(page, true);
  mi_heap_area_t area;
  _mi_heap_area_init(&area, page);
  return _mi_theap_area_visit_blocks(&area, page, visitor, arg);
}

#else

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
