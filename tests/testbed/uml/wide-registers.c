/*
 * Lets a user-mode Linux run on processors whose state is wider than it knows.
 *
 * Its kernel, 6.1 here, keeps 2696 bytes of a process's extended state (up to AVX-512 and
 * the protection keys), and the machine's kernel takes all of it or nothing (EFAULT): where there
 * is more, as with AMX, user-mode Linux ends at its first process. This library stands before
 * ptrace and fills up what is missing with the state that nothing uses: bits of XSTATE_BV for parts
 * that are not there are cleared (Intel's manual, volume 1, 13.4). To be preloaded; nothing else is
 * changed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* Where XSTATE_BV stands, and the first of its parts that user-mode Linux does not know. */
enum { XSTATE_BV = 512, XTILECFG = 17, WIDEST = 64 * 1024 };

typedef long Trace(enum __ptrace_request, pid_t, void *, void *);

/* Its kernels have one thread that traces, and no room for this on their stacks. */
static uint8_t whole[WIDEST];

static long set_all(Trace *trace, pid_t pid, const struct iovec *known)
{
    struct iovec all = { whole, sizeof whole };
    uint64_t parts;

    if (trace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &all) < 0)
        return -1;
    memset(whole, 0, all.iov_len);
    memcpy(whole, known->iov_base, known->iov_len);
    memcpy(&parts, whole + XSTATE_BV, sizeof parts);
    parts &= (UINT64_C(1) << XTILECFG) - 1;
    memcpy(whole + XSTATE_BV, &parts, sizeof parts);
    return trace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
    static Trace *trace;
    const struct iovec *known;
    va_list rest;
    pid_t pid;
    void *address, *data;
    long result;

    va_start(rest, request);
    pid = va_arg(rest, pid_t);
    address = va_arg(rest, void *);
    data = va_arg(rest, void *);
    va_end(rest);

    if (trace == NULL)
        trace = (Trace *)dlsym(RTLD_NEXT, "ptrace");
    result = trace(request, pid, address, data);
    if (result >= 0 || errno != EFAULT)
        return result;
    known = data;
    if (request != PTRACE_SETREGSET || (uintptr_t)address != NT_X86_XSTATE ||
        known->iov_len < XSTATE_BV + sizeof(uint64_t) || known->iov_len > sizeof whole)
        return result;
    return set_all(trace, pid, known);
}
