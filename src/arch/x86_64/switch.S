/* switch.S — the switch between stacks on x86-64, System V ABI. Contract: ../context.h; the stores lay out struct wi_saved.

   Of MXCSR only the control bits are callee-saved; the sticky exception flags differ between contexts all the time and are
   not compared. Writing MXCSR or the x87 control word costs more than the rest of the switch and hardly ever changes
   anything, so they are loaded only when they differ from those just saved.

   No property note claims IBT or shadow stacks: the linker then drops the claim for the whole program, as it must. */

#define MXCSR_CONTROL 0xffc0

        .text

/* void wi_switch(void **save, void *load) */
        .globl  wi_switch
        .hidden wi_switch
        .type   wi_switch, @function
        .p2align 5
wi_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movl    (%rsp), %eax
        movzwl  4(%rsp), %ecx
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp              /* the other stack has the same layout: the unwind rules stay true */
        xorl    (%rsp), %eax
        testl   $MXCSR_CONTROL, %eax
        jne     2f
        cmpw    4(%rsp), %cx
        jne     3f
1:      addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        .cfi_remember_state
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rdx
        jmpq    *%rdx
        .cfi_restore_state
        .cfi_adjust_cfa_offset 8
2:      ldmxcsr (%rsp)
3:      fldcw   4(%rsp)
        jmp     1b
        .cfi_endproc
        .size   wi_switch, . - wi_switch

/* Where a context that wi_context_make made begins: entry in rbx, its argument in r12. No caller: unwinding ends here. */
        .globl  wi_context_start
        .hidden wi_context_start
        .type   wi_context_start, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        .cfi_def_cfa_offset 0           /* nothing was pushed: the frame is empty and ends at the stack's top */
        nop                             /* unwinders look up the address before the one to go on at */
wi_context_start:
        movq    %r12, %rdi
        callq   *%rbx
        ud2
        .cfi_endproc
        .size   wi_context_start, . - wi_context_start

/* uint64_t wi_invoke(void (*fn)(void), const uintptr_t words[6]) */
        .globl  wi_invoke
        .hidden wi_invoke
        .type   wi_invoke, @function
        .p2align 4
wi_invoke:
        .cfi_startproc
        .cfi_personality 0x1b, wi_personality   /* 0x1b: relative, 4 bytes; the function is hidden, so no indirection */
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        movq    %rdi, %r11
        movq    %rsi, %r10
        movq    (%r10), %rdi
        movq    8(%r10), %rsi
        movq    16(%r10), %rdx
        movq    24(%r10), %rcx
        movq    32(%r10), %r8
        movq    40(%r10), %r9
        xorl    %eax, %eax              /* no vector arguments, should fn be variadic */
        callq   *%r11
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        retq
        .cfi_endproc
        .size   wi_invoke, . - wi_invoke

        .section .note.GNU-stack, "", @progbits
