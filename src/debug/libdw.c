/* libdw.c — unwinding, names and lines by elfutils' libdw. See libdw.h.

   The list of loaded images (Dwfl) is made anew when the dynamic linker's counters say that it changed. A dump of many
   goroutines asks for the same few pcs again and again, so each is looked up once.

   Rejected: reading /proc/self/maps for the images, which is long when stacks have guards; libdw's own search for debug
   files, which may ask servers. */
#ifdef WEFT_HAVE_LIBDW
#define _GNU_SOURCE
#include "arch/sanitizer.h"
#include "debug/libdw.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* clang-format off */
#define LIBDW_FUNCTIONS(X)                                                                                                  \
    X(dwfl_begin) X(dwfl_end) X(dwfl_report_begin) X(dwfl_report_module) X(dwfl_module_report_build_id)                     \
    X(dwfl_report_end) X(dwfl_attach_state) X(dwfl_getthread_frames) X(dwfl_frame_pc) X(dwfl_thread_state_registers)        \
    X(dwfl_thread_state_register_pc) X(dwfl_addrmodule) X(dwfl_module_info) X(dwfl_module_addrinfo)                         \
    X(dwfl_module_addrdie) X(dwfl_module_nextcu) X(dwfl_build_id_find_debuginfo) X(dwarf_haspc) X(dwarf_getsrc_die)         \
    X(dwarf_linesrc) X(dwarf_lineno) X(dwarf_getscopes) X(dwarf_getscopes_die) X(dwarf_tag) X(dwarf_diename)                \
    X(dwarf_attr) X(dwarf_formudata) X(dwarf_formstring) X(dwarf_getsrcfiles) X(dwarf_filesrc)
/* clang-format on */

static struct {
#define MEMBER(name) __typeof__(name) *(name);
    LIBDW_FUNCTIONS(MEMBER)
#undef MEMBER
} dw; /* [lock] */

static enum { LIBDW_UNTRIED, LIBDW_ABSENT, LIBDW_LOADED } libdw; /* [lock] */
static Dwfl *images;                                             /* [lock] NULL: to be made */
static unsigned long long images_adds, images_subs;              /* [lock] the linker's counters when it was made */
static struct wi_unwind_request *current;                        /* [lock] for the callbacks */
static char program[PATH_MAX];                                   /* [lock] the main image's file */

/* What is known of a pc: its lines, one per inlined function and one for the function itself. */
static struct place {
    uintptr_t pc;
    char *text;              /* NULL: a free slot */
} places[4096];              /* [lock] an open hash table */
static unsigned places_used; /* [lock] */

static void load_libdw(void)
{
    libdw = LIBDW_ABSENT;
    void *library = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    bool complete = true;
    void *symbol;
#define LOAD(name) symbol = dlsym(library, #name), memcpy(&dw.name, &symbol, sizeof symbol), complete &= symbol != NULL;
    LIBDW_FUNCTIONS(LOAD)
#undef LOAD
    if (complete)
        libdw = LIBDW_LOADED; /* and it stays: its code may be on somebody's stack */
}

static void forget_places(void)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        free(places[i].text);
        places[i] = (struct place){0};
    }
    places_used = 0;
}

/* An image is opened when a pc lies in it, the first at once. */
static int open_image(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file, Elf **elf)
{
    (void)module, (void)data, (void)base, (void)elf;
    int fd = open(strcmp(name, program) == 0 ? "/proc/self/exe" : name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        *file = strdup(name);
    return fd;
}

/* Separate debug files are found by build id, on this machine only. */
static int open_debug_file(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file,
                           const char *link, GElf_Word crc, char **found)
{
    return dw.dwfl_build_id_find_debuginfo(module, data, name, base, file, link, crc, found);
}

/* Tells libdw the build id in memory: a file that was replaced since is then not used. */
static void report_build_id(Dwfl_Module *module, uintptr_t note, size_t size, size_t align)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *header = (const ElfW(Nhdr) *)note;
        size_t name = (sizeof *header + header->n_namesz + align - 1) & -align;
        size_t total = (name + header->n_descsz + align - 1) & -align;
        if (name > size || header->n_descsz > size - name)
            return;
        if (header->n_type == NT_GNU_BUILD_ID && header->n_namesz == 4 && memcmp(header + 1, "GNU", 4) == 0) {
            dw.dwfl_module_report_build_id(module, (const unsigned char *)(note + name), header->n_descsz, note + name);
            return;
        }
        if (total >= size)
            return;
        note += total;
        size -= total;
    }
}

static int report_image(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    bool *first = argument;
    const char *name = *first ? program : info->dlpi_name;
    *first = false;
    images_adds = info->dlpi_adds;
    images_subs = info->dlpi_subs;
    uintptr_t start = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD)
            continue;
        if (start == UINTPTR_MAX)
            start = info->dlpi_addr + (segment->p_vaddr & -segment->p_align);
        end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;
    }
    Dwfl_Module *module = start < end && *name ? dw.dwfl_report_module(images, name, start, end) : NULL;
    for (int i = 0; module && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE)
            report_build_id(module, info->dlpi_addr + segment->p_vaddr, segment->p_memsz, segment->p_align == 8 ? 8 : 4);
    }
    return 0;
}

static int compare_counters(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    *(bool *)argument = info->dlpi_adds == images_adds && info->dlpi_subs == images_subs;
    return 1;
}

/* The callbacks of unwinding: there is one thread, and it is the current request. */

static pid_t only_thread(Dwfl *dwfl, void *argument, void **thread)
{
    (void)dwfl, (void)argument;
    bool again = *thread != NULL;
    *thread = &current;
    return again ? 0 : 1;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *argument, void **thread)
{
    (void)dwfl, (void)tid, (void)argument;
    *thread = &current;
    return true;
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *argument)
{
    (void)dwfl, (void)argument;
    uintptr_t value;
    if (!wi_unwind_read(current, address, &value))
        return false;
    *result = value;
    return true;
}

static bool set_registers(Dwfl_Thread *thread, void *argument)
{
    (void)argument;
    const struct wi_registers *registers = current->registers;
    uint32_t known = registers->known | UINT32_C(1) << WI_UNWIND_FP | UINT32_C(1) << WI_UNWIND_SP;
    for (int i = 0; i < WI_UNWIND_REGISTERS; i++) {
        Dwarf_Word value = i == WI_UNWIND_FP ? registers->fp : i == WI_UNWIND_SP ? registers->sp : registers->general[i];
        if ((known >> i & 1) && !dw.dwfl_thread_state_registers(thread, i, 1, &value))
            return false;
    }
    dw.dwfl_thread_state_register_pc(thread, registers->pc);
    return true;
}

static int take_frame(Dwfl_Frame *frame, void *argument)
{
    (void)argument;
    Dwarf_Addr pc;
    bool executing;
    if (current->n >= current->max || !dw.dwfl_frame_pc(frame, &pc, &executing))
        return DWARF_CB_ABORT;
    current->pcs[current->n++] = executing ? pc : pc - 1;
    return DWARF_CB_OK;
}

static bool make_images(void)
{
    static const Dwfl_Callbacks files = {.find_elf = open_image, .find_debuginfo = open_debug_file};
    static const Dwfl_Thread_Callbacks threads = {
        .next_thread = only_thread,
        .get_thread = get_thread,
        .memory_read = read_word,
        .set_initial_registers = set_registers,
    };
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    images = dw.dwfl_begin(&files);
    if (!images)
        return false;
    bool first = true;
    dw.dwfl_report_begin(images);
    dl_iterate_phdr(report_image, &first);
    if (dw.dwfl_report_end(images, NULL, NULL) == 0 && dw.dwfl_attach_state(images, NULL, getpid(), &threads, NULL))
        return true;
    dw.dwfl_end(images);
    images = NULL;
    return false;
}

/* Loads libdw and its list of images, or brings that up to date. */
static bool prepare(void)
{
    if (libdw == LIBDW_UNTRIED)
        load_libdw();
    if (libdw != LIBDW_LOADED)
        return false;
    bool current_images = false;
    if (images)
        dl_iterate_phdr(compare_counters, &current_images);
    if (current_images)
        return true;
    forget_places();
    if (images)
        dw.dwfl_end(images);
    return make_images();
}

/* ---- a stack of its own ---- */

#define STACK_SIZE ((size_t)1 << 20)
#define STACK_GUARD ((size_t)1 << 16)

static struct {
    char *low; /* NULL: not mapped yet */
    void *sp, *caller_sp;
    struct wi_sanitizer_side side, caller;
    bool (*work)(void *argument);
    void *argument;
    bool result;
} stack; /* [lock] */

static void run_on_stack(void *unused)
{
    (void)unused;
    wi_sanitizer_after_switch(&stack.side, &stack.caller);
    stack.result = prepare() && stack.work(stack.argument);
    wi_sanitizer_before_switch(&stack.side, &stack.caller, true);
    wi_switch(&stack.sp, stack.caller_sp);
    abort();
}

bool wi_libdw_run(bool (*work)(void *argument), void *argument)
{
    if (libdw == LIBDW_ABSENT)
        return false;
    if (!stack.low) {
        char *low = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (low == MAP_FAILED)
            return false;
        mprotect(low, STACK_GUARD, PROT_NONE); /* refused: an overflow would be worse, but there is none */
        stack.low = low;
        wi_sanitizer_stack_first_use(&stack.side, low, low + STACK_SIZE);
    }
    stack.work = work;
    stack.argument = argument;
    stack.caller = (struct wi_sanitizer_side){0};
    stack.sp = wi_context_make(stack.low + STACK_SIZE, run_on_stack, NULL);
    wi_sanitizer_stack_reuse(&stack.side);
    wi_sanitizer_before_switch(&stack.caller, &stack.side, false);
    wi_switch(&stack.caller_sp, stack.sp);
    wi_sanitizer_after_switch(&stack.caller, &stack.side);
    return stack.result;
}

void wi_libdw_unwind(struct wi_unwind_request *request)
{
    current = request;
    dw.dwfl_getthread_frames(images, 1, take_frame, NULL); /* the frames before an error count */
    current = NULL;
}

/* ---- names and lines ---- */

static void add_line(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(char **text, const char *format, ...)
{
    va_list arguments;
    char *line;
    va_start(arguments, format);
    int length = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    size_t used = *text ? strlen(*text) : 0;
    char *longer = realloc(*text, used + (size_t)length + 1);
    if (longer) {
        memcpy(longer + used, line, (size_t)length + 1);
        *text = longer;
    }
    free(line);
}

/* The compilation unit of an address: by .debug_aranges, which clang does not write, else by asking each unit. */
static Dwarf_Die *find_unit(Dwfl_Module *module, Dwarf_Addr pc, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dw.dwfl_module_addrdie(module, pc, bias);
    if (unit)
        return unit;
    while ((unit = dw.dwfl_module_nextcu(module, unit, bias)) && dw.dwarf_haspc(unit, pc - *bias) <= 0)
        ;
    return unit;
}

/* The path as the compiler was given it. */
static const char *source_path(Dwarf_Die *unit, const char *path)
{
    Dwarf_Attribute attribute;
    const char *directory = dw.dwarf_attr(unit, DW_AT_comp_dir, &attribute) ? dw.dwarf_formstring(&attribute) : NULL;
    size_t length = directory ? strlen(directory) : 0;
    if (length && path && strncmp(path, directory, length) == 0 && path[length] == '/')
        path += length + 1;
    return path ? path : "?";
}

static unsigned long call_attribute(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    if (dw.dwarf_attr(die, name, &attribute))
        dw.dwarf_formudata(&attribute, &value);
    return value;
}

/* Adds a line for each function that was inlined around the pc, and one for the function that it is part of. */
static void describe_scopes(char **text, Dwarf_Die *unit, Dwarf_Addr address, const char *symbol)
{
    Dwarf_Line *line = dw.dwarf_getsrc_die(unit, address);
    int number = 0;
    if (!line || dw.dwarf_lineno(line, &number) != 0)
        return;
    const char *file = source_path(unit, dw.dwarf_linesrc(line, NULL, NULL));
    Dwarf_Die *innermost = NULL, *scopes = NULL;
    Dwarf_Files *files = NULL;
    int n = dw.dwarf_getscopes(unit, address, &innermost) > 0 ? dw.dwarf_getscopes_die(&innermost[0], &scopes) : 0;
    dw.dwarf_getsrcfiles(unit, &files, NULL);
    for (int i = 0; i < n; i++) {
        int tag = dw.dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
            continue;
        const char *name = dw.dwarf_diename(&scopes[i]);
        add_line(text, "%s at %s:%d\n", name ? name : symbol ? symbol : "?", file, number);
        symbol = NULL;
        if (tag == DW_TAG_subprogram)
            break;
        const char *caller = files ? dw.dwarf_filesrc(files, call_attribute(&scopes[i], DW_AT_call_file), NULL, NULL) : NULL;
        file = source_path(unit, caller);
        number = (int)call_attribute(&scopes[i], DW_AT_call_line);
    }
    if (!*text && symbol)
        add_line(text, "%s at %s:%d\n", symbol, file, number);
    free(scopes);
    free(innermost);
}

static char *describe(uintptr_t pc)
{
    char *text = NULL;
    Dwfl_Module *module = dw.dwfl_addrmodule(images, pc);
    if (module) {
        GElf_Off offset = 0;
        GElf_Sym symbol;
        Dwarf_Addr bias;
        const char *name = dw.dwfl_module_addrinfo(module, pc, &offset, &symbol, NULL, NULL, NULL);
        if (name && symbol.st_size != 0 && offset >= symbol.st_size)
            name = NULL; /* only the nearest one */
        Dwarf_Die *unit = find_unit(module, pc, &bias);
        if (unit)
            describe_scopes(&text, unit, pc - bias, name);
        if (!text && name)
            add_line(&text, "%s+%#lx (%s)\n", name, (unsigned long)offset,
                     wi_unwind_file_name(dw.dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL)));
    }
    if (!text) {
        char line[512];
        wi_unwind_describe_plain(pc, line, sizeof line);
        text = strdup(line);
    }
    return text;
}

const char *wi_libdw_lines(uintptr_t pc)
{
    size_t mask = sizeof places / sizeof *places - 1, i = (pc * UINT64_C(0x9e3779b97f4a7c15)) >> 40 & mask;
    while (places[i].text && places[i].pc != pc)
        i = (i + 1) & mask;
    if (!places[i].text) {
        places[i] = (struct place){pc, describe(pc)};
        places_used += places[i].text != NULL;
    }
    return places[i].text;
}

void wi_libdw_trim(int wanted)
{
    if (places_used + (unsigned)wanted > sizeof places / sizeof *places / 4 * 3)
        forget_places();
}

void wi_libdw_abandon(void)
{
    images = NULL; /* not freed: another thread was changing it, on the stack */
    memset(places, 0, sizeof places);
    memset(&stack, 0, sizeof stack);
    places_used = 0;
    if (libdw == LIBDW_ABSENT)
        libdw = LIBDW_UNTRIED;
}
#endif
