/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdint.h>
#include <stdlib.h>
#include "fuse/control/http_request.h"

/* A request for the metrics, as it arrives byte by byte. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned before = 0;
	bool head = false;
	size = size > HTTP_REQUEST_MAX ? HTTP_REQUEST_MAX : size;
	for (size_t n = 0; n <= size; n += n < 64 ? 1 : 97) {
		unsigned status = http_request_status((const char *)data, n, &head);
		if ((status != 0 && status != 200 && status != 400 && status != 404 &&
		     status != 405 && status != 431) ||
		    (before && before != status && before != 431) || (head && status == 405))
			abort();
		before = status;
	}
	return 0;
}
