/* What src/sys declares, held against the engine's own headers by the compiler. Nothing here is ever called.

   The lines to check are in engine_declarations.h, which build/ writes from the text of src/sys at every build, so that
   there is no second list. They carry the place in src/sys from which they come, and the compiler's message names it: what
   is said there and in the engine's header differs. */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <mimalloc.h>
#include <mimalloc-stats.h>
#if MI_MALLOC_VERSION >= 30000
#include <mimalloc-profile.h>
#endif
#include "heap_walk.h"

/* A function, and a type of function for callbacks. */
#define FUNCTION(name, returns, takes) \
  static_assert(_Generic(&(name), returns (*) takes: 1, default: 0), #name " has another signature")
#define CALLBACK(name, returns, takes) \
  static_assert(_Generic((name*)0, returns (*) takes: 1, default: 0), #name " has another signature")

/* Types: one of which only pointers are used, another name for a type, and one that is passed as an integer. */
#define OPAQUE(name) static_assert(sizeof(name*) == sizeof(void*), #name " is no type")
#define ALIAS(name, type) static_assert(_Generic((name*)0, type*: 1, default: 0), #name " is another type")
#define INTEGER(name, type) static_assert(sizeof(name) == sizeof(type), #name " has another size")

/* A structure: `struct sys_NAME` is made from the fields that src/sys gives. */
#define STRUCTURE(name)                                                              \
  static_assert(sizeof(name) == sizeof(struct sys_##name), #name " has another size"); \
  static_assert(_Alignof(name) == _Alignof(struct sys_##name), #name " has another alignment")
#define FIELD(name, field, pointer)                                                                              \
  static_assert(offsetof(name, field) == offsetof(struct sys_##name, field), #name "." #field " lies elsewhere"); \
  static_assert(_Generic(&((name*)0)->field, pointer: 1, default: 0), #name "." #field " has another type")

#define CONSTANT(name, value) static_assert((name) == (value), #name " has another value")

#include "engine_declarations.h"
