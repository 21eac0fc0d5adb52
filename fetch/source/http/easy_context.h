/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* State shared by the libcurl handles of one transport. The only file to include libcurl's header.
 */
#pragma once
#include <curl/curl.h>
#include "fetch/source/http/credentials.h"
#include "fetch/source/http/exchange.h"

struct poller;

struct easy_context {
	struct credentials *credentials; /* borrowed */
	struct transport_options options;
	struct poller *poller;         /* owned by the transport */
	CURLSH *share[2];              /* the same; by `trusted`, which alone has cookies */
	struct curl_slist *headers[2]; /* owned; by `trusted`: sent with every exchange */
	unsigned cookies_set;          /* since the last look at the jar */
	int64_t alive_ns;              /* when anything last arrived */
};
