/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdlib.h>
#include "fuse/request.h"

/* A line from a client of the control socket. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	struct request r = {0};
	if (request_parse((const char *)data, size, &r, &error)) {
		if (error || (r.verb == REQUEST_FILL) != (r.inos != NULL) ||
		    r.bar > REQUEST_BAR_MAX || (r.verb == REQUEST_FILE && !r.ino))
			abort();
		request_clear(&r);
	} else if (!error || r.inos) {
		abort();
	}
	return 0;
}
