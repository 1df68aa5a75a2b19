/* switch.h — the switch between stacks on x86-64, System V ABI, inlined into its few callers. Contract: ../context.h.

   Inlined, because a call would push a return address that no return ever pops: on the other side every return of the way
   out would then be predicted one frame off, some 5 ns each. And so that the compiler, which is told that all registers
   change, saves just those that are alive.
   Of MXCSR only the control bits belong to a context; the sticky exception flags differ all the time and are not compared.
   Writing MXCSR or the x87 control word costs more than the rest of the switch together and hardly ever changes anything, so
   each is loaded only when it differs from the one just saved.
   A compiler may keep a static variable whose address nobody takes in a register across it: it cannot know that the assembly
   runs other code of the same file. Files that switch keep no such variables.
   What is stored lies right below the caller's frame, to be fetched with it: whoever includes this is compiled with
   -mno-red-zone. Unwinding through a caller goes by its frame pointer, so what is stored here needs no unwind rules. */
#ifndef WI_SWITCH_H
#define WI_SWITCH_H

static inline __attribute__((always_inline)) void wi_switch(void **save, void *load)
{
    __asm__ volatile("subq $24, %%rsp\n\t"
                     "fnstcw 4(%%rsp)\n\t" /* first: the comparison below waits for it */
                     "stmxcsr (%%rsp)\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rbp, 8(%%rsp)\n\t"
                     "movq %%rax, 16(%%rsp)\n\t"
                     "movzwl 4(%%rsp), %%ecx\n\t"
                     "movl (%%rsp), %%eax\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq %%rsi, %%rsp\n\t"
                     "cmpw 4(%%rsp), %%cx\n\t"
                     "jne 3f\n"
                     "2:\txorl (%%rsp), %%eax\n\t"
                     "testl $0xffc0, %%eax\n\t"
                     "jne 4f\n"
                     "5:\tmovq 16(%%rsp), %%rdx\n\t"
                     "movq 8(%%rsp), %%rbp\n\t"
                     "addq $24, %%rsp\n\t"
                     "jmpq *%%rdx\n"
                     "3:\tfldcw 4(%%rsp)\n\t"
                     "jmp 2b\n"
                     "4:\tldmxcsr (%%rsp)\n\t"
                     "jmp 5b\n"
                     "1:"
                     : "+D"(save), "+S"(load)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1",
                       "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                       "xmm14", "xmm15", "cc", "memory");
}

#endif
