/* bare_switch.S — the least that a switch between stacks can be: push, exchange the stack pointer, pop, jump. No
   floating-point control, no unwind rules: what weft's own switch and scheduler are measured against. */

#if defined(__x86_64__)
        .text
/* void bare_switch(void **save, void *load) */
        .globl  bare_switch
        .type   bare_switch, @function
        .p2align 5
bare_switch:
        pushq   %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        popq    %rdx
        jmpq    *%rdx
        .size   bare_switch, . - bare_switch

/* The first address of a new context: entry in rbx, its argument in r12. */
        .globl  bare_start
        .type   bare_start, @function
        .p2align 4
bare_start:
        movq    %r12, %rdi
        callq   *%rbx
        ud2
        .size   bare_start, . - bare_start

#elif defined(__aarch64__)
        .text
/* void bare_switch(void **save, void *load) */
        .globl  bare_switch
        .type   bare_switch, %function
        .p2align 5
bare_switch:
        sub     sp, sp, #160
        stp     d8, d9, [sp]
        stp     d10, d11, [sp, #16]
        stp     d12, d13, [sp, #32]
        stp     d14, d15, [sp, #48]
        stp     x19, x20, [sp, #64]
        stp     x21, x22, [sp, #80]
        stp     x23, x24, [sp, #96]
        stp     x25, x26, [sp, #112]
        stp     x27, x28, [sp, #128]
        stp     x29, x30, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x29, x30, [sp, #144]
        ldp     x27, x28, [sp, #128]
        ldp     x25, x26, [sp, #112]
        ldp     x23, x24, [sp, #96]
        ldp     x21, x22, [sp, #80]
        ldp     x19, x20, [sp, #64]
        ldp     d14, d15, [sp, #48]
        ldp     d12, d13, [sp, #32]
        ldp     d10, d11, [sp, #16]
        ldp     d8, d9, [sp]
        add     sp, sp, #160
        br      x30
        .size   bare_switch, . - bare_switch

/* The first address of a new context: entry in x19, its argument in x20. */
        .globl  bare_start
        .type   bare_start, %function
        .p2align 4
bare_start:
        mov     x0, x20
        blr     x19
        brk     #1
        .size   bare_start, . - bare_start
#endif

        .section .note.GNU-stack, "", %progbits
