/* weft/macros.h — the argument machinery behind weft_go and friends. Nothing here is meant to be called by hand;
   names that end in an underscore are exported only for the macros. */
#ifndef WEFT_MACROS_H
#define WEFT_MACROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In every header of weft: __VA_OPT__ and statement expressions are extensions that -Wpedantic need not report. What a
   program passes to a macro keeps its warnings. Macros whose last parameter may be absent are plain (...), because clang
   reports an absent one where the macro is used. */
#pragma GCC system_header

#ifdef __cplusplus
#define WEFT_BEGIN_DECLS_ extern "C" {
#define WEFT_END_DECLS_ }
#else
#define WEFT_BEGIN_DECLS_
#define WEFT_END_DECLS_
#endif

#define WEFT_API __attribute__((visibility("default")))
#define WEFT_NORETURN_ __attribute__((noreturn))

#define WEFT_CAT_(a, b) WEFT_CAT2_(a, b)
#define WEFT_CAT2_(a, b) a##b

WEFT_BEGIN_DECLS_

/* A goroutine's function behind the untyped core: up to six integer or pointer arguments, one machine word each. */
typedef void (*weft_fn_)(void);

/* One static record per weft_go in the source; every report names it. */
typedef struct weft_site {
    const char *file;     /* __FILE__ */
    const char *function; /* the text of the function expression */
    unsigned line;
    unsigned arguments; /* how many words are valid */
} weft_site;

/* What a block has to undo at its end: the scoped calls declare one, with a cleanup attribute. When the goroutine exits or
   panics, the runtime undoes it, whatever flags the program was compiled with; never twice. */
typedef struct weft_scope_ {
    struct weft_scope_ *next, **link;
    void (*undo)(struct weft_scope_ *scope);
    void *object;
} weft_scope_;
WEFT_API void weft_scope_leave_(weft_scope_ *scope);

WEFT_END_DECLS_

#ifndef __cplusplus

/* clang-format takes _Generic, _Pragma and statement expressions in macros apart. */
/* clang-format off */

/* ---- strictness ----
   Between these two, what C compilers only warn about is an error: a pointer of another type, a dropped const, a pointer
   for an integer or the reverse, and an array index that is initialised twice. */
#ifdef __clang__
#define WEFT_STRICT_                                                                                                        \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic error \"-Wincompatible-pointer-types\"")                         \
    _Pragma("GCC diagnostic error \"-Wint-conversion\"") _Pragma("GCC diagnostic error \"-Winitializer-overrides\"")        \
    _Pragma("GCC diagnostic ignored \"-Wunevaluated-expression\"")
#else
#define WEFT_STRICT_                                                                                                        \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic error \"-Wincompatible-pointer-types\"")                         \
    _Pragma("GCC diagnostic error \"-Wint-conversion\"") _Pragma("GCC diagnostic error \"-Wdiscarded-qualifiers\"")         \
    _Pragma("GCC diagnostic error \"-Woverride-init\"") _Pragma("GCC diagnostic error \"-Woverride-init-side-effects\"")
#endif
#define WEFT_RELAX_ _Pragma("GCC diagnostic pop")

/* ---- the type check of a call ----
   Each argument becomes one machine word. Two calls that never run check it: the second has the diagnostics of an ordinary
   call, and strict ones; the first passes null pointers, which convert to every integer and pointer parameter and to no
   float, double or struct, so those are refused. Parameters narrower than int are refused up to C17, because their
   extension is the caller's business. Limits: an __int128 parameter and, from C23 on, a narrow one cannot be detected; gcc
   refuses an enum parameter (take int). */
#define WEFT_NULL_ ((void *)0)
#define WEFT_WORD_(a)                                                                                                       \
    ((uintptr_t)(a) + 0 * sizeof(char[_Generic((a), float: -1, double: -1, long double: -1, float _Complex: -1,             \
                                                   double _Complex: -1, long double _Complex: -1, __int128: -1,             \
                                                   unsigned __int128: -1, default: 1)]))

/* Turns fn and its 0 to 6 arguments into: fn, their number, (the arguments), (as many null pointers), (their words). */
#define WEFT_ARGS_(...) WEFT_CAT_(WEFT_ARGS, WEFT_COUNT_(__VA_ARGS__, 6, 5, 4, 3, 2, 1, 0, ))(__VA_ARGS__)
#define WEFT_COUNT_(fn, a, b, c, d, e, f, n, ...) n
#define WEFT_ARGS0(fn) fn, 0, (), (), ()
#define WEFT_ARGS1(fn, a) fn, 1, (a), (WEFT_NULL_), (WEFT_WORD_(a))
#define WEFT_ARGS2(fn, a, b) fn, 2, (a, b), (WEFT_NULL_, WEFT_NULL_), (WEFT_WORD_(a), WEFT_WORD_(b))
#define WEFT_ARGS3(fn, a, b, c)                                                                                             \
    fn, 3, (a, b, c), (WEFT_NULL_, WEFT_NULL_, WEFT_NULL_), (WEFT_WORD_(a), WEFT_WORD_(b), WEFT_WORD_(c))
#define WEFT_ARGS4(fn, a, b, c, d)                                                                                          \
    fn, 4, (a, b, c, d), (WEFT_NULL_, WEFT_NULL_, WEFT_NULL_, WEFT_NULL_),                                                  \
        (WEFT_WORD_(a), WEFT_WORD_(b), WEFT_WORD_(c), WEFT_WORD_(d))
#define WEFT_ARGS5(fn, a, b, c, d, e)                                                                                       \
    fn, 5, (a, b, c, d, e), (WEFT_NULL_, WEFT_NULL_, WEFT_NULL_, WEFT_NULL_, WEFT_NULL_),                                   \
        (WEFT_WORD_(a), WEFT_WORD_(b), WEFT_WORD_(c), WEFT_WORD_(d), WEFT_WORD_(e))
#define WEFT_ARGS6(fn, a, b, c, d, e, f)                                                                                    \
    fn, 6, (a, b, c, d, e, f), (WEFT_NULL_, WEFT_NULL_, WEFT_NULL_, WEFT_NULL_, WEFT_NULL_, WEFT_NULL_),                    \
        (WEFT_WORD_(a), WEFT_WORD_(b), WEFT_WORD_(c), WEFT_WORD_(d), WEFT_WORD_(e), WEFT_WORD_(f))

#if __STDC_VERSION__ < 202311L /* a prototype with a narrow parameter is not compatible with () */
#define WEFT_NO_NARROW_(fn, args)                                                                                           \
    _Static_assert(!__builtin_types_compatible_p(void(int), void()) || /* () already means (void) */                        \
                       __builtin_types_compatible_p(__typeof__(*(fn)), __typeof__((fn)args)()),                             \
                   #fn " has a parameter narrower than int, or is variadic");
#else
#define WEFT_NO_NARROW_(fn, args)
#endif
/* What fn may return: exactly this type; or, of any, nothing, an integer or a pointer. */
#define WEFT_RETURNS_(result, fn, args)                                                                                     \
    _Static_assert(__builtin_types_compatible_p(__typeof__((fn)args), result), #fn " must return " #result);
#define WEFT_RETURNS_WORD_(result, fn, args)                                                                                \
    _Static_assert(__builtin_classify_type(__builtin_choose_expr(                                                           \
                       __builtin_types_compatible_p(__typeof__((fn)args), void), 0, (fn)args)) <= 5 &&                      \
                       (__builtin_types_compatible_p(__typeof__((fn)args), void) || sizeof((fn)args) <= 8),                 \
                   #fn " must return nothing, an integer or a pointer");
#define WEFT_CHECK_(fn, args, nulls)                                                                                \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                                   \
    _Pragma("GCC diagnostic ignored \"-Wnonnull\"") _Pragma("GCC diagnostic ignored \"-Wstrict-prototypes\"")               \
    if (0) (void)(fn)nulls;                                                                                                 \
    WEFT_NO_NARROW_(fn, args)                                                                                               \
    WEFT_RELAX_ WEFT_STRICT_                                                                                                \
    if (0) (void)(fn)args;                                                                                                  \
    WEFT_RELAX_

/* Checks that fn(...) is a call that gives result, then evaluates to what entry returns: entry(target, &site, fn, words). */
#define WEFT_CALL_(entry, result, target, ...) WEFT_CALL2_(entry, WEFT_RETURNS_, result, target, WEFT_ARGS_(__VA_ARGS__))
#define WEFT_CALL_ANY_(entry, target, ...) WEFT_CALL2_(entry, WEFT_RETURNS_WORD_, , target, WEFT_ARGS_(__VA_ARGS__))
#define WEFT_CALL2_(...) WEFT_CALL3_(__VA_ARGS__)
#define WEFT_CALL3_(entry, returns, result, target, fn, count, args, nulls, words)                                          \
    __extension__({                                                                                                         \
        WEFT_CHECK_(fn, args, nulls)                                                                                        \
        returns(result, fn, args)                                                                                           \
        WEFT_STRICT_                                                                                                        \
        if (0) (void)entry((target), NULL, NULL, NULL);                                                                     \
        WEFT_RELAX_                                                                                                         \
        static const weft_site weft_site_ = {__FILE__, #fn, __LINE__, count};                                               \
        entry((target), &weft_site_, (weft_fn_)(fn), (uintptr_t[7])WEFT_BRACES_ words);                                     \
    })
#define WEFT_BRACES_(...) {__VA_ARGS__}

/* clang-format on */

#endif /* !__cplusplus */
#endif
