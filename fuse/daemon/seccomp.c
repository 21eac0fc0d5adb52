/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/seccomp.h"
#include <errno.h>
#include <glib.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __BYTE_ORDER != __LITTLE_ENDIAN
#elif defined __x86_64__ && defined __LP64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#elif defined __powerpc64__
#define ARCH AUDIT_ARCH_PPC64LE
#endif

#ifdef ARCH

#define X32 0x40000000 /* of x86-64: a call of the x32 interface */
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define NAMESPACES                                                                                 \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
	 CLONE_NEWCGROUP | CLONE_NEWTIME)

static const int refused[] = {
        SYS_execve,
        SYS_execveat,
#ifndef LOCKS_CHECKED /* a sanitizer stops all threads to look for leaks */
        SYS_ptrace,
        SYS_process_vm_readv,
#endif
        SYS_process_vm_writev,
        SYS_pidfd_getfd,
        SYS_kcmp,
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_chroot,
        SYS_open_tree,
        SYS_move_mount,
        SYS_fsopen,
        SYS_fsconfig,
        SYS_fsmount,
        SYS_fspick,
        SYS_mount_setattr,
        SYS_setns,
        SYS_open_by_handle_at,
        SYS_bpf,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_io_uring_setup,
        SYS_io_uring_enter,
        SYS_io_uring_register,
        SYS_keyctl,
        SYS_add_key,
        SYS_request_key,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_kexec_load,
#ifdef SYS_kexec_file_load
        SYS_kexec_file_load,
#endif
        SYS_reboot,
        SYS_swapon,
        SYS_swapoff,
        SYS_acct,
        SYS_quotactl,
        SYS_quotactl_fd,
        SYS_syslog,
        SYS_vhangup,
        SYS_sethostname,
        SYS_setdomainname,
        SYS_settimeofday,
        SYS_clock_settime,
        SYS_clock_adjtime,
        SYS_adjtimex,
        SYS_fanotify_init,
#ifdef SYS_iopl
        SYS_iopl,
        SYS_ioperm,
#endif
#ifdef SYS_modify_ldt
        SYS_modify_ldt,
#endif
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(test, value, skip) BPF_JUMP(BPF_JMP | BPF_##test | BPF_K, value, 0, skip)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))
#define FLAGS args[0] /* the lower half, which comes first */

int seccomp_refuse(void)
{
	struct sock_filter program[32 + 2 * G_N_ELEMENTS(refused)];
	unsigned short n = 0;
#define ADD(...) program[n++] = (struct sock_filter)__VA_ARGS__
	ADD(LOAD(arch));
	ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	ADD(REFUSE(ENOSYS));
	ADD(LOAD(nr));
#ifdef __x86_64__
	ADD(UNLESS(JGE, X32, 1));
	ADD(REFUSE(ENOSYS));
#endif
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		ADD(UNLESS(JEQ, (uint32_t)refused[i], 1));
		ADD(REFUSE(EPERM));
	}
	ADD(UNLESS(JEQ, SYS_prctl, 4));
	ADD(LOAD(FLAGS));
	ADD(UNLESS(JEQ, PR_SET_MM, 1));
	ADD(REFUSE(EPERM));
	ADD(RETURN(SECCOMP_RET_ALLOW));
	ADD(UNLESS(JEQ, SYS_clone3, 1));
	ADD(REFUSE(ENOSYS));
	ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0));
	ADD(UNLESS(JEQ, SYS_unshare, 3));
	ADD(LOAD(FLAGS));
	ADD(UNLESS(JSET, (uint32_t)NAMESPACES, 1));
	ADD(REFUSE(EPERM));
	ADD(RETURN(SECCOMP_RET_ALLOW));
#undef ADD
	const struct sock_fprog filter = {.len = n, .filter = program};
	/* without the flag some processors run all of the daemon more slowly */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	            &filter) == 0)
		return 0;
	return -errno;
}

#else

int seccomp_refuse(void)
{
	return -ENOSYS;
}

#endif
