/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What easy.c (a libcurl handle with one exchange) and easy_options.c (what it is told) share. */
#pragma once
#include "fetch/source/http/easy.h"
#include "fetch/source/http/excess.h"

struct easy {
	CURL *curl;
	struct easy_context *context;
	struct exchange *exchange;
	struct curl_slist *headers; /* owned; of this exchange only */
	struct excess excess;
	size_t head_bytes;
	bool challenged; /* a 401 was seen that libcurl may answer by itself */
	bool unanswered; /* and no other head has begun since: it may be the last word */
	char cause[CURL_ERROR_SIZE];
};

#define SET(e, option, value)                                                                      \
	do {                                                                                       \
		if (curl_easy_setopt((e)->curl, option, value) != CURLE_OK)                        \
			return false;                                                              \
	} while (0)

/* easy_options.c: false: out of memory, or *error says what. Callbacks are set before. */
bool easy_options_set(struct easy *e, GError **error);
/* Those that every request has. */
bool easy_headers_common(struct curl_slist **list, const struct credentials *c, bool trusted);
