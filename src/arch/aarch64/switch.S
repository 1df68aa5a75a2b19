/* switch.S — the switch between stacks on aarch64, AAPCS64. Contract: ../context.h; the stores lay out struct wi_saved.

   FPCR is written only when it differs: the write may drain the pipeline. The switch leaves by br and not by ret, which
   would use up a return prediction. x18 is the platform's and not touched. No property note claims BTI or PAC. */

#define FRAME 176               /* sizeof(struct wi_saved) */

        .text

/* void wi_switch(void **save, void *load) */
        .globl  wi_switch
        .hidden wi_switch
        .type   wi_switch, %function
        .p2align 5
wi_switch:
        .cfi_startproc
        mrs     x9, fpcr
        sub     sp, sp, #FRAME
        .cfi_def_cfa_offset FRAME
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
        str     x9, [sp, #160]
        .cfi_rel_offset d8, 0
        .cfi_rel_offset d9, 8
        .cfi_rel_offset d10, 16
        .cfi_rel_offset d11, 24
        .cfi_rel_offset d12, 32
        .cfi_rel_offset d13, 40
        .cfi_rel_offset d14, 48
        .cfi_rel_offset d15, 56
        .cfi_rel_offset x19, 64
        .cfi_rel_offset x20, 72
        .cfi_rel_offset x21, 80
        .cfi_rel_offset x22, 88
        .cfi_rel_offset x23, 96
        .cfi_rel_offset x24, 104
        .cfi_rel_offset x25, 112
        .cfi_rel_offset x26, 120
        .cfi_rel_offset x27, 128
        .cfi_rel_offset x28, 136
        .cfi_rel_offset x29, 144
        .cfi_rel_offset x30, 152
        mov     x10, sp
        str     x10, [x0]
        mov     sp, x1                  /* the other stack has the same layout: the unwind rules stay true */
        ldr     x10, [sp, #160]
        cmp     x9, x10
        b.ne    2f
1:      ldp     x29, x30, [sp, #144]
        ldp     x27, x28, [sp, #128]
        ldp     x25, x26, [sp, #112]
        ldp     x23, x24, [sp, #96]
        ldp     x21, x22, [sp, #80]
        ldp     x19, x20, [sp, #64]
        ldp     d14, d15, [sp, #48]
        ldp     d12, d13, [sp, #32]
        ldp     d10, d11, [sp, #16]
        ldp     d8, d9, [sp]
        .cfi_remember_state
        add     sp, sp, #FRAME
        .cfi_def_cfa_offset 0
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        br      x30
        .cfi_restore_state
2:      msr     fpcr, x10
        b       1b
        .cfi_endproc
        .size   wi_switch, . - wi_switch

/* Where a context that wi_context_make made begins: entry in x19, its argument in x20. No caller: unwinding ends here. */
        .globl  wi_context_start
        .hidden wi_context_start
        .type   wi_context_start, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        nop                             /* unwinders look up the address before the one to go on at */
wi_context_start:
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   wi_context_start, . - wi_context_start

/* uint64_t wi_invoke(void (*fn)(void), const uintptr_t words[6]), and wi_invoke_guarded */
        .macro  invoke name
        .globl  \name, \name\()_landing
        .hidden \name, \name\()_landing
        .type   \name, %function
        .p2align 4
\name:
        .cfi_startproc
        .cfi_personality 0x1b, wi_personality   /* 0x1b: relative, 4 bytes; the function is hidden, so no indirection */
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        mov     x29, sp
        mov     x9, x0
        mov     x10, x1
        ldp     x0, x1, [x10]
        ldp     x2, x3, [x10, #16]
        ldp     x4, x5, [x10, #32]
        blr     x9
\name\()_landing:
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   \name, . - \name
        .endm

        invoke  wi_invoke
        invoke  wi_invoke_guarded

        .section .note.GNU-stack, "", %progbits
