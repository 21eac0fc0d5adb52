/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/jar.h"

#define COOKIES_MAX 300u /* libcurl sends 150 of them */

void jar_check(struct easy_context *c, CURL *curl)
{
	struct curl_slist *cookies = NULL;
	unsigned count = 0;
	if (c->cookies_set < COOKIES_MAX)
		return;
	c->cookies_set = 0;
	curl_easy_getinfo(curl, CURLINFO_COOKIELIST, &cookies);
	for (const struct curl_slist *cookie = cookies; cookie != NULL; cookie = cookie->next)
		count++;
	curl_slist_free_all(cookies);
	if (count <= COOKIES_MAX)
		return;
	g_message("the server set %u cookies, more than the %u that are kept: all are dropped",
	          count, COOKIES_MAX);
	curl_easy_setopt(curl, CURLOPT_COOKIELIST, "ALL");
}
