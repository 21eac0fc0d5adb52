/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/cli/resume.h"
#include <stdlib.h>
#include "fuse/cli/arguments.h"
#include "fuse/cli/verb.h"
#include "fuse/daemon/daemon.h"
#include "fuse/keeper/handover.h"
#include "fuse/keeper/upgrade.h"

int resume_run(const char *number)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *words = NULL;
	struct handover h;
	const char *why;
	if (!handover_read(atoi(number), &h, &words, &why)) {
		verb_complain("%s", why);
		return EXIT_USAGE;
	}
	struct settings *s = settings_from_words(words, h.words_size, &error);
	int status = s ? daemon_resume(s, &h, &error) : EXIT_FAILED;
	if (error) {
		handover_again(&h, words);
		if (h.role == HANDOVER_KEEPER)
			upgrade_answer(h.client, error->message);
		verb_complain("%s", error->message);
	}
	settings_free(s);
	return status;
}
