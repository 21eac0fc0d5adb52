/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a confined daemon has given up (fuse/daemon/confine.h), for its status. */
#pragma once

struct confinement {
	/* Why it is not confined in this respect; NULL: it is. Owned, as the next */
	char *files, *calls, *privileges;
	char *capabilities; /* those that remain: "chown,…"; "" none */
};
