/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* An address to listen at, as it is written: unix:PATH, 127.0.0.1:PORT or [::1]:PORT. Others are
 * refused: what listens there is for this machine only. */
#pragma once
#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_un path;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t length;
};

/* `error`: FETCH_USAGE, what was expected. */
bool address_parse(const char *text, struct address *out, GError **error);
/* 0: it has none. */
unsigned address_port(const struct address *a);
