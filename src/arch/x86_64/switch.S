/* switch.S — where contexts begin on x86-64, System V ABI. Contract: ../context.h. The switch itself is in switch.h.

   No property note claims IBT or shadow stacks: the linker then drops the claim for the whole program, as it must. */

        .text

/* Where a context that wi_context_make made begins: entry and its argument are on the stack. No caller: unwinding ends
   here. */
        .globl  wi_context_start
        .hidden wi_context_start
        .type   wi_context_start, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        .cfi_def_cfa_offset 0           /* the frame is empty and ends at the stack's top */
        nop                             /* unwinders look up the address before the one to go on at */
wi_context_start:
        popq    %rax
        popq    %rdi
        leaq    1f(%rip), %rdx
        pushq   %rdx                    /* as a call would, ... */
        jmpq    *%rax                   /* ... but nothing returns here, so the return predictor shall not hear of it */
1:        ud2
        .cfi_endproc
        .size   wi_context_start, . - wi_context_start

/* uint64_t wi_invoke(void (*fn)(void), const uintptr_t words[6]), and wi_invoke_guarded */
        .macro  invoke name
        .globl  \name, \name\()_landing
        .hidden \name, \name\()_landing
        .type   \name, @function
        .p2align 4
\name:
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
\name\()_landing:
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        retq
        .cfi_endproc
        .size   \name, . - \name
        .endm

        invoke  wi_invoke
        invoke  wi_invoke_guarded

        .section .note.GNU-stack, "", @progbits
