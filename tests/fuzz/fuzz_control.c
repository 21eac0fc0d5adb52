/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdlib.h>
#include "fuse/control/request.h"

static bool takes_list(enum request_verb verb)
{
	return verb == REQUEST_FILL || verb == REQUEST_EVICT || verb == REQUEST_REFRESH ||
	       verb == REQUEST_PIN || verb == REQUEST_UNPIN;
}

/* A line from a client of the control socket. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	struct request r = {0};
	if (request_parse((const char *)data, size, &r, &error)) {
		if (error || takes_list(r.verb) != (r.inos != NULL) || r.bar > REQUEST_BAR_MAX ||
		    (r.verb == REQUEST_FILE && !r.ino))
			abort();
		request_clear(&r);
	} else if (!error || r.inos) {
		abort();
	}
	return 0;
}
