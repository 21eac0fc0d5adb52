/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* System calls that the daemon never makes are refused: those that run programs, mount, enter or
 * make namespaces, look into other processes, load code into the kernel, or change the machine.
 * prctl(PR_SET_MM) is refused, since the keeper believes a process's exe link (upgrade.h).
 *
 * Why a list of refused calls: the calls that libc, libcurl, a resolver or a sanitizer make depend
 *          on their versions, and a call missing from a list of allowed ones breaks a root file
 *          system months later. Why no libseccomp: these 60 lines need no second architecture table
 *          at run time, and a build has one dependency less
 * Errors:  EPERM. clone3(2) is ENOSYS, since a filter cannot see its flags: libc then uses
 *          clone(2), which is refused only if it makes a namespace. Calls of another architecture
 *          (32-bit, x32) are ENOSYS
 * Cost:    the kernel remembers the calls that are always allowed, and runs no filter for them
 * Source:  seccomp(2); linux/seccomp.h
 */
#pragma once

/* For this thread and those that it starts; needs no_new_privs or CAP_SYS_ADMIN. 0, -errno;
 * -ENOSYS: this machine's system calls are not known here. */
int seccomp_refuse(void);
