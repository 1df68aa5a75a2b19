/* unwind.c — see unwind.h. The stacks themselves, and how they are printed; libdw.c has what elfutils does.

   One lock guards everything of libdw. The thread that holds it may crash inside libdw and ask again from its signal
   handler: it is then served without libdw.

   Rejected: libunwind and libbacktrace, which unwind only the running thread or would have to be shipped along. */
#define _GNU_SOURCE
#include "debug/libdw.h"

#include "os/lock.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static struct wi_lock lock;
static _Atomic pid_t lock_owner; /* [lock; anyone asks whether it is itself] the thread that holds the lock, or 0 */
static _Atomic bool plain_forced;

/* ---- registers ---- */

static void set_register(struct wi_registers *registers, int number, uintptr_t value)
{
    registers->general[number] = value;
    registers->known |= UINT32_C(1) << number;
}

void wi_registers_of_suspended(struct wi_registers *registers, const struct wi_saved *saved, uintptr_t sp)
{
    *registers = (struct wi_registers){.sp = sp + sizeof *saved};
#if defined(__x86_64__)
    registers->pc = saved->rip - 1;
    registers->fp = saved->rbp;
#else
    registers->pc = saved->x30 - 1;
    registers->fp = saved->x29;
    const uint64_t high[] = {saved->x19, saved->x20, saved->x21, saved->x22, saved->x23,
                             saved->x24, saved->x25, saved->x26, saved->x27, saved->x28};
    for (int i = 0; i < 10; i++)
        set_register(registers, 19 + i, high[i]);
    set_register(registers, 30, saved->x30);
#endif
}

void wi_registers_of_signal(struct wi_registers *registers, const void *ucontext)
{
    const mcontext_t *machine = &((const ucontext_t *)ucontext)->uc_mcontext;
    *registers = (struct wi_registers){0};
#if defined(__x86_64__)
    static const unsigned char by_dwarf_number[WI_UNWIND_REGISTERS] = {
        REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    };
    for (int i = 0; i < WI_UNWIND_REGISTERS; i++)
        set_register(registers, i, (uintptr_t)machine->gregs[by_dwarf_number[i]]);
    registers->pc = (uintptr_t)machine->gregs[REG_RIP];
    registers->sp = (uintptr_t)machine->gregs[REG_RSP];
#else
    for (int i = 0; i < 31; i++)
        set_register(registers, i, machine->regs[i]);
    registers->pc = machine->pc;
    registers->sp = machine->sp;
#endif
    registers->fp = registers->general[WI_UNWIND_FP];
}

/* ---- memory ---- */

struct __attribute__((packed)) unaligned_word {
    uintptr_t value;
};

/* Reads what sanitizers may know as redzones, or as being written. */
__attribute__((no_sanitize("address"), no_sanitize("thread"), noinline)) static uintptr_t load(uintptr_t address)
{
    return ((const volatile struct unaligned_word *)address)->value;
}

/* Asks the kernel: it reads the new signal mask before it refuses the unknown first argument. */
static bool readable(uintptr_t address)
{
    int saved_errno = errno;
    bool fault = syscall(SYS_rt_sigprocmask, -1, address, NULL, sizeof(uint64_t)) < 0 && errno == EFAULT;
    errno = saved_errno;
    return !fault;
}

static int find_in_image(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    uintptr_t address = *(const uintptr_t *)argument;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_R) && address >= start &&
            address - start + sizeof(uintptr_t) <= segment->p_memsz)
            return 1;
    }
    return 0;
}

bool wi_unwind_read(const struct wi_unwind_request *request, uintptr_t address, uintptr_t *value)
{
    if (request->copy && address - request->base < request->size) {
        if (request->size - (address - request->base) < sizeof *value)
            return false;
        memcpy(value, request->copy + (address - request->base), sizeof *value);
        return true;
    }
    bool allowed = request->copy ? dl_iterate_phdr(find_in_image, &address) != 0 : address != 0;
    if (!allowed || !readable(address))
        return false;
    *value = load(address);
    return true;
}

/* ---- without libdw ---- */

static void plain_unwind(struct wi_unwind_request *request)
{
    uintptr_t low = request->registers->sp, fp = request->registers->fp;
    if (request->max > 0)
        request->pcs[request->n++] = request->registers->pc;
    while (request->n < request->max) {
        uintptr_t next, pc;
        Dl_info info;
        if (fp < low || fp % sizeof(uintptr_t) != 0 || !wi_unwind_read(request, fp, &next) ||
            !wi_unwind_read(request, fp + sizeof next, &pc) || !dladdr((void *)(pc - 1), &info))
            break;
        request->pcs[request->n++] = pc - 1;
        low = fp + 2 * sizeof next;
        fp = next;
    }
}

const char *wi_unwind_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void wi_unwind_describe_plain(uintptr_t pc, char *text, size_t size)
{
    Dl_info info;
    int length;
    if (!dladdr((void *)pc, &info))
        length = snprintf(text, size, "%#lx\n", (unsigned long)pc);
    else if (info.dli_sname)
        length = snprintf(text, size, "%s+%#lx (%s)\n", info.dli_sname, (unsigned long)(pc - (uintptr_t)info.dli_saddr),
                          wi_unwind_file_name(info.dli_fname));
    else
        length = snprintf(text, size, "%#lx (%s+%#lx)\n", (unsigned long)pc, wi_unwind_file_name(info.dli_fname),
                          (unsigned long)(pc - (uintptr_t)info.dli_fbase));
    if (length >= (int)size)
        text[size - 2] = '\n';
}

/* ---- the lock ---- */

/* Does the work with libdw, unless it cannot be used: the calling thread may be using it already. */
static bool with_libdw(bool (*work)(void *argument), void *argument)
{
    if (wi_load_relaxed(&plain_forced) || wi_load_relaxed(&lock_owner) == wi_os_tid())
        return false;
    wi_lock(&lock);
    wi_store_relaxed(&lock_owner, wi_os_tid());
    bool done = wi_libdw_run(work, argument);
    wi_store_relaxed(&lock_owner, 0);
    wi_unlock(&lock);
    return done;
}

static bool nothing(void *unused)
{
    (void)unused;
    return true;
}

bool wi_unwind_has_libdw(void)
{
    return with_libdw(nothing, NULL);
}

void wi_unwind_force_plain(bool plain)
{
    wi_store_relaxed(&plain_forced, plain);
}

void wi_unwind_forked(void)
{
    if (wi_load_relaxed(&lock.locked) == 0)
        return;
    lock = (struct wi_lock){0};
    wi_store_relaxed(&lock_owner, 0);
    wi_libdw_abandon();
}

/* ---- stacks ---- */

static bool unwind_with_libdw(void *request)
{
    wi_libdw_unwind(request);
    return true;
}

static int unwind(struct wi_unwind_request *request)
{
    with_libdw(unwind_with_libdw, request);
    if (request->n == 0)
        plain_unwind(request);
    return request->n;
}

int wi_unwind_stack(const struct wi_registers *registers, const char *copy, uintptr_t base, size_t size, uintptr_t *pcs,
                    int max)
{
    struct wi_unwind_request request = {registers, copy, base, size, pcs, 0, max};
    return unwind(&request);
}

__attribute__((noinline)) int wi_unwind_here(const struct wi_registers *registers, uintptr_t *pcs, int max)
{
    struct wi_registers own = {0};
    if (!registers) {
        /* Every callee-saved register has the caller's value or the unwind tables say where that is, here and at the pc. */
#if defined(__x86_64__)
        __asm__ volatile("movq %%rbx, %0" : "=m"(own.general[3]));
        __asm__ volatile("movq %%r12, %0" : "=m"(own.general[12]));
        __asm__ volatile("movq %%r13, %0" : "=m"(own.general[13]));
        __asm__ volatile("movq %%r14, %0" : "=m"(own.general[14]));
        __asm__ volatile("movq %%r15, %0" : "=m"(own.general[15]));
        own.known = 0xf008;
        __asm__ volatile("movq %%rsp, %0\n\tmovq %%rbp, %1\n\tleaq (%%rip), %2" : "=m"(own.sp), "=m"(own.fp), "=r"(own.pc));
#else
        __asm__ volatile("stp x19, x20, [%0]\n\tstp x21, x22, [%0, #16]\n\tstp x23, x24, [%0, #32]\n\t"
                         "stp x25, x26, [%0, #48]\n\tstp x27, x28, [%0, #64]"
                         :
                         : "r"(&own.general[19])
                         : "memory");
        own.known = 0x1ff80000;
        uintptr_t sp, fp, pc;
        __asm__ volatile("mov %0, sp\n\tmov %1, x29\n\tadr %2, ." : "=r"(sp), "=r"(fp), "=r"(pc));
        own.sp = sp, own.fp = fp, own.pc = pc;
#endif
        registers = &own;
    }
    struct wi_unwind_request request = {registers, NULL, 0, 0, pcs, 0, max};
    return unwind(&request);
}

/* ---- printing ---- */

/* Which of the lines are weft's own, counted while they go by. */
struct range {
    int lines;   /* seen so far */
    int leading; /* how many wi_ functions come first */
    int public;  /* the first weft_ function, or -1 */
    int last;    /* the last line that is no wi_ function */
    int invoke;  /* behind the last such line before the last wi_invoke, which started the goroutine; or -1 */
};

static bool starts(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

static void count_line(struct range *range, const char *line)
{
    int i = range->lines++;
    bool internal = starts(line, "wi_");
    if (internal && range->leading == i)
        range->leading++;
    if (range->public < 0 && starts(line, "weft_"))
        range->public = i;
    if (starts(line, "wi_invoke ") || starts(line, "wi_invoke+"))
        range->invoke = range->last + 1;
    if (!internal)
        range->last = i;
}

struct printing {
    const uintptr_t *pcs;
    int n;
    const char *indent;
    bool inside, full; /* full: by libdw; the lines are then gathered, so that no lock is held during write */
    int fd, lines, error;
    char *data;
    size_t used, room;
};

static void write_all(struct printing *p, const char *data, size_t length)
{
    while (length > 0 && !p->error) {
        ssize_t n = write(p->fd, data, length);
        if (n > 0)
            data += n, length -= (size_t)n;
        else if (errno != EINTR)
            p->error = -errno;
    }
}

static void put(struct printing *p, const char *data, size_t length)
{
    if (length == 0)
        return;
    if (p->full && p->used + length > p->room) {
        size_t room = 2 * (p->used + length) + 1000;
        char *larger = realloc(p->data, room);
        if (!larger) {
            p->error = -ENOMEM;
            return;
        }
        p->data = larger;
        p->room = room;
    }
    if (p->full) {
        memcpy(p->data + p->used, data, length);
        p->used += length;
    } else {
        write_all(p, data, length);
    }
}

/* The lines of a pc, from libdw or made in scratch. */
static const char *lines_of(uintptr_t pc, bool full, char *scratch, size_t size)
{
    const char *lines = full ? wi_libdw_lines(pc) : NULL;
    if (!lines)
        wi_unwind_describe_plain(pc, scratch, size);
    return lines ? lines : scratch;
}

static void print_lines(struct printing *p)
{
    char scratch[512];
    struct range range = {.public = -1, .invoke = -1, .last = -1};
    for (int i = 0; i < p->n; i++)
        for (const char *line = lines_of(p->pcs[i], p->full, scratch, sizeof scratch); *line; line = strchr(line, '\n') + 1)
            count_line(&range, line);
    int from = !p->inside ? 0 : range.public >= 0 ? range.public : range.leading;
    int to = range.invoke >= 0 ? range.invoke : range.last + 1;
    if (from >= to) { /* nothing but weft: then that is what there is to see */
        from = 0;
        to = range.lines;
    }
    int at = 0;
    for (int i = 0; i < p->n; i++) {
        const char *next, *line = lines_of(p->pcs[i], p->full, scratch, sizeof scratch);
        for (; *line; line = next, at++) {
            next = strchr(line, '\n') + 1;
            if (at >= from && at < to) {
                put(p, p->indent, strlen(p->indent));
                put(p, line, (size_t)(next - line));
            }
        }
    }
    p->lines = to - from;
}

static bool print_with_libdw(void *argument)
{
    struct printing *p = argument;
    p->full = true;
    wi_libdw_trim(p->n);
    print_lines(p);
    return !p->error;
}

int wi_unwind_print(int fd, const uintptr_t *pcs, int n, const char *indent, bool inside)
{
    int saved_errno = errno;
    struct printing p = {.pcs = pcs, .n = n, .indent = indent, .inside = inside, .fd = fd};
    if (with_libdw(print_with_libdw, &p)) {
        write_all(&p, p.data, p.used);
    } else {
        p.full = false;
        p.error = 0;
        print_lines(&p);
    }
    free(p.data);
    errno = saved_errno;
    return p.error ? p.error : p.lines;
}
