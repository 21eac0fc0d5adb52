/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by easy.c (a libcurl handle with one exchange) and easy_options.c (its options). */
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
	bool unanswered; /* no other head has begun since: the 401 may be final */
	char cause[CURL_ERROR_SIZE];
};

#define SET(e, option, value)                                                                      \
	do {                                                                                       \
		if (curl_easy_setopt((e)->curl, option, value) != CURLE_OK)                        \
			return false;                                                              \
	} while (0)

/* easy_options.c: false: out of memory, or *error. Callbacks are set before. */
bool easy_options_set(struct easy *e, GError **error);
/* The headers of every request. */
bool easy_headers_common(struct curl_slist **list, struct credentials *c, bool trusted);
