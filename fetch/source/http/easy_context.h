/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the libcurl handles of one transport share. The only file that includes libcurl's header. */
#pragma once
#include <curl/curl.h>
#include "fetch/source/http/credentials.h"
#include "fetch/source/http/exchange.h"

struct poller;

/* What the handles of one transport have in common. */
struct easy_context {
	const struct credentials *credentials; /* borrowed */
	struct transport_options options;
	struct poller *poller;         /* owned by the transport */
	CURLSH *share[2];              /* the same; by `trusted`, which alone has cookies */
	struct curl_slist *headers[2]; /* owned; by `trusted`: what every exchange sends */
	unsigned cookies_set;          /* since the jar was looked at */
	int64_t alive_ns;              /* when anything last arrived */
};
