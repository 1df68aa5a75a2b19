/* count.c — a plugin for qemu-user (qemu-x86_64 -plugin count.so PROGRAM...) that counts what a program does that
   costs much and that hardware counters often cannot show in virtual machines:

     locked      locked instructions: with a lock prefix, and exchanges with memory
     syscalls
     transfers   cache lines that a thread read or wrote while another thread had them: the reader gets a copy,
                 the writer takes it from all others. Caches are thought to be endless, and each thread on a core of
                 its own: it counts what is shared, not what was evicted

   Threads run in parallel under qemu-user, if slowly, so they meet each other, though not as often as on the bare
   machine. The prototypes are those of version 1 of the interface (QEMU 4.2 and later), which Debian has no header of. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- QEMU's ---- */

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { CB_NO_REGS = 0, MEM_RW = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id,
                                          void (*callback)(plugin_id id, unsigned vcpu, int64_t number, uint64_t a1,
                                                           uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
                                                           uint64_t a7, uint64_t a8));
void qemu_plugin_register_atexit_cb(plugin_id id, void (*callback)(plugin_id id, void *user), void *user);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*callback)(unsigned vcpu, void *user),
                                            int flags, void *user);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
                                      void (*callback)(unsigned vcpu, uint32_t info, uint64_t address, void *user),
                                      int flags, int rw, void *user);
bool qemu_plugin_mem_is_store(uint32_t info);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);
EXPORT extern const int qemu_plugin_version;
const int qemu_plugin_version = 1;

/* ---- counting ---- */

static _Atomic uint64_t locked, syscalls, transfers;

/* Who has a cache line. A place of the table holds one line; another one that wants it takes it. */
struct line {
    _Atomic uint64_t number; /* of the line, plus 1; guards the other field: BUSY while somebody looks */
    uint64_t holders;        /* a bit for each thread, modulo 64 */
};

enum { PLACES = 1 << 22 };
static const uint64_t BUSY = UINT64_MAX;
static struct line lines[PLACES];

static void access(unsigned vcpu, uint32_t info, uint64_t address, void *user)
{
    (void)user;
    uint64_t number = address / 64 + 1, was, me = UINT64_C(1) << vcpu % 64;
    struct line *line = &lines[number % PLACES];
    do /* acquire and release: the holders are whoever has made the number BUSY's */
        was = atomic_exchange_explicit(&line->number, BUSY, memory_order_acquire);
    while (was == BUSY);
    uint64_t holders = was == number ? line->holders : 0;
    bool store = qemu_plugin_mem_is_store(info);
    if ((holders & ~me) != 0 && (store || (holders & me) == 0))
        atomic_fetch_add_explicit(&transfers, 1, memory_order_relaxed);
    line->holders = store ? me : holders | me;
    atomic_store_explicit(&line->number, number, memory_order_release);
}

static void count_locked(unsigned vcpu, void *user)
{
    (void)vcpu;
    (void)user;
    atomic_fetch_add_explicit(&locked, 1, memory_order_relaxed);
}

static void count_syscall(plugin_id id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                          uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)vcpu, (void)number, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    atomic_fetch_add_explicit(&syscalls, 1, memory_order_relaxed);
}

static bool is_locked(const uint8_t *code, size_t size)
{
    size_t i = 0;
    for (; i < size; i++) { /* legacy prefixes, then REX */
        if (code[i] == 0xf0)
            return true;
        if (code[i] != 0x66 && code[i] != 0x67 && code[i] != 0xf2 && code[i] != 0xf3 && code[i] != 0x64 && code[i] != 0x65 &&
            code[i] != 0x2e && code[i] != 0x3e && code[i] >> 4 != 4)
            break;
    }
    return i + 1 < size && (code[i] == 0x86 || code[i] == 0x87) && code[i + 1] >> 6 != 3; /* xchg with memory */
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t n = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        if (is_locked(qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn)))
            qemu_plugin_register_vcpu_insn_exec_cb(insn, count_locked, CB_NO_REGS, NULL);
        qemu_plugin_register_vcpu_mem_cb(insn, access, CB_NO_REGS, MEM_RW, NULL);
    }
}

static void at_exit(plugin_id id, void *user)
{
    (void)id;
    (void)user;
    fprintf(stderr, "counted %" PRIu64 " locked %" PRIu64 " syscalls %" PRIu64 " transfers\n", locked, syscalls, transfers);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, count_syscall);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
