/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The directories of control sockets, where a mount and its clients meet. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#define RENDEZVOUS_TMP "/tmp"

/* Candidates for mounts of `uid`, the preferred first; absolute, NULL-terminated; they need
 * not exist. The last are those in /tmp with unpredictable names.
 * Caller frees with g_strfreev(). */
char **rendezvous_directories(unsigned uid);
/* false: the name is too long for a socket. */
bool rendezvous_address(const char *directory, unsigned major, unsigned minor,
                        struct sockaddr_un *out);
/* A socket that listens there, in the place of another of that name; -1: errno. */
int rendezvous_listen(const struct sockaddr_un *address, int backlog);
/* The directory of the MAJOR:MINOR sockets of `uid`, mode 0700, with the owner checked: the first
 * usable one of those in lacuna/control.h. Caller frees. */
char *rendezvous_directory(unsigned uid, bool create, GError **error);
